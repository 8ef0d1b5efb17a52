package proxy

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
	"kproxy/proxy/config"
	"kproxy/rewrite"
)

// action is the treatment of a request by a session. The set is closed.
type action uint8

const (
	forward         action = iota // to the broker, as it is
	respondVersions               // kproxy responds: UNSUPPORTED_VERSION in the layout of v0 (KIP-511)
	endUnsupported                // ends the session: a version that may hold addresses where kproxy does not look
	endUnknown                    // ends the session: an API that kproxy does not know
	endRelearn                    // ends the session: the client's own broker was not known when it connected
	refuseAPI                     // kproxy responds: the listener refuses the API
	refuseLogin                   // kproxy responds: it has logged in itself, and the client cannot
	refuseRawTokens               // kproxy responds: behind SaslHandshake v0 it could not see requests
	reauthenticate                // the client logs in at kproxy again (KIP-368)
	unlessReplica                 // forward, unless it comes as a follower's
	readAcks                      // forward; the acks of Produce say whether a response will come
	readSoftware                  // forward; ApiVersions has the name of the client's software
	handshakeV0                   // forward; raw SASL tokens may follow
)

// standing is the state of the session that a decision about a request depends on.
type standing struct {
	policy       *config.Policy
	unknownAPIs  bool // requests of APIs that this build does not know are forwarded
	clientUser   bool // the client has logged in at kproxy
	kproxyLogsIn bool // kproxy logs in at the brokers itself
	ownBroker    bool // the session's broker is the one that the client means, not only one that can teach it
}

// decide returns the action for a request. The order of its cases is a rule of security: the
// requests that end a session or are refused come before those that are forwarded.
func decide(key, version int16, treatment rewrite.Treatment, s standing) action {
	switch {
	case rewrite.AnswersAPIVersions(key, version):
		return respondVersions
	case treatment == rewrite.Refuse:
		return endUnsupported
	case !s.unknownAPIs && !rewrite.Known(key):
		return endUnknown
	case s.policy.Refuses(key):
		return refuseAPI
	case isLogin(key) && s.clientUser:
		return reauthenticate
	case isLogin(key) && s.kproxyLogsIn:
		return refuseLogin
	case !s.ownBroker && !teaches(key):
		return endRelearn
	case s.policy.KeepsReplicas && rewrite.ReplicaOf(key, version) != rewrite.NoReplica:
		return unlessReplica
	case key == kmsg.Produce.Int16():
		return readAcks
	case key == kmsg.ApiVersions.Int16() && version >= wire.FirstClientSoftware:
		return readSoftware
	case key == kmsg.SASLHandshake.Int16() && version == 0 && s.policy.Filters:
		return refuseRawTokens
	case key == kmsg.SASLHandshake.Int16() && version == 0:
		return handshakeV0
	default:
		return forward
	}
}

// teaches reports whether a request may go to any broker of the cluster: the client logs in
// by it, or learns the brokers' addresses.
func teaches(key int16) bool {
	switch kmsg.Key(key) {
	case kmsg.ApiVersions, kmsg.SASLHandshake, kmsg.SASLAuthenticate,
		kmsg.Metadata, kmsg.DescribeCluster, kmsg.FindCoordinator:
		return true
	default:
		return false
	}
}
