package simulate

import (
	"context"
	"net"
	"strconv"
	"sync"
	"time"

	"kproxy/internal/hostport"
)

const (
	// brokerDomain is in the name of every broker, and in no address that a client gets.
	brokerDomain = ".vpc.invalid"
	brokerPort   = 9092
	brokerCount  = 3
	password     = "secret"
)

// addressName is the host of the ith address that brokers have.
func addressName(i int) string { return "b" + strconv.Itoa(i) + brokerDomain }

// brokers are the brokers of the cluster.
//
//	connection ─▶ read a frame ─▶ delay, hold ─▶ write its response ─┐
//	                 ▲                                               │
//	                 └───────────────────────────────────────────────┘
type brokers struct {
	run     *run
	network Network
	serving sync.WaitGroup

	mu    sync.Mutex // guards the following, and the brokers
	all   []*broker
	named int           // addresses that were given
	going chan struct{} // closed when a broker that holds goes on, or a setting changes
	cuts  int           // how often brokers have ended connections by themselves
	moves int

	slowest time.Duration // the longest time for which a broker has kept a response
}

// broker is one broker.
type broker struct {
	set     *brokers
	node    int32
	address int // its advertised one
	sockets []net.Listener
	conns   map[*brokerConn]bool
	delay   time.Duration
	holds   time.Time // since when it holds all responses; zero: it does not
}

func newBrokers(r *run, network Network) *brokers {
	s := &brokers{run: r, network: network, going: make(chan struct{})}
	for node := range int32(brokerCount) {
		s.all = append(s.all, &broker{set: s, node: node, address: int(node), conns: map[*brokerConn]bool{}})
	}
	s.named = brokerCount
	return s
}

// places are the brokers as they advertise themselves.
func (s *brokers) places() []place {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []place
	for _, b := range s.all {
		all = append(all, place{b.node, addressName(b.address), brokerPort})
	}
	return all
}

// bootstrap lists the addresses from which kproxy starts: of all brokers, as they were.
func bootstrap() []string {
	var all []string
	for i := range brokerCount {
		all = append(all, hostport.Join(addressName(i), brokerPort))
	}
	return all
}

// listen serves an address as a broker's. The caller holds mu.
func (b *broker) listen(address int) {
	l, err := b.set.network.Listen(context.Background(), "tcp", hostport.Join(addressName(address), brokerPort))
	if err != nil {
		b.set.run.fail("broker %d cannot listen: %v", b.node, err)
		return
	}
	b.sockets = append(b.sockets, l)
	b.set.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c := &brokerConn{broker: b, conn: newPeer(conn), at: address}
			b.set.mu.Lock()
			b.conns[c] = true
			b.set.mu.Unlock()
			b.set.serving.Go(c.serve)
		}
	})
}

// end ends all connections of a broker. The caller holds mu.
func (b *broker) end(hard bool) {
	b.set.cuts++
	for c := range b.conns {
		if c.client != nil {
			c.client.brokerCut(hard)
		}
		if hard {
			c.conn.reset()
			continue
		}
		c.ended = true
		b.set.serving.Go(c.conn.endSide) // and it reads on until kproxy ends its side
	}
}

// stop ends the connections and the sockets of a broker. The caller holds mu.
func (b *broker) stop(hard bool) {
	b.closeSockets()
	b.end(hard)
}

func (b *broker) closeSockets() {
	for _, l := range b.sockets {
		_ = l.Close() // it only accepts
	}
	b.sockets = nil
}

// wakeAll has connections look at the settings again. The caller holds mu.
func (s *brokers) wakeAll() {
	close(s.going)
	s.going = make(chan struct{})
}

// step does a step of a script.
func (s *brokers) step(step Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.all[step.N%len(s.all)]
	switch step.Verb {
	case "delays":
		b.delay = step.duration(0)
		s.slowest = max(s.slowest, b.delay)
	case "holds":
		if b.holds.IsZero() {
			b.holds = time.Now()
		}
	case "goes-on":
		b.goOn()
	case "ends":
		b.end(false)
	case "resets":
		b.end(true)
	case "stops":
		b.stop(step.word(0) == "hard")
	case "starts":
		if len(b.sockets) == 0 {
			b.listen(b.address)
		}
	case "moves":
		if len(b.sockets) > 0 && b.address != 0 { // one address of bootstrap stays
			s.moves++
			b.address = s.named
			s.named++
			b.listen(b.address)
		}
	case "swaps":
		other := s.all[step.number(0)%len(s.all)]
		if other != b && len(b.sockets) > 0 && len(other.sockets) > 0 {
			s.moves++
			b.stop(false)
			other.stop(false)
			b.address, other.address = other.address, b.address
			b.listen(b.address)
			other.listen(other.address)
		}
	}
	s.wakeAll()
}

// goOn has the broker hold nothing. The caller holds mu.
func (b *broker) goOn() {
	if !b.holds.IsZero() {
		b.set.slowest = max(b.set.slowest, time.Since(b.holds))
		b.holds = time.Time{}
	}
}

// goOn has all brokers serve, and hold nothing.
func (s *brokers) goOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.all {
		b.goOn()
		b.delay = 0
		if len(b.sockets) == 0 {
			b.listen(b.address)
		}
	}
	s.wakeAll()
}

// close closes the sockets of all brokers, and waits until kproxy has ended its connections. In
// the end it ends those that are left.
func (s *brokers) close() {
	s.mu.Lock()
	for _, b := range s.all {
		b.holds = time.Time{}
		b.closeSockets()
	}
	s.wakeAll()
	s.mu.Unlock()
	if !s.run.eventually(func() bool { return s.connections() == 0 }) {
		s.run.fail("kproxy has stopped, and %d of its connections to brokers are open", s.connections())
		s.mu.Lock()
		for _, b := range s.all {
			b.end(true)
		}
		s.mu.Unlock()
	}
	s.serving.Wait()
}

func (s *brokers) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, b := range s.all {
		n += len(b.conns)
	}
	return n
}

// open returns the clients' connections that are open.
func (s *brokers) open() []*brokerConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*brokerConn
	for _, b := range s.all {
		for c := range b.conns {
			if c.client != nil {
				all = append(all, c)
			}
		}
	}
	return all
}
