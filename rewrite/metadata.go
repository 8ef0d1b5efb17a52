package rewrite

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// Head rewrites the brokers in front of a Metadata response. payload is the frame
// behind the correlation id, or as much of it as has arrived: wire.ErrShort asks
// for more. The first n bytes of payload are to be replaced by out; the rest,
// with all topics, goes as it is, whatever later versions add.
//
// Metadata v0-13:
//
//	v0  brokers of id, host, port
//	v1  rack
//	v2  the cluster's id behind the brokers, which is read as well
//	v3  throttle time in front of the brokers
//	v9  flexible
func (r *Rewriter) Head(key, version int16, payload []byte) (out []byte, n int, notes Notes, err error) {
	rd := wire.NewReader(payload)
	shape := brokerShape{compact: version >= 9, rack: version >= 1}
	if shape.compact {
		rd.SkipTags()
	}
	if version >= 3 {
		rd.Int32()
	}
	front := rd.Offset()
	list := readBrokers(&rd, shape)
	behind := rd.Offset()
	clusterID := ""
	if version >= 2 {
		clusterID = string(rd.String(shape.compact))
	}
	if rd.Err() != nil {
		return nil, 0, Notes{}, parseError(key, version, rd.Err())
	}
	notes = r.translate(kmsg.Metadata.Int16(), Brokers{ClusterID: clusterID, List: list.brokers})
	n = rd.Offset()
	if len(list.brokers) == 0 { // a cluster that starts: null stays null
		return payload[:n], n, notes, nil
	}
	out = append(make([]byte, 0, n), payload[:front]...)
	out = list.append(out, shape)
	return append(out, payload[behind:n]...), n, notes, nil
}
