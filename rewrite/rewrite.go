package rewrite

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// Broker is one broker that a response names. A Translate replaces Host and Port by those
// that the client is to get, or sets Drop.
type Broker struct {
	Node int32
	Host string // as on the wire: IPv6 without brackets
	Port int32
	Drop bool // leave it out of the response: better missing than leaked
}

// Brokers are the brokers that a response names.
type Brokers struct {
	ClusterID string // "" where the response does not say
	List      []Broker
}

// Translate is called once for each response that names brokers or the cluster's id, with all of them, in the
// response's order and before any byte of the response is released. It changes the
// elements of List in place. An element that it does not change reaches the client
// unchanged.
type Translate func(key int16, brokers Brokers)

// Rewriter changes the responses for the clients of one listener. It holds no
// state of its own and may be used by several goroutines at once if Translate
// may.
type Rewriter struct {
	Translate   Translate
	UnknownAPIs bool // show APIs that this build has never heard of
	// Refused says which APIs clients may not use. ApiVersions shows them in the
	// versions that Refusal has a response for. nil: clients may use all.
	Refused func(key int16) bool
	// Answered returns the versions of an API that the caller responds to itself: ApiVersions shows them in
	// place of the broker's. nil: the broker responds to all.
	Answered func(key int16) (low, high int16, ok bool)
	// Hidden says which APIs ApiVersions does not show. nil: it shows all that are
	// known.
	Hidden func(key int16) bool
}

// Notes describes the changes to a response, for logs and metrics.
type Notes struct {
	Named       int     // brokers that the response named
	Dropped     int     // of those, dropped by Translate
	Neutralised bool    // leader hints removed because they did not fit into the original bytes
	Hidden      []int16 // APIs left out of ApiVersions because no version is understood
	Misrouted   bool    // the broker, or its cluster, is not the one that the client has named (KIP-1242)
	TxnLowered  bool    // Produce was lowered under a cluster with transactions later than v2
}

// Whole rewrites a response with treatment Whole, or Settings. payload is the frame behind
// the correlation id, response header tags included, and is not changed. out is the
// payload to send instead, and may be payload itself.
func (r *Rewriter) Whole(key, version int16, payload []byte) (out []byte, notes Notes, err error) {
	switch key {
	case kmsg.FindCoordinator.Int16():
		return r.findCoordinator(version, payload)
	case kmsg.DescribeCluster.Int16():
		return r.describeCluster(version, payload)
	case kmsg.ApiVersions.Int16():
		return r.apiVersions(version, payload)
	case kmsg.DescribeConfigs.Int16():
		return describeConfigs(version, payload)
	case kmsg.DescribeQuorum.Int16():
		return describeQuorum(version, payload)
	default:
		return nil, Notes{}, fmt.Errorf("api key %d has no whole rewriting", key)
	}
}

// translate runs Translate over brokers and counts.
func (r *Rewriter) translate(key int16, brokers Brokers) Notes {
	if len(brokers.List) == 0 && brokers.ClusterID == "" {
		return Notes{}
	}
	r.Translate(key, brokers)
	notes := Notes{Named: len(brokers.List)}
	for _, b := range brokers.List {
		if b.Drop {
			notes.Dropped++
		}
	}
	return notes
}

// splitHeader divides a payload into the response header's tag section, where
// the version has one, and the body.
func splitHeader(payload []byte, flexible bool) (header, body []byte, err error) {
	if !flexible {
		return nil, payload, nil
	}
	rd := wire.NewReader(payload)
	rd.SkipTags()
	return payload[:rd.Offset()], payload[rd.Offset():], rd.Err()
}

func parseError(key, version int16, err error) error {
	return fmt.Errorf("parse %s v%d response: %w", kmsg.NameForKey(key), version, err)
}
