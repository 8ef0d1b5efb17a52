package live

import "kproxy/internal/foreign"

// Level is the weight of a finding.
type Level string

// The levels.
const (
	OK    Level = "ok"
	Note  Level = "note"  // a check that was not possible
	Fault Level = "fault" // some client, or kproxy itself, fails because of it
)

// Kind is the finding in one word. The set is closed: the kinds here, and the verdicts of
// package doctor.
type Kind string

// The kinds. Others are the values of doctor.Verdict.
const (
	Responds     Kind = "responds"         // ok: brokers respond, each as itself
	Fits         Kind = "ids_fit"          // ok: each node has the endpoint that the configuration gives it
	Covered      Kind = "names_covered"    // ok: the certificates are for all advertised names
	Resolves     Kind = "names_resolve"    // ok: all advertised names resolve
	Served       Kind = "served"           // ok: each endpoint leads to its node, and names this listener's addresses
	NotServed    Kind = "not_served"       // note: no process listens at the listener's bind address
	NotChecked   Kind = "not_checked"      // note: the check was not possible
	Down         Kind = "cluster_down"     // kproxy reaches no broker of a cluster
	Loop         Kind = "loop"             // a bootstrap address or a broker's address is a listener's own
	RuleConflict Kind = "dial_conflict"    // dial rules lead two nodes to one address
	Outside      Kind = "outside_range"    // a node is outside the listener's range, and takes a free slot
	NoSlot       Kind = "no_slot"          // a node has no slot: clients do not get it
	Uncovered    Kind = "name_not_covered" // no certificate is for an advertised name
	Elsewhere    Kind = "leads_elsewhere"  // an endpoint does not name this listener's addresses
	BrokerHeard  Kind = "broker_heard"     // an endpoint names a broker's own address
	OtherAddress Kind = "other_address"    // an endpoint names another address of the listener for a node
	LeftOut      Kind = "node_left_out"    // an endpoint does not name a node of the cluster
)

// Finding is the result of one check.
type Finding struct {
	Level   Level  `json:"level"`
	Key     string `json:"key"` // of the configuration: clusters.NAME…
	Kind    Kind   `json:"kind"`
	Node    *int32 `json:"node,omitempty"`    // nil: it is not about one node
	Address string `json:"address,omitempty"` // host:port that was tried, or that is advertised
	Says    string `json:"says"`              // a clause
	Fix     string `json:"fix,omitempty"`     // a clause; "" for OK

	unready bool // kproxy may be the cause, if it is not ready because no cluster responds
}

// Report is the result of a check.
type Report struct {
	Findings []Finding // in the order of the configuration
}

// Faults is the number of faults.
func (r *Report) Faults() int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Level == Fault {
			n++
		}
	}
	return n
}

// excuseUnready makes notes of faults that follow where no cluster responds: kproxy is not ready then, and a
// Service or a balancer leads no client to it.
func (r *Report) excuseUnready() {
	for i := range r.Findings {
		if f := &r.Findings[i]; f.unready {
			f.Level, f.Kind = Note, NotChecked
			f.Says = foreign.LineOf(f.Says+"; kproxy is not ready before a cluster responds, and a Service or a balancer leads nowhere until then", maxSays)
			f.Fix = "correct the faults of the clusters first"
		}
	}
}

const (
	maxSays    = 500 // characters of a finding's text
	maxAddress = 259 // of an address: a DNS name has 253 at most, and a port with its colon 6
)

// findings are those of one part of the configuration, in order.
type findings struct{ all []Finding }

func (f *findings) add(one Finding) {
	one.Says, one.Fix = foreign.LineOf(one.Says, maxSays), foreign.LineOf(one.Fix, maxSays)
	one.Address = foreign.LineOf(one.Address, maxAddress)
	f.all = append(f.all, one)
}

func (f *findings) ok(key string, kind Kind, says string) {
	f.add(Finding{Level: OK, Key: key, Kind: kind, Says: says})
}

func (f *findings) note(key string, kind Kind, says, fix string) {
	f.add(Finding{Level: Note, Key: key, Kind: kind, Says: says, Fix: fix})
}

func (f *findings) fault(key string, kind Kind, says, fix string) {
	f.add(Finding{Level: Fault, Key: key, Kind: kind, Says: says, Fix: fix})
}
