package proxy

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/time/rate"

	"kproxy/internal/logkey"
)

// admission counts the connections of all listeners against their limits. The
// newest connection is the one that has to go: those that are there have work in
// hand, and a client that is refused tries again.
//
// A connection is counted before anything is read from it, and until both its
// sockets are closed.
type admission struct {
	lines logLines // of the alarms

	mu    sync.Mutex // guards the following, all gates and their alarms
	all   quota
	gates []*gate
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

// gate admits the connections of one listener.
type gate struct {
	admission *admission
	all       quota

	networks      networks
	networkAlarm  alarm
	balancers     balancers
	balancerAlarm alarm

	sources     map[netip.Addr]int // connections by source; nil: not limited
	maxSource   int
	nearSources int // how many sources are near their limit
	sourceAlarm alarm

	rate      *rate.Limiter // nil: not limited
	rateAlarm alarm
}

// limit sets the limit of all connections; 0: any number.
func (a *admission) limit(log *slog.Logger, most int) {
	a.all = quota{max: most, alarm: a.alarm(log, "limits.max_connections", &limitText)}
}

// alarm returns an alarm about the limit that key names.
func (a *admission) alarm(log *slog.Logger, key string, text *alarmText) alarm {
	return alarm{log: log, to: &a.lines, key: key, text: text}
}

// newGate adds a gate for a listener whose keys start with key.
func (a *admission) newGate(log *slog.Logger, key string, from networks, by balancers, limits *ListenerLimits) *gate {
	alarmOf := func(name string) alarm { return a.alarm(log, key+".limits."+name, &limitText) }
	g := &gate{
		admission:     a,
		networks:      from,
		networkAlarm:  a.alarm(log, key+".allow", &networkText),
		balancers:     by,
		balancerAlarm: a.alarm(log, key+".proxy_protocol.from", &balancerText),

		all:         quota{max: limits.MaxConnections, alarm: alarmOf("max_connections")},
		maxSource:   limits.MaxPerSource,
		sourceAlarm: alarmOf("max_per_source"),
		rateAlarm:   alarmOf("accept_rate"),
	}
	if limits.MaxPerSource > 0 {
		g.sources = map[netip.Addr]int{}
	}
	if limits.AcceptRate > 0 {
		// A burst of one second's worth: a client that starts connects to
		// every broker at once.
		g.rate = rate.NewLimiter(rate.Limit(limits.AcceptRate), limits.AcceptRate)
	}
	a.gates = append(a.gates, g)
	return g
}

// sourceOf is the address that the limit per source counts by: the whole one,
// with IPv6 too. A /64 is one home's, or a whole subnet of a cloud's (AWS), where
// one machine's mistake would lock all others out. It is the zero Addr, which is
// not limited, where there is none.
func sourceOf(conn net.Conn) netip.Addr { return addressOf(conn.RemoteAddr()).Addr() }

// enter counts a connection, or says why it is refused; "" admits it. headed
// reports that the peer may send a PROXY header, which names the client: until
// claim, the source is not known and counts as none. What one limit
// refuses takes nothing of the rate: a source that has too many connections must
// not keep the others out.
func (g *gate) enter(peer netip.Addr) (source netip.Addr, headed bool, refused CloseReason) {
	a := g.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	headed = contains(g.balancers.from, peer)
	switch {
	case headed:
	case g.balancers.required:
		g.balancerAlarm.refuse(slog.String(logkey.Source, peer.String()))
		return source, false, NotAllowed
	default:
		if refused := g.refuses(peer); refused != "" {
			return source, false, refused
		}
		source = peer
	}
	switch {
	case a.all.full():
		a.all.alarm.refuse(slog.Int(logkey.Max, a.all.max))
		return source, headed, TooManyConnections
	case g.all.full():
		g.all.alarm.refuse(slog.Int(logkey.Max, g.all.max))
		return source, headed, TooManyConnections
	case g.rate != nil && !g.rate.Allow():
		g.rateAlarm.refuse(slog.Int(logkey.Max, g.rate.Burst()))
		return source, headed, AcceptRate
	}
	a.all.enter()
	g.all.enter()
	g.enterSource(source)
	if g.rateNear() {
		g.rateAlarm.near(slog.Int(logkey.Max, g.rate.Burst()))
	}
	return source, headed, ""
}

// claim counts a connection that has entered by its client's address, which is the
// peer's own if the peer names none. It returns the reason to refuse that client,
// or "".
func (g *gate) claim(source netip.Addr) CloseReason {
	g.admission.mu.Lock()
	defer g.admission.mu.Unlock()
	refused := g.refuses(source)
	if refused == "" {
		g.enterSource(source)
	}
	return refused
}

// refuses says why nobody from a source may come in; "": they may.
func (g *gate) refuses(source netip.Addr) CloseReason {
	switch {
	case !g.networks.admit(source):
		g.networkAlarm.refuse(slog.String(logkey.Source, source.String()))
		return NotAllowed
	case g.counts(source) && g.sources[source] >= g.maxSource:
		g.sourceAlarm.refuse(slog.Int(logkey.Max, g.maxSource), slog.String(logkey.Source, source.String()))
		return TooManyFromSource
	default:
		return ""
	}
}

// join counts a connection that has entered by the gate of a door which several
// listeners share, or says why this one refuses it.
func (g *gate) join(source netip.Addr) (refused CloseReason) {
	g.admission.mu.Lock()
	defer g.admission.mu.Unlock()
	refused = g.refuses(source)
	switch {
	case refused != "":
		return refused
	case g.all.full():
		g.all.alarm.refuse(slog.Int(logkey.Max, g.all.max))
		return TooManyConnections
	case g.rate != nil && !g.rate.Allow():
		g.rateAlarm.refuse(slog.Int(logkey.Max, g.rate.Burst()))
		return AcceptRate
	}
	g.all.enter()
	g.enterSource(source)
	if g.rateNear() {
		g.rateAlarm.near(slog.Int(logkey.Max, g.rate.Burst()))
	}
	return ""
}

// part takes back what join counted.
func (g *gate) part(source netip.Addr) {
	g.admission.mu.Lock()
	defer g.admission.mu.Unlock()
	g.all.open--
	g.leaveSource(source)
}

// leave takes back what enter counted.
func (g *gate) leave(source netip.Addr) {
	g.admission.mu.Lock()
	defer g.admission.mu.Unlock()
	g.admission.all.open--
	g.all.open--
	g.leaveSource(source)
}

func (g *gate) counts(source netip.Addr) bool { return g.sources != nil && source.IsValid() }

func (g *gate) enterSource(source netip.Addr) {
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

func (g *gate) leaveSource(source netip.Addr) {
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
		delete(g.sources, source) // or everybody who ever came would be remembered
	}
}

// minNearRate is the least rate that is warned of before it is reached: every
// single connection is a large part of a smaller one.
const minNearRate = 5

// rateNear reports whether most of a second's connections have come in less.
func (g *gate) rateNear() bool {
	if g.rate == nil || g.rate.Burst() < minNearRate {
		return false
	}
	return g.rate.Tokens() <= float64(g.rate.Burst())*(100-nearPercent)/100
}

// settle ends the alarms whose cause is over.
func (a *admission) settle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all.alarm.overUnless(a.all.near())
	for _, g := range a.gates {
		g.all.alarm.overUnless(g.all.near())
		g.sourceAlarm.overUnless(g.nearSources > 0)
		g.rateAlarm.overUnless(g.rateNear())
		g.networkAlarm.overUnless(false)
		g.balancerAlarm.overUnless(false)
	}
}
