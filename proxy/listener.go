package proxy

import (
	"log/slog"
	"net"
	"reflect"
	"sync/atomic"

	"kproxy/internal/admission"
	"kproxy/internal/auth"
	"kproxy/internal/errlist"
	"kproxy/internal/logkey"
	"kproxy/internal/relay"
	"kproxy/internal/tlsconf"
	"kproxy/proxy/config"
	"kproxy/rewrite"
)

// listener is a listener of the configuration: its endpoints, and their advertised addresses.
// It stays while the configuration has a listener of its name.
type listener struct {
	cluster  *servedCluster
	name     string
	key      string // in the configuration file
	log      *slog.Logger
	gate     *admission.Gate
	counters counters
	totals   totals // guarded by Proxy.mu
	removed  bool   // the configuration does not have it any more; guarded by Proxy.mu

	current atomic.Pointer[listenerConf]
}

// listenerConf is the configuration of a listener, with the content of its files. It does not
// change.
type listenerConf struct {
	*config.ListenerPlan

	rewriter rewrite.Rewriter
	users    *auth.Users     // who its clients have to log in as; nil: they do not
	tls      *tlsconf.Server // nil: the listener is plaintext
}

// member is a listener, and its configuration that is current or is to be.
type member struct {
	listener *listener
	conf     *listenerConf
}

// conf returns the current configuration.
func (l *listener) conf() *listenerConf { return l.current.Load() }

// endpoint is one address of a listener, by one configuration of it. It does not change.
type endpoint struct {
	listener *listener
	slot     int           // bootstrapSlot, or the slot of a node
	conf     *listenerConf // for the arrival of a client
}

// isStale reports whether the slots of the listener have another meaning by now.
func (e *endpoint) isStale() bool {
	now := e.listener.conf()
	return e.slot != bootstrapSlot && now != e.conf && (now.Bind != e.conf.Bind || !reflect.DeepEqual(now.Nodes, e.conf.Nodes))
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

// newListener returns a listener without a configuration.
func newListener(c *servedCluster, conf *config.ListenerPlan) *listener {
	l := &listener{
		cluster: c,
		name:    conf.Name,
		key:     conf.Key,
		log:     c.log.With(slog.String(logkey.Listener, conf.Name)),
	}
	l.gate = c.proxy.admission.NewGate(l.log, conf.Key, conf.Networks, conf.Balancers, admission.Limits(conf.Limits))
	return l
}

// prepare reads the files of a configuration of the listener. It takes over those parts of
// the current one whose configuration is the same.
func (l *listener) prepare(conf *config.ListenerPlan, unknown config.UnknownAPIs) (*listenerConf, error) {
	next := &listenerConf{ListenerPlan: conf}
	var errs []error
	now := l.conf()
	if now != nil && reflect.DeepEqual(now.TLS, conf.TLS) {
		next.tls = now.tls
	} else {
		var err error
		next.tls, err = l.newClientTLS(conf)
		errs = append(errs, err)
	}
	if now != nil && reflect.DeepEqual(now.Login, conf.Login) {
		next.users = now.users
	} else {
		var err error
		next.users, err = l.readUsers(conf)
		errs = append(errs, err)
	}
	next.rewriter = rewrite.Rewriter{
		Refused:     conf.Policy.Refuses,
		Hidden:      conf.Policy.Hides,
		UnknownAPIs: unknown == config.PassUnknownAPIs && !conf.Policy.Filters,
	}
	if conf.Login != nil {
		next.rewriter.Answered = loginVersions
	}
	return next, errlist.Join(errs...)
}

// refuse closes a connection at a limit, by a reset: nothing was read and nothing
// is owed, and an orderly end would leave a socket behind for a minute, which a
// flood has many of.
func (l *listener) refuse(conn net.Conn, reason CloseReason) {
	relay.CloseByReset(conn)
	who := Session{Cluster: l.cluster.name, Listener: l.name, Node: NoNode, Client: conn.RemoteAddr().String()}
	l.cluster.proxy.turnAway(l, reason)
	l.cluster.proxy.conf().Observer.sessionClosed(who, SessionEnd{Reason: reason})
}
