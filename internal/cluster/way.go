package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"kproxy/internal/auth"
	"kproxy/internal/errlist"
	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/internal/tlsconf"
	"kproxy/internal/upstream"
	"kproxy/internal/via"
	"kproxy/proxy/config"
)

// Way is the way to a cluster's brokers by one configuration: dial rules, via, TLS and
// kproxy's own login. It does not change. Reconfigure gives a Cluster another one. Connections
// that are open keep theirs, until they are closed.
type Way struct {
	conf   *config.ClusterPlan
	dialer *upstream.Dialer
	via    *part[*via.Dialer] // nil: brokers are dialled directly
	tls    *tlsconf.Client    // nil: connections to brokers are in plaintext
	method *part[*auth.Method]

	uses atomic.Int64 // the Cluster, while it is the current one, and connections; 0: its parts are given back
}

// part is a part of Ways that has to be closed. The next Way takes it over if its
// configuration has not changed. The last Way closes it.
type part[T any] struct {
	value T
	stop  func(T)
	ways  atomic.Int64
	once  sync.Once
}

func newPart[T any](value T, stop func(T)) *part[T] {
	p := &part[T]{value: value, stop: stop}
	p.ways.Store(1)
	return p
}

// share returns p for one more Way.
func (p *part[T]) share() *part[T] {
	if p != nil {
		p.ways.Add(1)
	}
	return p
}

// leave undoes share.
func (p *part[T]) leave() {
	if p != nil && p.ways.Add(-1) == 0 {
		p.close()
	}
}

func (p *part[T]) close() {
	if p != nil {
		p.once.Do(func() { p.stop(p.value) })
	}
}

// get returns the part; zero if there is none.
func (p *part[T]) get() (value T) {
	if p != nil {
		value = p.value
	}
	return value
}

// newWay reads the files that conf names. Parts whose configuration is that of the Way before
// are taken over from it; before is nil for the first one. The error joins all mistakes.
func (c *Cluster) newWay(conf *config.ClusterPlan, before *Way) (*Way, error) {
	w := &Way{conf: conf}
	w.uses.Store(1)
	w.dialer = &upstream.Dialer{
		Rules:       conf.Rules,
		Brokers:     conf.Admitted,
		Keepalive:   conf.Keepalive,
		Own:         c.Own,
		DialContext: c.Dial,
		Source:      conf.Sources,
	}
	if before != nil && before.dialer.AllowsLoopback() && reflect.DeepEqual(conf.Targets, before.conf.Targets) {
		w.dialer.AllowLoopback() // a name of theirs has led there
	}
	for _, target := range conf.Targets {
		if hostport.IsLoopback(target.Host) {
			w.dialer.AllowLoopback()
		}
	}
	err := errors.Join(w.setMethod(before), w.setVia(c.log, before))
	if err == nil {
		err = errlist.Join(conf.CheckSecrets(), w.setTLS(c.log, before))
	}
	if err != nil {
		w.Release()
		return nil, err
	}
	return w, nil
}

// setMethod sets kproxy's own login, if conf has one.
func (w *Way) setMethod(before *Way) error {
	if w.conf.SASL == nil {
		return nil
	}
	if before != nil && reflect.DeepEqual(w.conf.SASL, before.conf.SASL) {
		w.method = before.method.share()
		return nil
	}
	method, err := auth.New(w.conf.SASL, w.conf.Parts.AWS)
	if err == nil {
		w.method = newPart(method, (*auth.Method).Close)
	}
	return err
}

// setTLS sets the TLS of connections to brokers, if conf has it.
func (w *Way) setTLS(log *slog.Logger, before *Way) (err error) {
	if before != nil && reflect.DeepEqual(w.conf.TLS, before.conf.TLS) {
		w.tls = before.tls
		return nil
	}
	w.tls, err = newBrokerTLS(w.conf, log)
	return err
}

// viaKeepalive is the interval of keep-alive requests on an SSH connection, unless keepalive
// is less. The sweep for peers that are gone sees TCP connections only, and a channel of SSH
// is none.
const viaKeepalive = 15 * time.Second

// setVia makes the dialer use the configured via, if there is one. It connects and starts
// nothing.
func (w *Way) setVia(log *slog.Logger, before *Way) error {
	if w.conf.Via.URL == "" {
		return nil
	}
	if before != nil && w.hasViaOf(before) {
		w.via = before.via.share()
		w.dialer.Through = w.via.value.DialContext
		return nil
	}
	conf := w.conf.ViaConfig()
	conf.Timeout = w.conf.ConnectTimeout
	conf.KeepAlive = min(viaKeepalive, w.conf.Keepalive)
	conf.DialProxy = w.dialer.DialNear
	conf.OnStderr = func(target, line string) {
		log.Debug("the via command says", slog.String(logkey.Upstream, target), slog.String(logkey.Line, line))
	}
	dialer, err := via.New(conf)
	if err != nil {
		return fmt.Errorf("clusters.%s.%w", w.conf.Name, err)
	}
	w.via = newPart(dialer, func(d *via.Dialer) { _ = d.Close() }) // its error is always nil
	w.dialer.Through = dialer.DialContext
	return nil
}

// hasViaOf reports whether everything that a via depends on is as in another Way.
func (w *Way) hasViaOf(other *Way) bool {
	return w.conf.Via == other.conf.Via && w.conf.ConnectTimeout == other.conf.ConnectTimeout &&
		w.conf.Keepalive == other.conf.Keepalive && reflect.DeepEqual(w.conf.Sources, other.conf.Sources)
}

// Release ends one use of w: a Link's, after the caller has closed its Conn, or that of the caller
// of Prepare. The last release gives back the parts of w.
func (w *Way) Release() {
	if w.uses.Add(-1) == 0 {
		w.method.leave()
		w.via.leave()
	}
}

// tryUse begins a use of w, unless its parts are given back.
func (w *Way) tryUse() bool {
	for {
		n := w.uses.Load()
		if n == 0 {
			return false
		}
		if w.uses.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Method returns kproxy's own login at the brokers; nil: there is none.
func (w *Way) Method() *auth.Method { return w.method.get() }

// Via returns the via; nil: brokers are dialled directly.
func (w *Way) Via() *via.Dialer { return w.via.get() }

// TLS returns the TLS of connections to brokers; nil: they are in plaintext.
func (w *Way) TLS() *tlsconf.Client { return w.tls }

// LoginTimeout returns how long a login may take: connect_timeout.
func (w *Way) LoginTimeout() time.Duration { return w.conf.ConnectTimeout }

// TLSReadError translates a read error of a broker's connection into the TLS alert behind
// it. In TLS 1.3 a broker rejects a client certificate after the handshake.
func (w *Way) TLSReadError(err error) error {
	if w.tls == nil {
		return err
	}
	return w.tls.Explain(err)
}

// Way returns the current Way, for a caller that does not keep it. A Link has the Way of its
// connection.
func (c *Cluster) Way() *Way { return c.way.Load() }

// use returns the current Way, and begins a use of it.
func (c *Cluster) use() *Way {
	for {
		if w := c.way.Load(); w.tryUse() {
			return w
		}
	}
}
