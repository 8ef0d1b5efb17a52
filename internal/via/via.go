package via

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"kproxy/internal/foreign"
	"kproxy/internal/wait"
)

// Dialer opens connections through one proxy. [New] makes it. It is safe for concurrent use.
type Dialer struct {
	name    string
	timeout time.Duration
	hop     Hop
	closed  atomic.Bool
}

// Hop implements one scheme. The errors of its Dial are made by [Fail].
type Hop interface {
	Dial(ctx context.Context, t Target) (net.Conn, error)
	Close() // closes connections and processes of the hop itself, and waits for their end
}

// DialContext connects to address, host:port, at the far side of the proxy. The
// host is not resolved here. network is tcp, tcp4 or tcp6; which family a name
// leads to is the far side's choice.
//
// The connection outlives ctx, and belongs to the caller. It takes deadlines, in
// the past too, and has CloseWrite. Through socks5 and http it is the TCP
// connection to the proxy itself, unless the proxy's response came in one piece with
// the first bytes behind it.
//
// A command gives no sign that it has connected. So a dial through exec succeeds as soon
// as the command runs, and a later failure is the error of a Read.
//
// The error is an [*Error]. It wraps ctx's error if ctx ended, and net.ErrClosed
// after Close. ctx ends the dial at once, in every step of it.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, &Error{Via: d.name, Target: address, Outcome: OutcomeTargetInvalid, Err: net.UnknownNetworkError(network)}
	}
	t, err := parseTarget(address)
	if err != nil {
		return nil, &Error{Via: d.name, Target: address, Outcome: OutcomeTargetInvalid, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	switch {
	case d.closed.Load():
		err = Fail(OutcomeCanceled, net.ErrClosed)
	case ctx.Err() != nil:
		err = Fail(OutcomeProxyUnreachable, ctx.Err())
	default:
		var conn net.Conn
		if conn, err = d.hop.Dial(ctx, t); err == nil {
			return conn, nil
		}
	}
	return nil, explain(ctx, d.name, t.String(), err)
}

// Close ends the resources that the Dialer keeps between dials, and waits for them: the
// SSH connection with every channel in it, and commands with their process groups. TCP
// connections that it has given belong to their callers. Dials that are under way, and
// later ones, fail. The error is always nil.
func (d *Dialer) Close() error {
	if !d.closed.Swap(true) {
		d.hop.Close()
	}
	return nil
}

// String returns the proxy for errors and logs, without secrets. Of a command it returns
// only the name.
func (d *Dialer) String() string { return d.name }

// IsCommand reports whether connections are commands (exec). Its orderly end may be the
// end of the via, and not of the broker's side.
func (d *Dialer) IsCommand() bool {
	_, ok := d.hop.(*execHop)
	return ok
}

// ProxyDial connects to a proxy. It resolves the proxy's own name.
type ProxyDial func(ctx context.Context, network, address string) (net.Conn, error)

// Connect connects to the proxy at an address. The error is one of [Fail].
func (dial ProxyDial) Connect(ctx context.Context, address string) (net.Conn, error) {
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, Fail(OutcomeProxyUnreachable, err)
	}
	return conn, nil
}

// during runs a handshake on conn that ctx ends at once. conn is closed unless it
// succeeds.
func during(ctx context.Context, conn net.Conn, handshake func() (net.Conn, error)) (net.Conn, error) {
	stop := wait.Bound(ctx, conn)
	got, err := handshake()
	if !stop() && err == nil { // the deadline is set, or about to be
		err = Fail(OutcomeTargetUnreachable, ctx.Err())
	}
	if err != nil {
		_ = conn.Close() // the handshake's error is the one to return
		return nil, err
	}
	return got, nil
}

// ErrHungUp replaces an EOF before a response.
var ErrHungUp = errors.New("it closed the connection without a response")

// Quote shows bytes of a peer in an error, without the secrets that were sent to it.
func Quote(text string, secrets ...string) string {
	const most = 120
	text = foreign.Without(text, secrets...)
	if len(text) > most {
		return fmt.Sprintf("%q…", text[:most])
	}
	return fmt.Sprintf("%q", text)
}
