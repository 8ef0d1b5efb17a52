package rewrite

import "github.com/twmb/franz-go/pkg/kmsg"

// describeQuorum rewrites DescribeQuorum v0-2. From v2 on it has the addresses of
// controllers, which clients at a broker's listener do not dial, and for which the proxy
// has no endpoint. The nodes stay, without addresses.
func describeQuorum(version int16, payload []byte) ([]byte, Notes, error) {
	if version < 2 {
		return payload, Notes{}, nil
	}
	resp := kmsg.NewPtrDescribeQuorumResponse()
	resp.Version = version
	if err := Decode(resp, payload); err != nil {
		return nil, Notes{}, err
	}
	header, _, err := splitHeader(payload, resp.IsFlexible())
	if err != nil {
		return nil, Notes{}, err
	}
	for i := range resp.Nodes {
		resp.Nodes[i].Listeners = nil
	}
	return resp.AppendTo(append(make([]byte, 0, len(payload)), header...)), Notes{}, nil
}
