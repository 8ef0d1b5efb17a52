package rewrite

import "github.com/twmb/franz-go/pkg/kmsg"

// describeQuorum rewrites DescribeQuorum v0-2. From v2 on it has the addresses of
// controllers, which clients at a broker's listener do not dial, and which no
// endpoint of the proxy's leads to. The nodes stay, without them.
func describeQuorum(version int16, payload []byte) ([]byte, error) {
	if version < 2 {
		return payload, nil
	}
	resp := kmsg.NewPtrDescribeQuorumResponse()
	resp.Version = version
	header, body, err := splitHeader(payload, resp.IsFlexible())
	if err != nil {
		return nil, err
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, err
	}
	for i := range resp.Nodes {
		resp.Nodes[i].Listeners = nil
	}
	return resp.AppendTo(append(make([]byte, 0, len(payload)), header...)), nil
}
