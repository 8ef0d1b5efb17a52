package live

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kproxy/internal/connect"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// Running is a kproxy that runs, as its admin server shows it. It has no secret: no login, no
// key, no password.
type Running struct {
	Clusters []Cluster
	Parts    config.Parts // for the logins of clients
}

// Cluster is a cluster behind a kproxy that runs.
type Cluster struct {
	Key     string           // of the configuration: clusters.NAME
	ID      string           // "": no response has had it yet
	Brokers []connect.Broker // that kproxy knows, by id
	// Responded is when a broker responded to kproxy last; zero: none has. Error says why
	// no broker responds now, since Failed; "": one does, or none was asked.
	Responded, Failed time.Time
	Error             string
	Listeners         []Listener
}

// Listener is a listener as its clients reach it.
type Listener struct {
	Key          string // of the configuration: clusters.NAME.listeners.NAME
	BootstrapKey string // of the bootstrap endpoint's advertised address
	NodesKey     string // of the nodes' advertised addresses

	Bind       string // host:port of the bootstrap endpoint
	Advertised string // host:port that clients bootstrap from
	TLS        bool
	Login      bool // clients log in at kproxy itself
	Refuses    bool // some connections: by allow, deny, proxy_protocol or limits
	Endpoints  map[int32]Endpoint
}

// Endpoint is a node's endpoint at a listener.
type Endpoint struct {
	Bind       string // host:port where kproxy listens
	Advertised string // host:port that clients get
	Dialled    string // host:port where kproxy reaches the broker; "": it is not known

	isLoose   bool // the node may have another endpoint as well
	isUntried bool
}

// words are the parts of texts that depend on the source of the expected addresses.
type words struct {
	machine      string // where kproxy listens
	giver        string // of the expected addresses
	orElse       string // the last part of fixes
	otherAddress string // the fix of OtherAddress
	wrongName    string // the fix of a certificate for another name
}

var (
	ofConfiguration = words{
		machine:      "this machine",
		giver:        "the configuration",
		orElse:       "start the kproxy that runs with this configuration",
		otherAddress: "the kproxy that runs has another configuration, or its state file another slot: start it with this one, or pin the node",
		wrongName:    "if the files are good, the kproxy that runs has not read them, or another server is there",
	}
	ofRunning = words{
		machine:      "kproxy's machine",
		giver:        "kproxy",
		orElse:       "give the kproxy that responds there the configuration of this one",
		otherAddress: "another kproxy responds there, with another configuration or another state file: give it the configuration of this one, and pin the node",
		wrongName:    "have a certificate issued with this name (subjectAltName), or advertise a name that it has; or another server is there",
	}
)

// running checks one cluster of a kproxy that runs.
func (c *check) running(ctx context.Context, cluster *Cluster) findings {
	var all findings
	known := &knownCluster{id: cluster.ID, named: cluster.Brokers, faulted: map[int32]bool{proxy.NoNode: cluster.Error != ""}}
	switch {
	case cluster.Error != "":
		all.fault(cluster.Key, Down, "kproxy reaches no broker, "+ago(cluster.Failed)+": "+cluster.Error,
			"see its log; kproxy check --config FILE --live on its machine tries each broker")
	case cluster.Responded.IsZero():
		all.note(cluster.Key, NotChecked, "whether kproxy reaches the brokers: it has not asked them yet", "run the check again")
	default:
		all.ok(cluster.Key, Responds, fmt.Sprintf("the brokers responded to kproxy %s, cluster %q, %s", ago(cluster.Responded), foreign.Line(cluster.ID), counted(len(cluster.Brokers), "broker")))
	}
	parts := make([]findings, len(cluster.Listeners))
	inTurn(len(parts), func(i int) {
		w := &walk{check: c, cluster: known, of: cluster.Listeners[i].limited()}
		own := map[string]bool{}
		for _, e := range w.of.Endpoints {
			own[hostport.CanonicalAddress(e.Advertised)] = true
		}
		w.isOwn = func(address string) bool { return own[address] }
		w.tellUntried()
		w.run(ctx, false)
		parts[i] = w.findings
	})
	for _, part := range parts {
		all.all = append(all.all, part.all...)
	}
	return all
}

func ago(t time.Time) string { return max(0, time.Since(t)).Round(time.Second).String() + " ago" }

// limited is the listener with the first endpoints alone that are to be tried.
func (l Listener) limited() *Listener {
	ids := make([]int32, 0, len(l.Endpoints))
	for node := range l.Endpoints {
		ids = append(ids, node)
	}
	slices.Sort(ids)
	limited := make(map[int32]Endpoint, len(ids))
	for i, node := range ids {
		e := l.Endpoints[node]
		e.isUntried = i >= maxNodes
		limited[node] = e
	}
	l.Endpoints = limited
	return &l
}

// tellUntried notes the endpoints that are not tried for their number, or because kproxy does
// not know the brokers.
func (l *walk) tellUntried() {
	switch more := len(l.of.Endpoints) - maxNodes; {
	case more > 0:
		l.note(l.of.Key, NotChecked, fmt.Sprintf("%s not tried: the first %d are, by node id", counted(more, "more endpoint")+map[bool]string{true: " was", false: " were"}[more == 1], maxNodes), "")
	case len(l.of.Endpoints) == 0:
		l.note(l.of.Key, NotChecked, "kproxy does not know the brokers yet: the nodes' endpoints were not tried", "run the check again once a client has connected: kproxy learns the brokers from responses")
	}
}
