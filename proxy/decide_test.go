package proxy

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy/config"
	"kproxy/rewrite"
)

// The order in which a request is judged: each row would be another action, if a case that
// comes later were asked first.
func TestDecide(t *testing.T) {
	open := &config.Policy{}
	filters := &config.Policy{Filters: true, KeepsReplicas: true}
	refuses := func(keys ...kmsg.Key) *config.Policy {
		p := &config.Policy{Filters: true, KeepsReplicas: true}
		p.Set(true, keys...)
		return p
	}
	const unknown = 1 << 14
	own := standing{policy: open, ownBroker: true}
	for _, c := range []struct {
		name    string
		key     kmsg.Key
		version int16
		in      standing
		want    action
	}{
		{"a heartbeat", kmsg.Heartbeat, 4, own, forward},
		{"ApiVersions of a newer client", kmsg.ApiVersions, 99, standing{policy: refuses(kmsg.ApiVersions)}, respondVersions},
		{"Metadata in a layout that is not known", kmsg.Metadata, 99, standing{policy: open, unknownAPIs: true, ownBroker: true}, endUnsupported},
		{"the same, refused by the listener", kmsg.Metadata, 99, standing{policy: refuses(kmsg.Metadata)}, endUnsupported},
		{"an unknown API", unknown, 0, own, endUnknown},
		{"an unknown API that may pass", unknown, 0, standing{policy: open, unknownAPIs: true, ownBroker: true}, forward},
		{"an unknown API, and not its broker", unknown, 0, standing{policy: open, unknownAPIs: true}, endRelearn},
		{"a refused API", kmsg.CreateTopics, 5, standing{policy: refuses(kmsg.CreateTopics), ownBroker: true}, refuseAPI},
		{"a refused API, and not its broker", kmsg.Produce, 9, standing{policy: refuses(kmsg.Produce)}, refuseAPI},
		{"a refused login", kmsg.SASLAuthenticate, 2, standing{policy: refuses(kmsg.SASLAuthenticate), clientUser: true, kproxyLogsIn: true}, refuseAPI},
		{"a login again at kproxy", kmsg.SASLHandshake, 1, standing{policy: open, clientUser: true, kproxyLogsIn: true}, reauthenticate},
		{"a raw login again at kproxy", kmsg.SASLHandshake, 0, standing{policy: filters, clientUser: true}, reauthenticate},
		{"a login where kproxy has logged in", kmsg.SASLAuthenticate, 2, standing{policy: open, kproxyLogsIn: true}, refuseLogin},
		{"a raw login there", kmsg.SASLHandshake, 0, standing{policy: filters, kproxyLogsIn: true, ownBroker: true}, refuseLogin},
		{"not its broker", kmsg.Fetch, 12, standing{policy: filters}, endRelearn},
		{"not its broker, produce", kmsg.Produce, 9, standing{policy: open}, endRelearn},
		{"not its broker, to learn", kmsg.Metadata, 12, standing{policy: open}, forward},
		{"not its broker, to log in", kmsg.SASLHandshake, 0, standing{policy: open}, handshakeV0},
		{"a fetch that may be a follower's", kmsg.Fetch, 12, standing{policy: filters, ownBroker: true}, unlessReplica},
		{"a fetch that nothing is kept from", kmsg.Fetch, 12, own, forward},
		{"produce", kmsg.Produce, 9, standing{policy: filters, ownBroker: true}, readAcks},
		{"a raw login", kmsg.SASLHandshake, 0, own, handshakeV0},
		{"a raw login past a filter", kmsg.SASLHandshake, 0, standing{policy: filters, ownBroker: true}, refuseRawTokens},
		{"a framed login past a filter", kmsg.SASLHandshake, 1, standing{policy: filters, ownBroker: true}, forward},
	} {
		if got := decide(int16(c.key), c.version, rewrite.TreatmentOf(int16(c.key), c.version), c.in); got != c.want {
			t.Errorf("%s: got action %d, want %d", c.name, got, c.want)
		}
	}
}

// Whatever a listener refuses never reaches a broker, in any version.
func TestRefusedIsNeverForwarded(t *testing.T) {
	for key := range int16(kmsg.MaxKey + 1) {
		p := &config.Policy{Filters: true, KeepsReplicas: true}
		p.Set(true, kmsg.Key(key))
		for version := range int16(30) {
			for bits := range 16 {
				in := standing{policy: p, unknownAPIs: bits&1 > 0, clientUser: bits&2 > 0, kproxyLogsIn: bits&4 > 0, ownBroker: bits&8 > 0}
				switch got := decide(key, version, rewrite.TreatmentOf(key, version), in); got {
				case refuseAPI, respondVersions, endUnsupported, endUnknown:
				default:
					t.Fatalf("key %d v%d, %+v: action %d", key, version, in, got)
				}
			}
		}
	}
}
