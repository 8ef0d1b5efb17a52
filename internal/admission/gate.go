// Package admission decides whether a connection is admitted. It counts the connections of
// all listeners against their limits, and checks the networks of clients.
//
// The type to know is [Gate], one for each listener. [Gates] has the state that they
// share. A [Refusal] says why a connection is refused. The package reads nothing from a
// connection and closes none.
package admission

import (
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/time/rate"

	"kproxy/internal/logkey"
	"kproxy/internal/logline"
)

// Refusal is a reason to refuse a connection: a closed set. "" admits it.
type Refusal string

// The refusals.
const (
	RefusedNetwork     Refusal = "not_allowed"
	RefusedConnections Refusal = "too_many_connections"
	RefusedSource      Refusal = "too_many_from_source"
	RefusedRate        Refusal = "accept_rate"
)

// Limits are the limits of one listener; 0: any number.
type Limits struct {
	MaxConnections int // connections at one time
	MaxPerSource   int // connections at one time from one IP address
	AcceptRate     int // new connections in a second
}

// MaxConnectionsKey is the key of the limit of all connections.
const MaxConnectionsKey = "limits.max_connections"

// Gates counts the connections of all listeners against their limits. At a limit the newest
// connection is refused: the others are at work, and a refused client tries again.
//
// A connection is counted before anything is read from it, and until both its sockets are
// closed. Call Init before anything else.
type Gates struct {
	Lines logline.Queue // of the alarms

	mu    sync.Mutex // guards the following, all gates and their alarms
	all   quota
	gates []*Gate
}

// quota is a number of connections and its limit.
type quota struct {
	max, open int // max 0: any number
	alarm     alarm
}

func (q *quota) full() bool { return q.max > 0 && q.open >= q.max }
func (q *quota) near() bool { return q.max > 0 && 100*q.open >= nearPercent*q.max }

func (q *quota) enter(attrs ...slog.Attr) {
	q.open++
	if q.near() {
		q.alarm.near(append(attrs, slog.Int(logkey.Max, q.max), slog.Int(logkey.Connections, q.open))...)
	}
}

// Gate admits the connections of one listener.
type Gate struct {
	of  *Gates
	all quota

	networks      Networks
	allowAlarm    alarm
	denyAlarm     alarm
	balancers     Balancers
	balancerAlarm alarm

	sources     map[netip.Addr]int // connections by source
	maxSource   int                // 0: any number
	nearSources int                // the number of sources near their limit
	sourceAlarm alarm

	rate      *rate.Limiter // nil: not limited
	rateAlarm alarm
}

// Init makes the gates ready, with a limit of all connections; 0: any number.
func (a *Gates) Init(log *slog.Logger, most int) {
	a.all = quota{max: most, alarm: a.alarm(log, MaxConnectionsKey, &limitText)}
}

// SetMax sets the limit of all connections; 0: any number. It holds from the next connection
// on. It reports whether the limit was another one.
func (a *Gates) SetMax(n int) (changed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	changed = a.all.max != n
	a.all.max = n
	return changed
}

// alarm returns an alarm about the limit that key names.
func (a *Gates) alarm(log *slog.Logger, key string, text *alarmText) alarm {
	return alarm{log: log, to: &a.Lines, key: key, text: text}
}

// NewGate adds a gate for a listener whose configuration keys start with key.
func (a *Gates) NewGate(log *slog.Logger, key string, from Networks, by Balancers, limits Limits) *Gate {
	alarmOf := func(name string) alarm { return a.alarm(log, key+".limits."+name, &limitText) }
	g := &Gate{
		of:            a,
		allowAlarm:    a.alarm(log, key+".allow", &allowText),
		denyAlarm:     a.alarm(log, key+".deny", &denyText),
		balancerAlarm: a.alarm(log, key+".proxy_protocol.from", &balancerText),

		all:         quota{alarm: alarmOf("max_connections")},
		sources:     map[netip.Addr]int{},
		sourceAlarm: alarmOf("max_per_source"),
		rateAlarm:   alarmOf("accept_rate"),
	}
	g.Reconfigure(from, by, limits)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gates = append(a.gates, g)
	return g
}

// Reconfigure gives the gate other limits and networks. Connections that are there stay, also
// those that they would refuse.
func (g *Gate) Reconfigure(from Networks, by Balancers, limits Limits) {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	g.networks, g.balancers = from, by
	g.all.max, g.maxSource = limits.MaxConnections, limits.MaxPerSource
	g.nearSources = 0
	for _, open := range g.sources {
		if q := (quota{max: g.maxSource, open: open}); q.near() {
			g.nearSources++
		}
	}
	switch {
	case limits.AcceptRate == 0:
		g.rate = nil
	case g.rate == nil || g.rate.Burst() != limits.AcceptRate:
		// A burst of one second's worth: a client that starts connects to
		// every broker at once.
		g.rate = rate.NewLimiter(rate.Limit(limits.AcceptRate), limits.AcceptRate)
	}
}

// Balancers returns the load balancers that may name clients.
func (g *Gate) Balancers() Balancers {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	return g.balancers
}

// Remove ends the gate's alarms. It still counts the connections that it has admitted.
func (g *Gate) Remove() {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	g.of.gates = slices.DeleteFunc(g.of.gates, func(other *Gate) bool { return other == g })
}

// Enter counts a connection, or returns the reason to refuse it. headed says that the peer
// may send a PROXY header, which names the client: until Claim, the source is not known
// and counts as none. A connection that another limit refuses does not count for the rate,
// so that a source with too many connections does not keep others out.
func (g *Gate) Enter(peer netip.Addr) (source netip.Addr, headed bool, refused Refusal) {
	a := g.of
	a.mu.Lock()
	defer a.mu.Unlock()
	headed = contains(g.balancers.from, peer)
	switch {
	case headed:
	case g.balancers.required:
		g.balancerAlarm.refuse(slog.String(logkey.Source, peer.String()))
		return source, false, RefusedNetwork
	default:
		if refused := g.refuses(peer); refused != "" {
			return source, false, refused
		}
		source = peer
	}
	switch {
	case a.all.full():
		a.all.alarm.refuse(slog.Int(logkey.Max, a.all.max))
		return source, headed, RefusedConnections
	case g.all.full():
		g.all.alarm.refuse(slog.Int(logkey.Max, g.all.max))
		return source, headed, RefusedConnections
	case g.rate != nil && !g.rate.Allow():
		g.rateAlarm.refuse(slog.Int(logkey.Max, g.rate.Burst()))
		return source, headed, RefusedRate
	}
	a.all.enter()
	g.all.enter()
	g.enterSource(source)
	if g.rateNear() {
		g.rateAlarm.near(slog.Int(logkey.Max, g.rate.Burst()))
	}
	return source, headed, ""
}

// Claim counts a connection that has entered under its client's address, which is the
// peer's own if the peer names none. It returns the reason to refuse that client.
func (g *Gate) Claim(source netip.Addr) Refusal {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	refused := g.refuses(source)
	if refused == "" {
		g.enterSource(source)
	}
	return refused
}

// refuses returns the reason to refuse connections from source, or "" to admit them.
func (g *Gate) refuses(source netip.Addr) Refusal {
	switch {
	case !g.networks.admit(source):
		by := &g.allowAlarm
		if g.networks.denies(source) {
			by = &g.denyAlarm
		}
		by.refuse(slog.String(logkey.Source, source.String()))
		return RefusedNetwork
	case g.maxSource > 0 && g.counts(source) && g.sources[source] >= g.maxSource:
		g.sourceAlarm.refuse(slog.Int(logkey.Max, g.maxSource), slog.String(logkey.Source, source.String()))
		return RefusedSource
	default:
		return ""
	}
}

// Join counts a connection that has entered by the gate of a socket that several listeners
// share. It returns the reason for which this listener refuses it. Part undoes it.
func (g *Gate) Join(source netip.Addr) (refused Refusal) {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	refused = g.refuses(source)
	switch {
	case refused != "":
		return refused
	case g.all.full():
		g.all.alarm.refuse(slog.Int(logkey.Max, g.all.max))
		return RefusedConnections
	case g.rate != nil && !g.rate.Allow():
		g.rateAlarm.refuse(slog.Int(logkey.Max, g.rate.Burst()))
		return RefusedRate
	}
	g.all.enter()
	g.enterSource(source)
	if g.rateNear() {
		g.rateAlarm.near(slog.Int(logkey.Max, g.rate.Burst()))
	}
	return ""
}

// Part undoes the count of Join.
func (g *Gate) Part(source netip.Addr) {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	g.all.open--
	g.leaveSource(source)
}

// Leave undoes the count of Enter.
func (g *Gate) Leave(source netip.Addr) {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	g.of.all.open--
	g.all.open--
	g.leaveSource(source)
}

func (g *Gate) counts(source netip.Addr) bool { return source.IsValid() }

func (g *Gate) enterSource(source netip.Addr) {
	if !g.counts(source) {
		return
	}
	q := quota{max: g.maxSource, open: g.sources[source], alarm: g.sourceAlarm}
	wasNear := q.near()
	q.enter(slog.String(logkey.Source, source.String()))
	if q.near() && !wasNear {
		g.nearSources++
	}
	g.sources[source], g.sourceAlarm = q.open, q.alarm
}

func (g *Gate) leaveSource(source netip.Addr) {
	if !g.counts(source) {
		return
	}
	q := quota{max: g.maxSource, open: g.sources[source]}
	wasNear := q.near()
	q.open--
	if wasNear && !q.near() {
		g.nearSources--
	}
	if g.sources[source] = q.open; q.open == 0 {
		delete(g.sources, source) // keep no source without connections
	}
}

// minNearRate is the smallest rate whose limit is warned of before it is reached. One
// connection is a large part of a smaller rate.
const minNearRate = 5

// rateNear reports whether nearPercent of a second's connections are used up.
func (g *Gate) rateNear() bool {
	if g.rate == nil || g.rate.Burst() < minNearRate {
		return false
	}
	return g.rate.Tokens() <= float64(g.rate.Burst())*(100-nearPercent)/100
}

// Settle ends the alarms whose cause is over.
func (a *Gates) Settle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all.alarm.overUnless(a.all.near())
	for _, g := range a.gates {
		g.all.alarm.overUnless(g.all.near())
		g.sourceAlarm.overUnless(g.nearSources > 0)
		g.rateAlarm.overUnless(g.rateNear())
		g.allowAlarm.overUnless(false)
		g.denyAlarm.overUnless(false)
		g.balancerAlarm.overUnless(false)
	}
}
