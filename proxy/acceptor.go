package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"kproxy/internal/admission"
	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/internal/logline"
	"kproxy/internal/mark"
	"kproxy/internal/turns"
	"kproxy/internal/wait"
)

// acceptor is a listening socket.
type acceptor struct {
	proxy  *Proxy
	socket net.Listener
	at     string                // the address, equal for all that occupy one socket
	entry  atomic.Pointer[entry] // where its next client is led
}

// entry is where the clients of a socket are led. It does not change.
type entry struct {
	// endpoint is whose clients they are. Where server names tell, it is the
	// bootstrap endpoint of the first listener until a client has said its name.
	endpoint *endpoint
	names    *sniTable // nil: all clients are endpoint's
	// gate is the listener's. Where several share the address it is the entry's
	// own: theirs can be asked when it is known whose client it is.
	gate   *admission.Gate
	shared bool
}

// leadsAs reports whether two entries lead every client to the same endpoint.
func (e *entry) leadsAs(other *entry) bool {
	return e.names == nil && other.names == nil && *e.endpoint == *other.endpoint
}

// binding is an address of a configuration, and where its clients are led.
type binding struct {
	address string // host:port, as configured
	at      string // as acceptor.at
	entry   *entry
}

// bindings returns the addresses of all listeners: for each its bootstrap endpoint's, and
// one for each slot, whether its node is known or not. After a restart clients
// come back to endpoints whose nodes the proxy does not know yet. Listeners whose
// clients' server names tell them apart may share one address.
func (p *Proxy) bindings(all []member) []binding {
	named := map[string][]member{}
	for _, m := range all {
		if m.conf.Nodes.SNI != "" {
			named[m.conf.SharedBind()] = append(named[m.conf.SharedBind()], m)
		}
	}
	var bindings []binding
	for _, m := range all {
		if same := named[m.conf.SharedBind()]; len(same) == 0 {
			bindings = append(bindings, m.bindings()...)
		} else if same[0].listener == m.listener {
			bindings = append(bindings, p.nameBinding(same))
		}
	}
	return bindings
}

// bindings returns the addresses of a listener that shares none.
func (m member) bindings() []binding {
	var all []binding
	for slot := bootstrapSlot; slot < m.conf.Slots(); slot++ {
		address, at := m.conf.Bind, m.conf.SharedBind()
		if slot != bootstrapSlot {
			address, at = m.conf.BindAddress(slot), m.conf.BoundAddress(slot)
		}
		all = append(all, binding{address, at, &entry{endpoint: &endpoint{listener: m.listener, slot: slot, conf: m.conf}, gate: m.listener.gate}})
	}
	return all
}

// nameBinding returns the one address of listeners whose clients choose an endpoint by server
// name.
func (p *Proxy) nameBinding(all []member) binding {
	first := all[0]
	e := &entry{endpoint: &endpoint{listener: first.listener, slot: bootstrapSlot, conf: first.conf}, gate: first.listener.gate, names: newSNITable(all)}
	if len(all) > 1 {
		e.shared = true
		e.gate = p.admission.NewGate(first.listener.log, first.conf.Key, admission.Networks{}, first.conf.Balancers, admission.Limits{})
	}
	return binding{first.conf.Bind, first.conf.SharedBind(), e}
}

// listen opens the socket of a binding.
func (p *Proxy) listen(ctx context.Context, listen listenFunc, b binding) (*acceptor, error) {
	socket, err := listen(ctx, hostport.Network(b.address), b.address)
	if err != nil {
		l := b.entry.endpoint.listener
		return nil, fmt.Errorf("clusters.%s.listeners.%s: bind %s: %w", l.cluster.name, l.name, b.address, err)
	}
	d := &acceptor{proxy: p, socket: socket, at: b.at}
	d.entry.Store(b.entry)
	return d, nil
}

// log is that of the listener whose clients come first.
func (d *acceptor) log() *slog.Logger { return d.entry.Load().endpoint.listener.log }

// Accepting waits after an error, twice as long each time up to the maximum, so
// that a proxy without free file descriptors does not spin.
const (
	minAcceptWait = 5 * time.Millisecond
	maxAcceptWait = time.Second
)

// accept serves the acceptor's clients until its socket is closed. Any other
// error passes: most often the process has no file descriptors left, and gets
// them back when clients leave.
func (d *acceptor) accept(ctx context.Context) {
	pause := time.Duration(0)
	for {
		d.waitForPlaces(ctx)
		conn, err := d.socket.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if pause == 0 {
				d.proxy.admission.Lines.Add(logline.Line{Log: d.log(), Level: slog.LevelError, Message: "cannot accept connections; trying on", Attrs: []slog.Attr{
					slog.String(logkey.Bind, d.socket.Addr().String()), slog.Any(logkey.Error, err),
					slog.String(logkey.Fix, "raise the file limit (ulimit -n) if it is reached"),
				}})
			}
			pause = min(max(2*pause, minAcceptWait), maxAcceptWait)
			wait.Sleep(ctx, pause)
			continue
		}
		pause = 0
		e, source, headed, refused := d.admit(conn)
		if refused != "" {
			e.endpoint.listener.refuse(conn, CloseReason(refused))
			continue
		}
		s := newSession(d.proxy, e, conn, source)
		d.proxy.serving.Add(1)
		go d.proxy.serve(ctx, s, headed)
	}
}

// admit asks the gate whether a client comes in. The entry and the rules of its gate are those of
// one configuration.
func (d *acceptor) admit(conn net.Conn) (e *entry, source netip.Addr, headed bool, refused admission.Refusal) {
	d.proxy.switching.RLock()
	defer d.proxy.switching.RUnlock()
	e = d.entry.Load()
	source, headed, refused = e.gate.Enter(sourceOf(conn))
	return e, source, headed, refused
}

// waitForPlaces waits while too many sessions wait for their turn, and says so in the log.
func (d *acceptor) waitForPlaces(ctx context.Context) {
	w := &d.proxy.waiters
	if !w.IsFull() {
		return
	}
	if d.proxy.pauses.add() {
		d.proxy.admission.Lines.Add(logline.Line{Log: d.log(), Level: slog.LevelWarn, Message: "no connection is accepted for a moment: too many wait for their TLS handshake or first request", Attrs: []slog.Attr{
			slog.Int(logkey.Sessions, turns.Max),
			slog.String(logkey.Fix, "find the source of the new connections; limits.accept_rate of the listener bounds it"),
		}})
	}
	w.Wait(ctx)
}

// acceptPauses counts how often a listening socket has stopped accepting.
type acceptPauses struct {
	count  atomic.Int64
	warned atomic.Int64 // time of the last log line; a mark
}

// add counts a pause. It reports whether to log it: once in admission.AlarmInterval.
func (p *acceptPauses) add() (tell bool) {
	p.count.Add(1)
	now := time.Now()
	last := mark.Mark(p.warned.Load())
	return (last == mark.Never || last.Age(now) >= admission.AlarmInterval) && p.warned.CompareAndSwap(int64(last), int64(mark.Of(now)))
}

// leaveGates removes the session from the counts of the gates.
func (s *session) leaveGates() {
	s.entry.gate.Leave(s.client.source)
	if s.admitted {
		s.endpoint.listener.gate.Part(s.client.source)
	}
}

// moveTo makes the session one of the endpoint that its client has asked for by
// name, or says why that refuses it.
func (a *arrival) moveTo(e *endpoint) (refused CloseReason) {
	s := a.s
	if s.entry.shared {
		if refused = CloseReason(e.listener.gate.Join(s.client.source)); refused != "" {
			return refused
		}
		s.admitted = true
	}
	s.proxy.mu.Lock()
	defer s.proxy.mu.Unlock()
	s.endpoint = e
	s.node.Store(e.label())
	s.count()
	return ""
}

// sourceOf is the address that the limit per source counts by: the whole one,
// with IPv6 too. A /64 is one home's, or a whole subnet of a cloud's (AWS), where
// one machine's mistake would lock all others out. It is the zero Addr, which is
// not limited, where there is none.
func sourceOf(conn net.Conn) netip.Addr { return hostport.AddrPort(conn.RemoteAddr()).Addr() }
