package rewrite

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// findCoordinator rewrites FindCoordinator v0-6.
//
// A response that names no broker (an error: node -1, no host, port -1) goes byte
// for byte; in v4+ each key stands for itself. A coordinator that has no
// endpoint becomes COORDINATOR_NOT_AVAILABLE, on which clients ask again.
func (r *Rewriter) findCoordinator(version int16, payload []byte) ([]byte, Notes, error) {
	resp := kmsg.NewPtrFindCoordinatorResponse()
	resp.Version = version
	if err := Decode(resp, payload); err != nil {
		return nil, Notes{}, err
	}
	header, _, err := splitHeader(payload, resp.IsFlexible())
	if err != nil {
		return nil, Notes{}, err
	}
	coordinators := coordinatorsOf(resp)
	if len(coordinators) == 0 {
		return payload, Notes{}, nil
	}
	brokers, places, err := distinct(coordinators)
	if err != nil {
		return nil, Notes{}, err
	}
	notes := r.translate(resp.Key(), Brokers{List: brokers})
	for i, c := range coordinators {
		c.tell(brokers[places[i]])
	}
	return resp.AppendTo(append(make([]byte, 0, len(payload)), header...)), notes, nil
}

// coordinator points at the fields of one coordinator, which lie in different places by
// version.
type coordinator struct {
	errorCode  *int16
	node, port *int32
	host       *string
}

// coordinatorsOf returns the coordinators that the response really names.
func coordinatorsOf(resp *kmsg.FindCoordinatorResponse) []coordinator {
	var all []coordinator
	if resp.Version <= 3 {
		all = []coordinator{{&resp.ErrorCode, &resp.NodeID, &resp.Port, &resp.Host}}
	} else {
		for i := range resp.Coordinators {
			c := &resp.Coordinators[i]
			all = append(all, coordinator{&c.ErrorCode, &c.NodeID, &c.Port, &c.Host})
		}
	}
	named := all[:0]
	for _, c := range all {
		if *c.node >= 0 || *c.host != "" {
			named = append(named, c)
		}
	}
	return named
}

// distinct returns each broker that coordinators name once, and where each coordinator's is. A client
// chooses how many keys a response has, and a cluster has few brokers.
func distinct(coordinators []coordinator) (brokers []Broker, places []int, err error) {
	seen := map[Broker]int{}
	places = make([]int, len(coordinators))
	for i, c := range coordinators {
		b := Broker{Node: *c.node, Host: *c.host, Port: *c.port}
		place, ok := seen[b]
		if !ok {
			if len(brokers) == MaxBrokers {
				return nil, nil, errTooManyBrokers
			}
			place = len(brokers)
			seen[b] = place
			brokers = append(brokers, b)
		}
		places[i] = place
	}
	return brokers, places, nil
}

// tell writes the host and port of b that the client is to get.
func (c coordinator) tell(b Broker) {
	if b.Drop {
		*c.errorCode = kerr.CoordinatorNotAvailable.Code
		*c.node, *c.host, *c.port = -1, "", -1
		return
	}
	*c.host, *c.port = b.Host, b.Port
}
