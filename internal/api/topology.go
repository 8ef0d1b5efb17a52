package api

import (
	"time"

	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// Topology is the body of /topology.
type Topology struct {
	Clusters []Cluster `json:"clusters"` // in the order of the configuration
}

// IsComplete reports whether the body has the list that kproxy always sends. The JSON of another server lacks it.
func (t *Topology) IsComplete() bool { return t.Clusters != nil }

// Cluster is a Kafka cluster behind kproxy.
type Cluster struct {
	Name         string     `json:"name"`
	ID           string     `json:"id,omitempty"` // the cluster's own, once a response has had it
	Up           bool       `json:"up"`           // the last contact was a response
	LastResponse *time.Time `json:"last_response,omitempty"`
	LastError    string     `json:"last_error,omitempty"`
	LastFailed   *time.Time `json:"last_failed,omitempty"`
	HiddenAPIs   []string   `json:"hidden_apis,omitempty"` // that clients do not see
	Listeners    []Listener `json:"listeners"`
}

// Listener is a way in.
type Listener struct {
	Name        string `json:"name"`
	Bind        string `json:"bind"`       // host:port of its bootstrap endpoint
	Advertised  string `json:"advertised"` // host:port that clients bootstrap from
	TLS         bool   `json:"tls"`
	APIs        *APIs  `json:"apis,omitempty"` // missing: apis is not set
	Connections int    `json:"connections"`    // open ones
	Nodes       []Node `json:"nodes"`          // by id
}

// APIs are the Kafka APIs that a listener's clients may use, as the configuration names them.
type APIs struct {
	Preset string   `json:"preset,omitempty"` // read-only
	Allow  []string `json:"allow,omitempty"`
	Deny   []string `json:"deny,omitempty"`
}

// Refusals names the requests that a listener refuses, in a few words; "": none.
func (l *Listener) Refusals() string {
	if l.APIs == nil {
		return ""
	}
	apis := config.APIs{Preset: config.APIPreset(l.APIs.Preset), Allow: l.APIs.Allow, Deny: l.APIs.Deny}
	return clean(apis.Refusals())
}

func apisOf(a *config.APIs) *APIs {
	if a.Preset == "" && len(a.Allow)+len(a.Deny) == 0 {
		return nil
	}
	return &APIs{string(a.Preset), a.Allow, a.Deny}
}

// Node is a broker's endpoint of a listener.
type Node struct {
	Node        int32  `json:"node"`
	Broker      string `json:"broker"`     // host:port as the cluster names it
	Bind        string `json:"bind"`       // host:port where kproxy listens for it
	Advertised  string `json:"advertised"` // host:port that clients get
	Dialled     string `json:"dialled"`    // host:port where kproxy reaches it; "": a dial rule gives no valid address
	Connections int    `json:"connections"`
}

// Dialled is an address at which kproxy reaches a broker, as people read it.
func Dialled(address string) string {
	if address == "" {
		return "none" // a dial rule gives no valid address
	}
	return clean(address)
}

// maxText is the most characters of a text that a broker or a client has sent.
const maxText = 200

func clean(text string) string { return foreign.LineOf(text, maxText) }

func topologyOf(source Source) Topology {
	type place struct {
		cluster, listener string
		node              int32
	}
	open := map[place]int{}
	for _, c := range source.Connections() {
		open[place{c.Cluster, c.Listener, c.Node}]++
		open[place{c.Cluster, c.Listener, everyNode}]++
	}
	t := Topology{Clusters: []Cluster{}}
	for _, c := range source.Topology().Clusters {
		at := clusterOf(c)
		for _, l := range c.Listeners {
			shown := Listener{
				Name: l.Name, Bind: l.Bind, Advertised: l.Advertised, TLS: l.TLS,
				APIs:        apisOf(&l.APIs),
				Connections: open[place{c.Name, l.Name, everyNode}],
				Nodes:       []Node{},
			}
			for _, n := range l.Nodes {
				shown.Nodes = append(shown.Nodes, Node{
					Node:        n.Broker.Node,
					Broker:      clean(hostport.Join(n.Broker.Host, n.Broker.Port)),
					Bind:        n.Bind,
					Advertised:  n.Advertised,
					Dialled:     clean(n.Dialled),
					Connections: open[place{c.Name, l.Name, n.Broker.Node}],
				})
			}
			at.Listeners = append(at.Listeners, shown)
		}
		t.Clusters = append(t.Clusters, at)
	}
	return t
}

// everyNode is no id of a node, nor one of package proxy's.
const everyNode = -3

func clusterOf(c proxy.ClusterTopology) Cluster {
	at := Cluster{
		Name:         c.Name,
		ID:           clean(c.ID),
		Up:           c.Up,
		LastResponse: timeOf(c.LastAnswer),
		LastFailed:   timeOf(c.LastFailed),
		HiddenAPIs:   c.Hidden,
		Listeners:    []Listener{},
	}
	if c.LastError != nil {
		at.LastError = clean(c.LastError.Error())
	}
	return at
}

// timeOf returns t; nil for the zero time.
func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
