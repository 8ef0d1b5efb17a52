package doctor

import (
	"strconv"
	"time"

	"kproxy/internal/foreign"
	"kproxy/internal/speaks"
)

// Step is a step of a client's connection to a broker.
type Step int

// The steps, in order.
const (
	Name    Step = iota // the name has addresses
	Connect             // a connection is accepted there
	TLS                 // the certificate is good
	Kafka               // a Kafka broker responds
	Login               // the login is accepted
	Itself              // it is the expected node of this cluster
	Arrived             // no step is left
)

var stepWords = [...]string{"name", "connect", "tls", "kafka", "login", "itself", "arrived"}

func (s Step) String() string { return stepWords[s] }

// Finding is the result of one address for a client.
type Finding struct {
	Node    int32 // -1 (proxy.NoNode): it is one of the user's, for bootstrap
	Address string
	Took    time.Duration // the whole connection, or up to the failure
	Taken   [Arrived]bool // the steps of this connection
	Err     error         // why it failed; nil: it did not
	Failed  Step          // Arrived: no step did

	Resolved string // the IP address that was dialled for a name, if the connection failed

	Verdict Verdict     // "": it works
	Reason  string      // the cause, a clause
	Peer    speaks.Peer // the port's protocol, where it gave no Kafka response
	Fix     Fix

	// For a node that failed, Connect is the address at which kproxy connect reaches it with
	// the user's flags, and Elsewhere the one at which it does so with --node. At most one of
	// the two is set.
	Connect, Elsewhere string
}

// Who is the finding's subject: bootstrap, or node 1.
func (f *Finding) Who() string {
	if f.isBootstrap() {
		return "bootstrap"
	}
	return "node " + strconv.Itoa(int(f.Node))
}

// Shown is the address for a screen.
func (f *Finding) Shown() string {
	if f.Address == "" {
		return "(no address)"
	}
	return foreign.LineOf(f.Address, maxAddress)
}

// elsewhere is Elsewhere, if it can be pasted.
func (f *Finding) elsewhere() string {
	if !isTame(f.Elsewhere) {
		return ""
	}
	return f.Elsewhere
}

// maxAddress is the most characters of an address that are shown: a DNS name has 253 at
// most, and a port with its colon 6.
const maxAddress = 259

// Outcome is the result of a step: ok, FAIL, - for a step that this connection does not have or
// whose result is not known, and empty for a step after a failure.
func (f *Finding) Outcome(s Step) string {
	switch {
	case s == f.Failed:
		return "FAIL"
	case s > f.Failed:
		return ""
	case !f.Taken[s]:
		return "-"
	default:
		return "ok"
	}
}

// Report is the result of a client's connections.
type Report struct {
	User      User
	ClusterID string
	Brokers   int  // that the cluster names
	Untried   int  // of these, how many were not tried
	Heard     bool // an address has responded as a Kafka broker

	// NeedsLogin says that the cluster names its brokers only after a login, by one of
	// Mechanisms, if the cluster has named them.
	NeedsLogin bool
	Mechanisms []string

	Findings  []Finding
	Unchecked []string // the checks that were not possible, and why: a clause each
	Copies    string   // why a kproxy on this machine copies large frames; "": it splices them
}

// Failed are the findings that failed.
func (r *Report) Failed() []*Finding {
	var all []*Finding
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Err != nil {
			all = append(all, f)
		}
	}
	return all
}

// Sound reports whether each address works, and all of them are known and were tried.
func (r *Report) Sound() bool {
	return r.Heard && !r.NeedsLogin && r.Untried == 0 && len(r.Failed()) == 0
}
