package proxy

import (
	"context"
	"log/slog"
	"net"

	"kproxy/internal/admission"
	"kproxy/internal/auth"
	"kproxy/internal/errlist"
	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/internal/relay"
	"kproxy/internal/tlsconf"
	"kproxy/proxy/config"
	"kproxy/rewrite"
)

// listener is one way in, and what its clients are told.
type listener struct {
	cluster  *servedCluster
	index    int // among the cluster's listeners
	conf     *config.ListenerPlan
	log      *slog.Logger
	rewriter rewrite.Rewriter
	users    *auth.Users // who its clients have to log in as; nil: they do not
	gate     *admission.Gate
	tls      *tlsconf.Server // nil: the listener is plaintext
	counters counters
	tally    tally // guarded by Proxy.mu
}

// endpoint is one address of a listener.
type endpoint struct {
	listener *listener
	slot     int // bootstrapSlot, or the slot of a node
}

// label is the node that a session of the endpoint's is counted by before it is
// known.
func (e *endpoint) label() int32 {
	if e.slot == bootstrapSlot {
		return NoNode
	}
	return UnknownNode
}

// bootstrapSlot stands for a listener's bootstrap endpoint.
const bootstrapSlot = -1

func newListener(c *servedCluster, index int, conf *config.ListenerPlan) (*listener, error) {
	l := &listener{
		cluster: c,
		index:   index,
		conf:    conf,
		log:     c.log.With(slog.String(logkey.Listener, conf.Name)),
	}
	var err error
	l.tls, err = l.newClientTLS()
	if err := errlist.Join(err, l.readUsers()); err != nil {
		return nil, err
	}
	l.gate = c.proxy.admission.NewGate(l.log, conf.Key, conf.Networks, conf.Balancers, admission.Limits(conf.Limits))
	l.rewriter = rewrite.Rewriter{
		Refused:     conf.Policy.Refuses,
		Hidden:      conf.Policy.Hides,
		UnknownAPIs: c.conf.UnknownAPIs == config.PassUnknownAPIs && !conf.Policy.Filters,
	}
	return l, nil
}

// translate learns from the brokers that a response of the session's broker names,
// and names this listener's endpoints to the client instead. A node that has none
// is left out. Every endpoint of the listener is bound from the start, so that the
// client can connect the moment it hears of one.
func (s *session) translate(key int16, brokers rewrite.Brokers) {
	l := s.endpoint.listener
	l.cluster.Learn(context.Background(), key, brokers, s.broker.to.target)
	l.cluster.Advertise(l.index, brokers.List)
}

// refuse closes a connection at a limit, by a reset: nothing was read and nothing
// is owed, and an orderly end would leave a socket behind for a minute, which a
// flood has many of.
func (l *listener) refuse(conn net.Conn, reason CloseReason) {
	relay.CloseByReset(conn)
	who := Session{Cluster: l.cluster.conf.Name, Listener: l.conf.Name, Node: NoNode, Client: conn.RemoteAddr().String()}
	l.cluster.proxy.turnAway(l, reason)
	l.cluster.proxy.conf.Observer.sessionClosed(who, SessionEnd{Reason: reason})
}

// advertised returns what clients of the endpoint's slot are told, as host:port.
func (l *listener) advertised(slot int) string {
	host, port := l.conf.Advertised(slot)
	return hostport.Join(host, port)
}
