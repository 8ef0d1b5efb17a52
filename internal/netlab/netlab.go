// Package netlab makes networks inside one process, for tests and for kproxy demo: names
// that resolve on that network only, and a dialer that refuses and counts every other
// address.
//
// The type to know is [Network]. With two of them a proxy stands between networks as in
// production, and a leaked address fails:
//
//	clients ──outside.Dial──▶ outside.Listen ─ proxy ─ vpc.Dial ──▶ vpc.ListenAs ─ brokers
//	clients ──outside.Dial──▶ a broker's own name: refused, counted
//
// Connections are TCP on loopback, at ports that the system chooses, or pipes in memory,
// which testing/synctest can wait for.
package netlab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Network is a network whose addresses are those that were listened on. The zero
// value is an empty one.
type Network struct {
	// InMemory makes every connection a pipe: nothing is buffered, each write
	// is one read, and no file descriptor is needed. It is set before use.
	InMemory bool

	mu      sync.Mutex
	sockets map[string]*socket       // by address on the network
	pipes   map[string]*pipeListener // by address

	refused  atomic.Int64
	accepted atomic.Int64
	first    sync.Once
	dialled  atomic.Uint32 // the port that DialFrom tried last, from a random one
}

// socket is where an address leads.
type socket struct {
	address string // on loopback, or of a pipe
	closed  atomic.Bool
}

// Listen opens a socket that is reached on this network at address. Its Addr is the real
// one on loopback. Once it is closed the address refuses connections, even if another
// socket uses its port on loopback.
func (n *Network) Listen(ctx context.Context, _, address string) (net.Listener, error) {
	l, err := n.open(ctx)
	if err != nil {
		return nil, err
	}
	to := &socket{address: l.Addr().String()}
	n.lead(address, to)
	return &counted{l, &n.accepted, to}, nil
}

func (n *Network) open(ctx context.Context) (net.Listener, error) {
	if n.InMemory {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.listenPipe(), nil
	}
	return (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
}

// ListenAs is like Listen, but the listener's Addr is address, for brokers that advertise
// their listener's Addr.
func (n *Network) ListenAs(ctx context.Context, address string) (net.Listener, error) {
	l, err := n.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return Named(l, address), nil
}

// Named is l with the Addr address.
func Named(l net.Listener, address string) net.Listener { return &named{l, name(address)} }

// Alias makes address lead to target: another address on the network, or one on loopback.
func (n *Network) Alias(address, target string) {
	n.mu.Lock()
	to, ok := n.sockets[strings.ToLower(target)]
	n.mu.Unlock()
	if !ok {
		to = &socket{address: target}
	}
	n.lead(address, to)
}

func (n *Network) lead(address string, to *socket) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sockets == nil {
		n.sockets = map[string]*socket{}
	}
	n.sockets[strings.ToLower(address)] = to
}

// Remove makes address lead nowhere.
func (n *Network) Remove(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.sockets, strings.ToLower(address))
}

// Dial connects to an address on the network, and refuses any other.
func (n *Network) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	return n.dial(ctx, &net.Dialer{}, address)
}

// Ports of connections that have a local address: below those that systems choose from.
const (
	firstPort = 20_000
	portCount = 12_000
)

// DialFrom is Dial from a local address, which must be one of loopback. Its port is another one
// each time, up to portCount of them: the system could choose one that a connection has just left.
func (n *Network) DialFrom(ctx context.Context, from, address string) (conn net.Conn, err error) {
	n.first.Do(func() { n.dialled.Store(rand.Uint32()) })
	for range portCount {
		local := &net.TCPAddr{IP: net.ParseIP(from), Port: firstPort + int(n.dialled.Add(1)%portCount)}
		if conn, err = n.dial(ctx, &net.Dialer{LocalAddr: local}, address); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return conn, err
}

func (n *Network) dial(ctx context.Context, d *net.Dialer, address string) (net.Conn, error) {
	n.mu.Lock()
	to, ok := n.sockets[strings.ToLower(address)]
	var pipe *pipeListener
	if ok {
		pipe = n.pipes[to.address]
	}
	n.mu.Unlock()
	switch {
	case !ok:
		n.refused.Add(1)
		return nil, fmt.Errorf("%s is not on this network", address)
	case pipe != nil:
		return pipe.dial(ctx)
	case to.closed.Load():
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: name(address), Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	return d.DialContext(ctx, "tcp", to.address)
}

// Refused is how many dials went to addresses that are not on the network.
func (n *Network) Refused() int { return int(n.refused.Load()) }

// Accepted is how many connections the network's listeners have taken.
func (n *Network) Accepted() int { return int(n.accepted.Load()) }

// counted counts a listener's connections.
type counted struct {
	net.Listener
	accepted *atomic.Int64
	socket   *socket
}

func (l *counted) Close() error {
	l.socket.closed.Store(true)
	return l.Listener.Close()
}

func (l *counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return c, err
}

// named is a listener with another Addr.
type named struct {
	net.Listener
	address name
}

func (l *named) Addr() net.Addr { return l.address }

// name is an address that is only a name.
type name string

func (name) Network() string  { return "tcp" }
func (n name) String() string { return string(n) }
