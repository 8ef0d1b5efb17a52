package rewrite

import (
	"encoding/binary"
	"fmt"

	"kproxy/internal/wire"
)

// brokerList is an array of brokers on the wire: node id, host, port, and further fields,
// which are kept unchanged. Metadata begins with one, and leader hints are one.
type brokerList struct {
	brokers []Broker
	rests   [][]byte // rests[i] has the fields after the port of brokers[i]: rack, tags
}

// brokerShape is the version's form of the array.
type brokerShape struct {
	compact bool // lengths are compact, and every element ends in tags
	rack    bool // a nullable rack follows the port
}

// MaxBrokers is how many brokers a response may name: more than any cluster has.
const MaxBrokers = 10_000

var errTooManyBrokers = fmt.Errorf("%w: more than %d brokers", wire.ErrMalformed, MaxBrokers)

// readBrokers takes the array. A null array is an empty one. More than MaxBrokers
// are an error.
func readBrokers(rd *wire.Reader, shape brokerShape) brokerList {
	var l brokerList
	n := rd.ArrayLen(shape.compact)
	if n > MaxBrokers {
		rd.Fail(errTooManyBrokers)
	}
	for ; n > 0 && rd.Err() == nil; n-- {
		b := Broker{Node: rd.Int32(), Host: string(rd.String(shape.compact)), Port: rd.Int32()}
		l.brokers = append(l.brokers, b)
		l.rests = append(l.rests, readRest(rd, shape))
	}
	return l
}

// readRest takes the fields after an element's port, and returns their bytes.
func readRest(rd *wire.Reader, shape brokerShape) []byte {
	ahead := *rd
	if shape.rack {
		ahead.String(shape.compact)
	}
	if shape.compact {
		ahead.SkipTags()
	}
	rest := rd.Take(ahead.Offset() - rd.Offset())
	if ahead.Err() != nil {
		*rd = ahead
	}
	return rest
}

// append writes the array without the dropped elements.
func (l brokerList) append(dst []byte, shape brokerShape) []byte {
	dst = appendArrayLen(dst, l.kept(), shape.compact)
	for i, b := range l.brokers {
		if b.Drop {
			continue
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(b.Node))
		dst = appendString(dst, b.Host, shape.compact)
		dst = binary.BigEndian.AppendUint32(dst, uint32(b.Port))
		dst = append(dst, l.rests[i]...)
	}
	return dst
}

// kept counts the elements that are not dropped.
func (l brokerList) kept() int {
	n := 0
	for _, b := range l.brokers {
		if !b.Drop {
			n++
		}
	}
	return n
}

func appendArrayLen(dst []byte, n int, compact bool) []byte {
	if compact {
		return binary.AppendUvarint(dst, uint64(n)+1)
	}
	return binary.BigEndian.AppendUint32(dst, uint32(n))
}

func appendString(dst []byte, s string, compact bool) []byte {
	if compact {
		dst = binary.AppendUvarint(dst, uint64(len(s))+1)
	} else {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	}
	return append(dst, s...)
}
