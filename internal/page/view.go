package page

import (
	"net/http"
	"strconv"
	"time"

	"kproxy/internal/events"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/internal/recent"
	"kproxy/proxy"
)

// The most that a page shows. It names the number of the rest.
const (
	maxClusters     = 20
	maxListeners    = 40  // of all clusters
	maxNodes        = 50  // of a listener
	maxRows         = 400 // nodes of all listeners
	maxChips        = 100 // brokers in the map of a cluster
	maxReasons      = 20
	maxEvents       = 20
	maxCertificates = 50
	maxFindings     = 20
	maxText         = 200 // characters of a text
	maxID           = 60  // characters of a client id
)

func clean(text string) string { return foreign.LineOf(text, maxText) }

// view is everything that status.html shows.
type view struct {
	Version    string
	Now        moment
	Uptime     string
	Generation int
	SignedIn   bool

	Ready       bool
	Reasons     list
	Warnings    list
	Connections int64
	LastEvent   uint64 // id

	Charts   []chart
	Clusters []clusterView
	Only     string // the cluster that is shown alone; "": all
	Left     int    // clusters that are not shown

	Ends         endsView
	Certificates []certificateView
	CertsLeft    int
}

// list are some texts, and the number of the others.
type list struct {
	Texts []string
	Left  int
}

func listOf(texts []string) list {
	var l list
	for i, text := range texts {
		if i == maxFindings {
			l.Left = len(texts) - i
			break
		}
		l.Texts = append(l.Texts, foreign.LineOf(text, 2*maxText))
	}
	return l
}

// moment is a time for people and for programs.
type moment struct{ Text, Machine string }

func momentOf(t time.Time) moment {
	t = t.UTC()
	return moment{t.Format("15:04:05") + " UTC", t.Format(time.RFC3339)}
}

type clusterView struct {
	Name, ID     string
	Up, Heard    bool
	LastResponse string // how long ago
	LastError    string
	Hidden       list
	Brokers      int
	Chips        []chip
	ChipsLeft    int
	Listeners    []listenerView
	Left         int // listeners that are not shown
}

// chip is a broker in the map.
type chip struct {
	Node    int32
	Broker  string
	Open    int64
	Failed  int // connections that did not reach it, of those whose end is an event that is kept
	Trouble string
}

type listenerView struct {
	Cluster, Name, Bind, Advertised string
	TLS                             bool
	Refusals                        string // "": none
	Connections                     int64
	Charts                          []chart
	Nodes                           []nodeView
	Known, Left                     int
}

type nodeView struct {
	chip

	Advertised, Bind, Dialled string
	Same                      bool // the broker is dialled at the address that the cluster has for it
}

// state has the data from which a view is made.
type state struct {
	now    time.Time
	counts map[recent.Name]*proxy.ListenerStats
	stats  proxy.Snapshot
	window recent.Window
	series map[recent.Name]*recent.Series
	events []events.Event
	failed map[place]int
	rows   int // that may still be shown
	lists  int // listeners that may
}

// place is a node of a cluster.
type place struct {
	cluster string
	node    string
}

func (p *Page) view(r *http.Request, now time.Time) *view {
	s := &state{
		now: now, counts: map[recent.Name]*proxy.ListenerStats{}, series: map[recent.Name]*recent.Series{},
		rows: maxRows, lists: maxListeners,
	}
	v := &view{
		Version: p.parts.Version, Now: momentOf(now), Uptime: spanOf(now.Sub(p.parts.Started)), Generation: p.parts.Generation(),
		Only: clean(r.URL.Query().Get("cluster")),
	}
	only := r.URL.Query().Get("cluster")
	shows := func(name string) bool { return only == "" || only == name }
	s.stats, _ = p.parts.Recent.Latest()
	s.window = p.parts.Recent.Window(recent.MaxListeners, func(n recent.Name) bool { return shows(n.Cluster) })
	for i := range s.window.Listeners {
		s.series[s.window.Listeners[i].Name] = &s.window.Listeners[i].Series
	}
	for i := range s.stats.Clusters {
		c := &s.stats.Clusters[i]
		for j := range c.Listeners {
			l := &c.Listeners[j]
			s.counts[recent.Name{Cluster: c.Name, Listener: l.Name}] = l
			for _, n := range l.Active {
				v.Connections += n.Count
			}
		}
	}
	s.events, v.LastEvent, _ = p.parts.Events.Since(0)
	s.failed = failures(s.events, now)
	reasons, warnings := p.parts.Ready()
	v.Ready, v.Reasons, v.Warnings = len(reasons) == 0, listOf(reasons), listOf(warnings)
	v.Charts = chartsOf(&s.window)
	for _, c := range p.parts.Topology().Clusters {
		switch {
		case !shows(c.Name):
		case len(v.Clusters) == maxClusters:
			v.Left++
		default:
			v.Clusters = append(v.Clusters, s.cluster(&c))
		}
	}
	v.Ends = endsOf(s.events, now)
	v.Certificates, v.CertsLeft = certificates(&s.stats, now)
	return v
}

// failures counts, by node, the sessions of the last ten minutes that did not reach their broker.
func failures(all []events.Event, now time.Time) map[place]int {
	failed := map[place]int{}
	for i := range all {
		e := &all[i]
		if now.Sub(e.Last) > recent.Points*recent.Interval {
			continue
		}
		switch proxy.CloseReason(e.Get("reason")) {
		case proxy.DialFailed, proxy.DialRefused, proxy.BrokerRefusedTLS, proxy.BrokerLogin, proxy.OtherCluster, proxy.Loop:
			failed[place{e.Get("cluster"), e.Get("node")}] += 1 + e.Repeats
		default:
		}
	}
	return failed
}

func (s *state) cluster(c *proxy.ClusterTopology) clusterView {
	v := clusterView{
		Name: c.Name, ID: clean(c.ID), Up: c.Up, Heard: !c.LastAnswer.IsZero(), Hidden: listOf(c.Hidden),
	}
	if v.Heard {
		v.LastResponse = spanOf(s.now.Sub(c.LastAnswer))
	}
	if c.LastError != nil && !c.Up {
		v.LastError = foreign.LineOf(c.LastError.Error(), 2*maxText)
	}
	v.Chips, v.Brokers = s.chips(c)
	v.ChipsLeft = v.Brokers - len(v.Chips)
	for i := range c.Listeners {
		if s.lists == 0 {
			v.Left = len(c.Listeners) - i
			break
		}
		s.lists--
		v.Listeners = append(v.Listeners, s.listener(c.Name, &c.Listeners[i]))
	}
	return v
}

// chips are the brokers of a cluster, and their number: those of its listener that has most of them.
func (s *state) chips(c *proxy.ClusterTopology) (some []chip, all int) {
	var most *proxy.ListenerTopology
	for i := range c.Listeners {
		if l := &c.Listeners[i]; most == nil || len(l.Nodes) > len(most.Nodes) {
			most = l
		}
	}
	if most == nil {
		return nil, 0
	}
	open := map[int32]int64{}
	for _, l := range c.Listeners {
		if counts := s.counts[recent.Name{Cluster: c.Name, Listener: l.Name}]; counts != nil {
			for _, n := range counts.Active {
				open[n.Node] += n.Count
			}
		}
	}
	for i := range min(len(most.Nodes), maxChips) {
		n := &most.Nodes[i]
		some = append(some, s.chip(c.Name, n.Broker.Node, hostport.Join(n.Broker.Host, n.Broker.Port), n.Dialled, open[n.Broker.Node]))
	}
	return some, len(most.Nodes)
}

func (s *state) chip(cluster string, node int32, broker, dialled string, open int64) chip {
	one := chip{Node: node, Broker: clean(broker), Open: open, Failed: s.failed[place{cluster, strconv.Itoa(int(node))}]}
	switch {
	case dialled == "":
		one.Trouble = "a dial rule gives no valid address"
	case one.Failed == 1:
		one.Trouble = "1 connection did not reach it"
	case one.Failed > 0:
		one.Trouble = strconv.Itoa(one.Failed) + " connections did not reach it"
	}
	return one
}

func (s *state) listener(cluster string, l *proxy.ListenerTopology) listenerView {
	name := recent.Name{Cluster: cluster, Listener: l.Name}
	v := listenerView{Cluster: cluster, Name: l.Name, Bind: l.Bind, Advertised: l.Advertised, TLS: l.TLS, Refusals: clean(l.APIs.Refusals()), Known: len(l.Nodes)}
	open := map[int32]int64{}
	if counts := s.counts[name]; counts != nil {
		for _, n := range counts.Active {
			open[n.Node] = n.Count
			v.Connections += n.Count
		}
	}
	if series := s.series[name]; series != nil {
		v.Charts = sparksOf(series, s.window.Spans)
	}
	shown := min(len(l.Nodes), maxNodes, s.rows)
	s.rows -= shown
	v.Left = len(l.Nodes) - shown
	for i := range shown {
		n := &l.Nodes[i]
		broker := hostport.Join(n.Broker.Host, n.Broker.Port)
		v.Nodes = append(v.Nodes, nodeView{
			chip:       s.chip(cluster, n.Broker.Node, broker, n.Dialled, open[n.Broker.Node]),
			Advertised: n.Advertised, Bind: n.Bind, Dialled: clean(n.Dialled), Same: broker == n.Dialled,
		})
	}
	return v
}
