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

// acceptor is a listening socket, and where its clients are led.
type acceptor struct {
	proxy  *Proxy
	socket net.Listener
	log    *slog.Logger
	// endpoint is whose clients they are. Where server names tell, it is the
	// bootstrap endpoint of the first listener until a client has said its name.
	endpoint *endpoint
	names    *sniTable // nil: all clients are endpoint's
	// gate is the listener's. Where several share the address it is the acceptor's
	// own: theirs can be asked when it is known whose client it is.
	gate   *admission.Gate
	shared bool
}

// bind opens the sockets of all listeners: for each its bootstrap endpoint's, and
// one for each slot, whether its node is known or not. After a restart clients
// come back to endpoints whose nodes the proxy does not know yet. Listeners whose
// clients' server names tell them apart may share one socket.
func (p *Proxy) bind(ctx context.Context) error {
	named := map[string][]*listener{}
	for l := range p.listeners() {
		if l.conf.Nodes.SNI != "" {
			named[l.conf.SharedBind()] = append(named[l.conf.SharedBind()], l)
		}
	}
	for l := range p.listeners() {
		var err error
		if all := named[l.conf.SharedBind()]; len(all) == 0 {
			err = p.openEndpoints(ctx, l)
		} else if all[0] == l {
			err = p.openNames(ctx, all)
		}
		if err != nil {
			return fmt.Errorf("clusters.%s.listeners.%s: %w", l.cluster.conf.Name, l.conf.Name, err)
		}
	}
	return nil
}

func (p *Proxy) openEndpoints(ctx context.Context, l *listener) error {
	for slot := bootstrapSlot; slot < l.conf.Slots(); slot++ {
		address := l.conf.Bind
		if slot != bootstrapSlot {
			address = l.conf.BindAddress(slot)
		}
		d := &acceptor{proxy: p, log: l.log, endpoint: &endpoint{listener: l, slot: slot}, gate: l.gate}
		if err := d.open(ctx, address); err != nil {
			return err
		}
	}
	return nil
}

// openNames opens the one socket of listeners whose clients choose an endpoint by server
// name.
func (p *Proxy) openNames(ctx context.Context, all []*listener) error {
	first := all[0]
	d := &acceptor{proxy: p, log: first.log, endpoint: &endpoint{listener: first, slot: bootstrapSlot}, gate: first.gate, names: newSNITable(all)}
	if len(all) > 1 {
		d.shared = true
		d.gate = p.admission.NewGate(first.log, first.conf.Key, admission.Networks{}, first.gate.Balancers, admission.Limits{})
	}
	return d.open(ctx, first.conf.Bind)
}

func (d *acceptor) open(ctx context.Context, address string) (err error) {
	if d.socket, err = d.proxy.conf.Listen(ctx, hostport.Network(address), address); err != nil {
		return fmt.Errorf("bind %s: %w", address, err)
	}
	d.proxy.acceptors = append(d.proxy.acceptors, d)
	return nil
}

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
				d.proxy.admission.Lines.Add(logline.Line{Log: d.log, Level: slog.LevelError, Message: "cannot accept connections; trying on", Attrs: []slog.Attr{
					slog.String(logkey.Bind, d.socket.Addr().String()), slog.Any(logkey.Error, err),
					slog.String(logkey.Fix, "raise the file limit (ulimit -n) if it is reached"),
				}})
			}
			pause = min(max(2*pause, minAcceptWait), maxAcceptWait)
			wait.Sleep(ctx, pause)
			continue
		}
		pause = 0
		source, headed, refused := d.gate.Enter(sourceOf(conn))
		if refused != "" {
			d.endpoint.listener.refuse(conn, CloseReason(refused))
			continue
		}
		s := newSession(d, conn, source)
		d.proxy.serving.Add(1)
		go d.proxy.serve(ctx, s, headed)
	}
}

// waitForPlaces waits while too many sessions wait for their turn, and says so in the log.
func (d *acceptor) waitForPlaces(ctx context.Context) {
	w := &d.proxy.waiters
	if !w.IsFull() {
		return
	}
	if d.proxy.pauses.add() {
		d.proxy.admission.Lines.Add(logline.Line{Log: d.log, Level: slog.LevelWarn, Message: "no connection is accepted for a moment: too many wait for their TLS handshake or first request", Attrs: []slog.Attr{
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

// add counts a pause. It reports whether to log it: once in alarmInterval.
func (p *acceptPauses) add() (tell bool) {
	p.count.Add(1)
	now := time.Now()
	last := mark.Mark(p.warned.Load())
	return (last == mark.Never || last.Age(now) >= admission.AlarmInterval) && p.warned.CompareAndSwap(int64(last), int64(mark.Of(now)))
}

// leaveGates removes the session from the counts of the gates.
func (s *session) leaveGates() {
	s.acceptor.gate.Leave(s.client.source)
	if s.admitted {
		s.endpoint.listener.gate.Part(s.client.source)
	}
}

// moveTo makes the session one of the endpoint that its client has asked for by
// name, or says why that refuses it.
func (a *arrival) moveTo(e *endpoint) (refused CloseReason) {
	s := a.s
	if s.acceptor.shared {
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
