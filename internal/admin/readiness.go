package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"kproxy/internal/foreign"
	"kproxy/proxy"
)

// Readiness serves /readyz. kproxy is ready when
//
//   - every listener is bound,
//   - it is not stopping, and
//   - at least one cluster has responded since the start.
//
// Later losses change the body of the response, not its status: if Kafka is down, the
// proxies must stay up, because clients would lose the addresses that they know. With
// strict readiness, by All or by ?cluster=NAME, every cluster, or that one, has to
// respond now.
type Readiness struct {
	Proxy interface {
		Health() proxy.Health
		Probe(ctx context.Context, cluster string)
	}
	All bool // every cluster must respond now; otherwise one must have responded once
	// Configuration is the file in use; nil: it is not named.
	Configuration func() Configuration
}

// Configuration names the configuration file that is in use, and one that is not.
type Configuration struct {
	SHA256 string `json:"sha256"` // of the content in use
	// NotApplied is a content of the file that was read since.
	NotApplied *NotApplied `json:"not_applied,omitempty"`
}

// NotApplied is a content of the configuration file that is not applied.
type NotApplied struct {
	// SHA256 of the content; "": it was not read, or it is tried again.
	SHA256  string   `json:"sha256,omitempty"`
	Reasons []string `json:"reasons"` // these are warnings too
}

// response is the body of /readyz.
type response struct {
	Ready    bool               `json:"ready"`
	Reasons  []string           `json:"reasons"`            // why not; empty if ready
	Warnings []string           `json:"warnings,omitempty"` // findings that do not make it unready
	Clusters map[string]cluster `json:"clusters"`

	Configuration *Configuration `json:"configuration,omitempty"`
}

// cluster is the state of a cluster.
type cluster struct {
	Up         bool       `json:"up"` // the last contact was a response
	Brokers    int        `json:"brokers"`
	LastAnswer *time.Time `json:"last_answer,omitempty"`
	LastError  string     `json:"last_error,omitempty"`
	LastFailed *time.Time `json:"last_failed,omitempty"`

	// Overflowed are the nodes that took a free slot, by listener.
	Overflowed map[string][]int32 `json:"overflowed,omitempty"`
	// Unmapped are the nodes without a slot, by listener.
	Unmapped map[string][]int32 `json:"unmapped,omitempty"`
	// HiddenAPIs are the APIs of the cluster that clients no longer see: see
	// proxy.ClusterHealth.
	HiddenAPIs []string `json:"hidden_apis,omitempty"`
}

// ServeHTTP responds 200 or 503 as the rule says, or 404 for an unknown cluster.
func (r *Readiness) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	status, a := r.response(req)
	write(w, status, a)
}

func (r *Readiness) response(req *http.Request) (status int, a response) {
	names, err := r.asked(req)
	if err != nil {
		return http.StatusNotFound, response{Reasons: []string{err.Error()}}
	}
	r.probe(req.Context(), names)
	health := r.Proxy.Health()
	a = response{Reasons: reasons(health, names), Clusters: map[string]cluster{}, Configuration: r.configuration()}
	a.Warnings = listWarnings(health, a.Configuration)
	a.Ready = len(a.Reasons) == 0
	for _, c := range health.Clusters {
		a.Clusters[c.Name] = describe(c)
	}
	if !a.Ready {
		return http.StatusServiceUnavailable, a
	}
	return http.StatusOK, a
}

// briefly is a Readiness for clients without the token. They get the status, and nothing
// about clusters and their brokers; they may not ask for one cluster either.
type briefly struct {
	*Readiness
	guard *guard
}

func (b *briefly) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case b.guard.admitsReader(req):
		b.Readiness.ServeHTTP(w, req)
	case req.URL.Query().Has("cluster"):
		refuse(w)
	default:
		status, a := b.response(req)
		write(w, status, struct {
			Ready bool `json:"ready"`
		}{a.Ready})
	}
}

// Present returns the reasons and the warnings of the response, without a probe.
func (r *Readiness) Present() (notReady, warnings []string) {
	var strict []string
	if r.All {
		strict = r.all()
	}
	health := r.Proxy.Health()
	return reasons(health, strict), listWarnings(health, r.configuration())
}

func (r *Readiness) configuration() *Configuration {
	if r.Configuration == nil {
		return nil
	}
	c := r.Configuration()
	return &c
}

// Reasons says why kproxy is not ready, by the rule of All; empty: it is. It probes as a request for
// the state does.
func (r *Readiness) Reasons(ctx context.Context) []string {
	var strict []string
	if r.All {
		strict = r.all()
	}
	r.probe(ctx, strict)
	return reasons(r.Proxy.Health(), strict)
}

// all returns the names of the clusters.
func (r *Readiness) all() []string {
	var all []string
	for _, c := range r.Proxy.Health().Clusters {
		all = append(all, c.Name)
	}
	return all
}

// asked returns the clusters that must respond now; none: the rule is not strict.
func (r *Readiness) asked(req *http.Request) ([]string, error) {
	all := r.all()
	query := req.URL.Query()
	for parameter := range query {
		if parameter != "cluster" { // without it, the probe would ask for less than it means
			return nil, fmt.Errorf("there is no parameter %q; there is cluster", foreign.Line(parameter))
		}
	}
	switch name := query.Get("cluster"); {
	case !query.Has("cluster") && r.All:
		return all, nil
	case !query.Has("cluster"):
		return nil, nil
	case !slices.Contains(all, name):
		return nil, fmt.Errorf("there is no cluster %q; there is %s", name, strings.Join(all, ", "))
	default:
		return []string{name}, nil
	}
}

// probe probes the clusters, all at a time. The proxy limits how often a cluster is
// probed.
func (r *Readiness) probe(ctx context.Context, names []string) {
	var asking sync.WaitGroup
	for _, name := range names {
		asking.Go(func() { r.Proxy.Probe(ctx, name) })
	}
	asking.Wait()
}

// reasons says why the proxy is not ready. strict are the clusters that must be
// up.
func reasons(h proxy.Health, strict []string) []string {
	all := []string{}
	if !h.Bound {
		all = append(all, "the listeners are not bound yet")
	}
	if h.Stopping {
		all = append(all, "kproxy is stopping")
	}
	someResponded := false
	for _, c := range h.Clusters {
		someResponded = someResponded || !c.LastAnswer.IsZero()
		if slices.Contains(strict, c.Name) && !c.Up {
			all = append(all, "cluster "+c.Name+" does not answer")
		}
	}
	if len(strict) == 0 && !someResponded {
		all = append(all, "no cluster has answered yet")
	}
	return all
}

// listWarnings lists those about the configuration, the slots that replicas of this
// proxy may not agree on, and the APIs that it is too old for.
func listWarnings(h proxy.Health, c *Configuration) []string {
	var all []string
	if c != nil && c.NotApplied != nil {
		all = slices.Clone(c.NotApplied.Reasons)
	}
	for _, c := range h.Clusters {
		for _, kind := range []struct {
			all       []proxy.Overflow
			one, more string // forms for one node, and for more
		}{
			{
				c.Overflowed,
				"node %s is outside the range and took a free slot; replicas may differ for it",
				"nodes %s are outside the range and took free slots; replicas may differ for them",
			},
			{
				c.Unmapped,
				"node %s has no endpoint, because the range is full; clients do not get it; widen the listener's nodes range",
				"nodes %s have no endpoint, because the range is full; clients do not get them; widen the listener's nodes range",
			},
		} {
			for _, o := range kind.all {
				form := kind.more
				if len(o.Nodes) == 1 {
					form = kind.one
				}
				all = append(all, fmt.Sprintf("cluster %s, listener %s: "+form, c.Name, o.Listener, join(o.Nodes)))
			}
		}
		for _, key := range c.Stale {
			all = append(all, key+": the file has changed and cannot be used; kproxy uses the content from before, and the log says why")
		}
		for _, s := range c.Strangers {
			all = append(all, fmt.Sprintf("cluster %s: %v", c.Name, s))
		}
		for _, api := range c.Hidden {
			all = append(all, fmt.Sprintf("cluster %s: the brokers no longer speak any version of %s that this build understands; "+
				"it is hidden from clients; upgrade kproxy", c.Name, api))
		}
	}
	return all
}

func join(nodes []int32) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(nodes), " ", ", "), "[]")
}

// maxLastError is the most characters of an error, which may quote brokers: a few
// brokers' errors.
const maxLastError = 1000

func describe(c proxy.ClusterHealth) cluster {
	d := cluster{Up: c.Up, Brokers: c.Brokers, HiddenAPIs: c.Hidden}
	if !c.LastAnswer.IsZero() {
		d.LastAnswer = inUTC(c.LastAnswer)
	}
	if c.LastError != nil {
		// Several brokers' errors have a line each.
		text := strings.ReplaceAll(c.LastError.Error(), "\n", "; ")
		d.LastError, d.LastFailed = foreign.LineOf(text, maxLastError), inUTC(c.LastFailed)
	}
	d.Overflowed, d.Unmapped = byListener(c.Overflowed), byListener(c.Unmapped)
	return d
}

// byListener is nil where there is no node.
func byListener(all []proxy.Overflow) map[string][]int32 {
	var nodes map[string][]int32
	for _, o := range all {
		if nodes == nil {
			nodes = map[string][]int32{}
		}
		nodes[o.Listener] = o.Nodes
	}
	return nodes
}

func inUTC(t time.Time) *time.Time {
	t = t.UTC()
	return &t
}

func write(w http.ResponseWriter, status int, a any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(a) // a client that is gone wants no response
}
