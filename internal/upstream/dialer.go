package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"kproxy/internal/hostport"
)

// Keep-alive of a connection to a broker: after Dialer.Keepalive of silence, this many
// probes at this interval. There is no TCP_USER_TIMEOUT: Linux applies it also to a peer
// that is alive and does not read.
const (
	keepaliveInterval = 15 * time.Second
	keepaliveProbes   = 4
)

// Dialer opens connections to brokers. The zero value dials every broker at its
// advertised address, for as long as the context allows.
type Dialer struct {
	Rules     Rules
	Keepalive time.Duration // silence before keep-alive probes; 0: Go's 15 s

	// Brokers admits the addresses that responses and state files give, and that no rule
	// decides about. The zero value admits all.
	Brokers DialPolicy

	// loopback is set once the configuration has led to loopback: then brokers
	// may be there too.
	loopback atomic.Bool

	// Own reports whether an address, resolved and free of IPv4-in-IPv6, is one
	// that this kproxy listens on, for Kafka clients or for others; a connection to
	// it would never leave the process. It may be called from several goroutines. nil: none is.
	Own func(netip.AddrPort) bool

	// Source are local addresses of one family to dial from, in turn; none: the system
	// chooses.
	Source []netip.Addr
	turn   atomic.Uint32 // which of them is next

	// Through opens the connections at its own far side, where names resolve. A resolved
	// address is not seen then: learned addresses are refused by their text, and Own is
	// not asked. nil: connections are opened here.
	Through DialFunc

	// DialContext opens the connection; nil: a net.Dialer with the keep-alive
	// above. It resolves names by itself, so Own is not asked.
	DialContext DialFunc
}

// LoopError says that a broker's address led back to this kproxy: a bootstrap address, a
// dial rule or a name that resolves to an address of kproxy's own.
type LoopError struct {
	Address string // as resolved
}

// Error is the problem, with advice.
func (e *LoopError) Error() string {
	return "upstream address " + e.Address + " is one of kproxy's own; point bootstrap, via, or a dial rule elsewhere"
}

// Dial connects to t at the address that the rules give, for as long as ctx allows. The
// connection outlives ctx. address is the dialled address, also if the connection fails.
// conn is the *net.TCPConn itself, or the connection of Through, because any wrapper
// would disable splice.
//
// The error names the address that was tried, and is or wraps a [*LoopError] where t led
// back to kproxy.
func (d *Dialer) Dial(ctx context.Context, t Target) (conn net.Conn, address string, err error) {
	address, rule, err := d.Rules.Resolve(t)
	if err != nil {
		return nil, "", err
	}
	learned := rule == NoRule && !t.Configured
	if learned {
		if err := d.mayDial(t, address); err != nil {
			return nil, address, err
		}
	}
	conn, err = d.open(ctx, t, learned, address)
	if err == nil {
		return conn, address, nil
	}
	if rule == NoRule {
		return nil, address, fmt.Errorf("dial %s: %w", t, err)
	}
	return nil, address, fmt.Errorf("dial %s at %s: %w", t, address, err)
}

// mayDial refuses a broker's own address by its text: an invalid one, so that it reaches
// neither a resolver nor an error, and one that Brokers does not admit.
func (d *Dialer) mayDial(t Target, address string) error {
	switch host, _, err := hostport.Parse(address); {
	case t.Host == "":
		return refused(t, "the broker advertises no host")
	case err != nil:
		return refused(t, "the broker advertises neither a name nor an address in its usual form")
	case strings.Contains(host, "%"):
		return refused(t, "the broker advertises an address with a zone, which has a meaning on its own machine only")
	case !d.Brokers.admits(address):
		return notAdmitted(t)
	}
	return nil
}

// Address is the host:port that Dial would connect to for t; empty if the rules give
// none.
func (d *Dialer) Address(t Target) string {
	address, _, err := d.Rules.Resolve(t)
	if err != nil {
		return ""
	}
	return address
}

// AllowLoopback lets learned addresses be on loopback. Dial does the same when the
// configuration itself leads there.
func (d *Dialer) AllowLoopback() { d.loopback.Store(true) }

// AllowsLoopback reports whether learned addresses may be on loopback.
func (d *Dialer) AllowsLoopback() bool { return d.loopback.Load() }

// open connects to address, by the Dialer's own means.
func (d *Dialer) open(ctx context.Context, t Target, learned bool, address string) (net.Conn, error) {
	switch {
	case d.Through != nil:
		if err := d.checkFar(t, learned, address); err != nil {
			return nil, err
		}
		return d.Through(ctx, "tcp", address)
	case d.DialContext != nil:
		return d.DialContext(ctx, "tcp", address)
	default:
		return d.netDialer(func(to netip.AddrPort) error { return d.check(t, learned, to) }).DialContext(ctx, "tcp", address)
	}
}

// netDialer opens connections from here, to addresses that check accepts. It
// asks for a name's addresses at each dial, and tries them in turn.
func (d *Dialer) netDialer(check func(netip.AddrPort) error) *net.Dialer {
	dialer := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{
			Enable:   true,
			Idle:     d.Keepalive,
			Interval: keepaliveInterval,
			Count:    keepaliveProbes,
		},
		// It runs for every resolved address, between socket and connect: only here the
		// target of the connection is known.
		ControlContext: func(_ context.Context, _, address string, socket syscall.RawConn) error {
			resolved, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("resolved address: %w", err)
			}
			if err := check(netip.AddrPortFrom(resolved.Addr().Unmap(), resolved.Port())); err != nil {
				return err
			}
			if len(d.Source) > 0 {
				return bindLate(socket) // net binds the socket next, and then connects it
			}
			return connectNow(socket, resolved)
		},
	}
	if n := uint32(len(d.Source)); n > 0 {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.Source[(d.turn.Add(1)-1)%n], 0))
	}
	return dialer
}

// check refuses resolved addresses that t must not lead to.
func (d *Dialer) check(t Target, learned bool, resolved netip.AddrPort) error {
	if err := d.notOwn(resolved); err != nil {
		return err
	}
	return d.admit(t, learned, resolved.Addr())
}

func (d *Dialer) notOwn(resolved netip.AddrPort) error {
	if d.Own == nil {
		return nil
	}
	for _, a := range meant(resolved.Addr()) {
		if d.Own(netip.AddrPortFrom(a, resolved.Port())) {
			return &LoopError{Address: hostport.Join(resolved.Addr().String(), int32(resolved.Port()))}
		}
	}
	return nil
}

// admit refuses a learned address of a class without brokers, and notes where the
// configuration itself leads to loopback.
func (d *Dialer) admit(t Target, learned bool, resolved netip.Addr) error {
	switch {
	case learned:
		return refuse(t, resolved, d.loopback.Load())
	case resolved.IsLoopback():
		d.loopback.Store(true)
	}
	return nil
}
