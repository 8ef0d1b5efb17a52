package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"kproxy/internal/auth"
	"kproxy/internal/endpoints"
	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/rewrite"
)

// listener is one way in, and what its clients are told.
type listener struct {
	cluster   *cluster
	index     int // among the cluster's listeners
	conf      *Listener
	log       *slog.Logger
	rewriter  rewrite.Rewriter
	policy    *policy
	users     *auth.Users // who its clients have to log in as; nil: they do not
	gate      *gate
	endpoints []*endpoint
	counters  counters
	tally     tally // guarded by Proxy.mu
}

// endpoint is one address of a listener.
type endpoint struct {
	listener *listener
	slot     int // bootstrapSlot, or the slot of a node
	socket   net.Listener
}

// bootstrapSlot stands for a listener's bootstrap endpoint.
const bootstrapSlot = -1

func newListener(c *cluster, index int, conf *Listener) (*listener, error) {
	from, err := parseNetworks(conf.Allow, conf.Deny)
	if err != nil {
		return nil, err
	}
	balancers, err := conf.ProxyProtocol.parse()
	if err != nil {
		return nil, err
	}
	l := &listener{
		cluster: c,
		index:   index,
		conf:    conf,
		log:     c.log.With(slog.String(logkey.Listener, conf.Name)),
	}
	l.gate = c.proxy.admission.newGate(l.log, "clusters."+c.conf.Name+".listeners."+conf.Name, from, balancers, &conf.Limits)
	l.policy = l.newPolicy()
	l.rewriter = rewrite.Rewriter{
		Translate:   l.translate,
		Refused:     l.policy.refuses,
		UnknownAPIs: c.conf.UnknownAPIs == PassUnknownAPIs && !l.policy.filters,
	}
	return l, nil
}

func (l *listener) layout() endpoints.Layout {
	return endpoints.Layout{
		Name:      l.conf.Name,
		Slots:     l.conf.slots(),
		FirstNode: l.conf.Nodes.FirstNode,
		Pinned:    l.conf.pinnedSlots(),
	}
}

// translate learns from the brokers that an answer names, and tells the client
// this listener's endpoints instead. A node that has none is left out. Every
// endpoint of the listener is bound from the start, so that the client can
// connect the moment it hears of one.
func (l *listener) translate(key int16, brokers rewrite.Brokers) {
	l.cluster.learn(key, brokers)
	l.cluster.mu.Lock()
	defer l.cluster.mu.Unlock()
	for i := range brokers.List {
		b := &brokers.List[i]
		slot, ok := l.cluster.brokers.Slot(l.index, b.Node)
		if !ok || l.cluster.clashes(b.Node) {
			b.Drop = true
			continue
		}
		b.Host, b.Port = l.conf.advertisedAddress(slot)
	}
}

// bind opens the listener's sockets: the bootstrap endpoint, and one for each
// slot, whether its node is known or not. After a restart clients come back to
// endpoints that nobody has told the proxy about yet.
func (l *listener) bind(ctx context.Context) error {
	for slot := bootstrapSlot; slot < l.conf.slots(); slot++ {
		address := l.conf.Bind
		if slot != bootstrapSlot {
			address = l.conf.bindAddress(slot)
		}
		socket, err := l.cluster.proxy.conf.Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("clusters.%s.listeners.%s: bind %s: %w", l.cluster.conf.Name, l.conf.Name, address, err)
		}
		l.endpoints = append(l.endpoints, &endpoint{listener: l, slot: slot, socket: socket})
	}
	return nil
}

// Accepting waits after an error, twice as long each time up to the maximum, so
// that a proxy without free file descriptors does not spin.
const (
	minAcceptWait = 5 * time.Millisecond
	maxAcceptWait = time.Second
)

// accept serves an endpoint's clients until its socket is closed. Any other
// error passes: most often the process has no file descriptors left, and gets
// them back when clients leave.
func (e *endpoint) accept(ctx context.Context, sessions *sync.WaitGroup) {
	wait := time.Duration(0)
	for {
		conn, err := e.socket.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if wait == 0 {
				e.listener.log.Error("cannot accept connections; trying on",
					slog.String(logkey.Bind, e.socket.Addr().String()), slog.Any(logkey.Error, err),
					slog.String(logkey.Fix, "raise the file limit (ulimit -n) if it is reached"))
			}
			wait = min(max(2*wait, minAcceptWait), maxAcceptWait)
			sleep(ctx, wait)
			continue
		}
		wait = 0
		gate := e.listener.gate
		source, headed, reason := gate.enter(sourceOf(conn))
		if reason != "" {
			e.listener.refuse(conn, reason)
			continue
		}
		s := newSession(e, conn)
		s.source, s.headed = source, headed
		sessions.Go(func() {
			e.listener.cluster.proxy.serve(ctx, s)
			gate.leave(s.source)
		})
	}
}

// refuse closes a connection at a limit, by a reset: nothing was read and nothing
// is owed, and an orderly end would leave a socket behind for a minute, which a
// flood has many of.
func (l *listener) refuse(conn net.Conn, reason CloseReason) {
	closeByReset(conn)
	who := Session{Cluster: l.cluster.conf.Name, Listener: l.conf.Name, Node: NoNode, Client: conn.RemoteAddr().String()}
	_ = conn.Close()
	l.cluster.proxy.turnAway(l, reason)
	l.cluster.proxy.conf.Observer.sessionClosed(who, SessionEnd{Reason: reason})
}

// closeByReset makes the connection's end a reset, whatever is still unsent.
func closeByReset(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // fails only if the peer is gone
	}
}

// sleep waits, but not beyond the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// advertised returns what clients of the endpoint's slot are told, as host:port.
func (l *listener) advertised(slot int) string {
	host, port := l.conf.advertisedAddress(slot)
	return hostport.Join(host, port)
}
