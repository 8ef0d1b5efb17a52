package via

import (
	"net"
	"sync"
)

// Streams are the connections that one Hop has made of streams. It owns their goroutines:
// Close ends the connections and waits.
type Streams struct {
	mu     sync.Mutex // guards the following
	closed bool
	live   map[*conn]bool

	running sync.WaitGroup // in, out and bury of each
}

// Adopt makes a connection of s, with deadlines. Its addresses are local, that of the proxy,
// and remote, and have the name of a network. After Close it closes s.
func (f *Streams) Adopt(s Stream, network, local, remote string) (net.Conn, error) {
	c := &conn{
		stream: s, local: addr{network, local}, remote: addr{network, remote}, owner: f,
		closed:  make(chan struct{}),
		readBy:  deadline{passed: make(chan struct{})},
		writeBy: deadline{passed: make(chan struct{})},
		chunks:  make(chan read),
		next:    make(chan struct{}, 1),
		buffer:  make([]byte, chunk),
		orders:  make(chan order, 2),
		written: make(chan error, 1),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		_ = s.Close() // no caller has it yet
		return nil, Fail(OutcomeCanceled, net.ErrClosed)
	}
	if f.live == nil {
		f.live = make(map[*conn]bool)
	}
	f.live[c] = true
	f.running.Add(1) // for bury, which may come when nothing else runs
	f.running.Go(c.in)
	f.running.Go(c.out)
	return c, nil
}

// bury ends a closed conn's stream, which may wait for the peer or a process.
func (f *Streams) bury(c *conn) {
	defer f.running.Done()
	_ = c.stream.Close() // nothing can be done about an error
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.live, c)
}

// Close ends all connections, and waits for their goroutines. Later ones are refused.
func (f *Streams) Close() {
	f.mu.Lock()
	f.closed = true
	var all []*conn
	for c := range f.live {
		all = append(all, c)
	}
	f.mu.Unlock()
	for _, c := range all {
		_ = c.Close() // some are closed already
	}
	f.running.Wait()
}
