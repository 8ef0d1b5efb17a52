package simulate

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Network is the network on one side of the proxy. Both Memory and netlab.Network are one.
type Network interface {
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	// DialFrom connects to an address from a local one.
	DialFrom(ctx context.Context, from, address string) (net.Conn, error)
	// Alias makes an address lead to another one.
	Alias(address, target string)
}

// Weather is the behaviour of a network.
type Weather struct {
	Seed   uint64
	Delay  time.Duration // the longest delay of a piece
	Piece  int           // the longest piece of a read or a write that is cut
	Window int           // bytes that are sent and not read
	Stall  time.Duration // the longest time for which a goroutine is held up before a call
}

// Memory is a network in memory. Its connections behave as TCP's: an end travels behind the
// bytes, a reset overtakes them, and each direction ends by itself.
type Memory struct {
	weather Weather
	clock   *clock

	mu      sync.Mutex // guards the following
	sockets map[string]*socket
	aliases map[string]string
	dialled map[string]int // connections by the local address and the remote one
	port    uint16
	open    int // ends that are not closed
}

// NewMemory returns an empty network.
func NewMemory(w Weather) *Memory {
	return &Memory{weather: w, clock: new(clock), sockets: map[string]*socket{}, aliases: map[string]string{}, dialled: map[string]int{}, port: 40_000}
}

// clock is that of a network. While it stands still, no byte arrives.
type clock struct{ stop atomic.Pointer[stop] }

// stop is a time in which a clock stands still.
type stop struct{ from, until time.Time }

// now is the time by which bytes arrive.
func (c *clock) now() time.Time {
	now := time.Now()
	if s := c.stop.Load(); s != nil && now.Before(s.until) {
		return s.from
	}
	return now
}

// when is the time at which the clock shows t; zero: never.
func (c *clock) when(t time.Time) time.Time {
	if s := c.stop.Load(); s != nil && t.After(s.from) && t.Before(s.until) {
		return s.until
	}
	return t
}

// Stop has the network's clock stand still for a time: for everything else, the time jumps.
func (m *Memory) Stop(d time.Duration) {
	m.clock.stop.Store(&stop{time.Now(), time.Now().Add(d)})
}

// Open returns the number of ends of connections that are not closed.
func (m *Memory) Open() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

// Alias makes an address lead to another one.
func (m *Memory) Alias(address, target string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.aliases[address] = target
}

// socket is a listening socket.
type socket struct {
	network *Memory
	address net.Addr
	name    string
	waiting chan *conn // dialled, and not accepted
	closed  chan struct{}
}

// backlog is how many connections wait for an accept.
const backlog = 1024

// Listen opens a listening socket.
func (m *Memory) Listen(_ context.Context, _, address string) (net.Listener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sockets[address] != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	}
	s := &socket{network: m, address: addrOf(address), name: address, waiting: make(chan *conn, backlog), closed: make(chan struct{})}
	m.sockets[address] = s
	return s, nil
}

// addrOf is an address of the network; names have that of no machine.
func addrOf(address string) net.Addr {
	if ap, err := netip.ParseAddrPort(address); err == nil {
		return net.TCPAddrFromAddrPort(ap)
	}
	return &net.TCPAddr{IP: net.IPv4(127, 1, 0, 1), Port: 9092}
}

func (s *socket) Accept() (net.Conn, error) {
	select {
	case c := <-s.waiting:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close closes the socket. Connections that wait for an accept are reset.
func (s *socket) Close() error {
	m := s.network
	m.mu.Lock()
	if m.sockets[s.name] != s {
		m.mu.Unlock()
		return net.ErrClosed
	}
	delete(m.sockets, s.name)
	close(s.closed)
	m.mu.Unlock()
	for {
		select {
		case c := <-s.waiting:
			_ = c.SetLinger(0)
			_ = c.Close()
		default:
			return nil
		}
	}
}

func (s *socket) Addr() net.Addr { return s.address }

// DialFrom connects to an address.
func (m *Memory) DialFrom(ctx context.Context, from, address string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if to, ok := m.aliases[address]; ok {
		address = to
	}
	s := m.sockets[address]
	if s == nil || len(s.waiting) == backlog {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	m.port++
	m.open += 2
	local := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), m.port))
	way := from + ">" + address
	m.dialled[way]++
	w := m.weather
	w.Seed ^= hash(way) + uint64(m.dialled[way])
	near, far := connect(w, m.clock, local, s.address, m.closedOne)
	s.waiting <- far // there is room, and m.mu keeps others away
	return near, nil
}

func (m *Memory) closedOne() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open--
}

func hash(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // does not fail
	return h.Sum64()
}

// random returns a source of numbers for a seed.
func random(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) } //nolint:gosec // repeats a run, keeps no secret
