package rewrite

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// endpointTypeBrokers is DescribeCluster's EndpointType for brokers (KIP-919).
const endpointTypeBrokers = 1

// describeCluster rewrites DescribeCluster v0-2.
//
// A response that lists controllers can only come from a controller's listener. Their ids
// may equal brokers' ids and mean other ports, so no controller can be passed on: the
// client gets the error that a broker's listener gives to the same request.
func (r *Rewriter) describeCluster(version int16, payload []byte) ([]byte, Notes, error) {
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.Version = version
	if err := Decode(resp, payload); err != nil {
		return nil, Notes{}, err
	}
	header, _, err := splitHeader(payload, resp.IsFlexible())
	if err != nil {
		return nil, Notes{}, err
	}
	if len(resp.Brokers) == 0 {
		return payload, Notes{}, nil
	}
	if len(resp.Brokers) > MaxBrokers {
		return nil, Notes{}, parseError(resp.Key(), version, errTooManyBrokers)
	}
	var notes Notes
	if resp.Version >= 1 && resp.EndpointType != endpointTypeBrokers {
		notes = Notes{Named: len(resp.Brokers), Dropped: len(resp.Brokers)}
		resp.ErrorCode = kerr.MismatchedEndpointType.Code
		resp.Brokers = nil
	} else {
		notes = r.describedBrokers(resp)
	}
	return resp.AppendTo(append(make([]byte, 0, len(payload)), header...)), notes, nil
}

func (r *Rewriter) describedBrokers(resp *kmsg.DescribeClusterResponse) Notes {
	brokers := make([]Broker, len(resp.Brokers))
	for i, b := range resp.Brokers {
		brokers[i] = Broker{Node: b.NodeID, Host: b.Host, Port: b.Port}
	}
	notes := r.translate(resp.Key(), Brokers{ClusterID: resp.ClusterID, List: brokers})
	for i, b := range brokers {
		resp.Brokers[i].Host, resp.Brokers[i].Port = b.Host, b.Port
	}
	i := -1
	resp.Brokers = slices.DeleteFunc(resp.Brokers, func(kmsg.DescribeClusterResponseBroker) bool {
		i++
		return brokers[i].Drop
	})
	return notes
}
