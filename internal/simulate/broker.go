package simulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/hostport"
	"kproxy/internal/wait"
	"kproxy/internal/wire"
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
}

// broker is one broker.
type broker struct {
	set     *brokers
	node    int32
	address int // its advertised one
	sockets []net.Listener
	conns   map[*brokerConn]bool
	delay   time.Duration
	holds   bool
}

// brokerConn is the broker's end of a connection.
type brokerConn struct {
	*broker
	conn    net.Conn
	at      int     // the address that was dialled
	client  *record // nil: no client's request has come
	login   loginState
	expires time.Time // of the login; guarded by mu
	ended   bool      // this end writes no more; guarded by mu
}

// loginState is how far a login at a broker has come.
type loginState uint8

const (
	loggedOut loginState = iota
	shaken
	loggedIn
)

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
			c := &brokerConn{broker: b, conn: conn, at: address}
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
		if linger, ok := c.conn.(interface{ SetLinger(sec int) error }); ok && hard {
			_ = linger.SetLinger(0) // fails only if the peer is gone
		}
		if half, ok := c.conn.(interface{ CloseWrite() error }); ok && !hard {
			c.ended = true
			_ = half.CloseWrite() // and reads on until kproxy ends its side
			continue
		}
		_ = c.conn.Close() // a connection that fails has ended
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
	case "holds":
		b.holds = true
	case "goes-on":
		b.holds = false
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

// goOn has all brokers serve, and hold nothing.
func (s *brokers) goOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.all {
		b.holds, b.delay = false, 0
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
		b.holds = false
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

// serve responds to the requests of a connection until it ends.
func (c *brokerConn) serve() {
	defer func() {
		_ = c.conn.Close() // it has ended
		c.set.mu.Lock()
		delete(c.conns, c)
		c.set.mu.Unlock()
	}()
	for {
		frame, _, err := readFrame(c.conn)
		if err != nil {
			return
		}
		resp, err := c.respond(frame)
		if err != nil {
			c.set.run.fail("broker %d: %v", c.node, err)
			return
		}
		if c.pause(); resp.frame == nil || c.hasEnded() {
			continue
		}
		if _, err := c.conn.Write(resp.frame); err != nil {
			if !c.hasEnded() {
				return
			}
		} else if resp.to != nil {
			resp.to.brokerWrote()
		}
	}
}

func (c *brokerConn) hasEnded() bool {
	c.set.mu.Lock()
	defer c.set.mu.Unlock()
	return c.ended
}

// response is a response of a broker.
type response struct {
	frame []byte  // nil: there is none
	to    *record // the client that it is for; nil: kproxy itself
}

// pause waits as long as the broker delays or holds a response.
func (c *brokerConn) pause() {
	c.set.mu.Lock()
	delay := c.delay
	c.set.mu.Unlock()
	if delay > 0 {
		wait.Sleep(c.set.run.ctx, delay)
	}
	for {
		c.set.mu.Lock()
		holds, going := c.holds, c.set.going
		c.set.mu.Unlock()
		if !holds {
			return
		}
		<-going
	}
}

// respond returns the response to a request.
func (c *brokerConn) respond(frame []byte) (response, error) {
	prefix := wire.ParseRequestPrefix(frame)
	flexible := false
	if req := kmsg.RequestForKey(prefix.Key); req != nil {
		req.SetVersion(prefix.Version)
		flexible = req.IsFlexible()
	}
	h, err := wire.ParseRequestHeader(frame, flexible)
	if err != nil {
		return response{}, err
	}
	id := string(h.ClientID)
	if !strings.HasPrefix(id, clientPrefix) {
		return c.respondToProxy(h, frame)
	}
	n, err := strconv.Atoi(strings.TrimPrefix(id, clientPrefix))
	if err != nil {
		return response{}, fmt.Errorf("a request of %q", id)
	}
	client := c.set.run.records.of(n)
	if client == nil {
		return response{}, fmt.Errorf("a request of %q, who has sent none", id)
	}
	c.set.mu.Lock()
	if c.client == nil {
		if c.client = client; c.ended { // before it was known whose connection it is
			client.brokerCut(false)
		}
	}
	c.set.mu.Unlock()
	switch {
	case c.client != client:
		return response{}, fmt.Errorf("a request of %q behind one of client %d", id, c.client.number)
	case c.login == shaken:
		return response{}, errors.New("a request of a client during a login")
	case c.set.run.script.Settings.Lifetime > 0 && c.login != loggedIn:
		return response{}, errors.New("a request of a client before a login")
	}
	sent, want := client.brokerRead()
	if c.set.run.isSettled() && client.node >= 0 && client.node != c.node && !teaching[sent.name] {
		return response{}, fmt.Errorf("a request of client %d, who has chosen node %d: %s", n, client.node, sent.name)
	}
	if !bytes.Equal(frame, want) {
		return response{}, fmt.Errorf("request %d of client %d has changed: %d bytes, want %d", sent.correlationID, n, len(frame), len(want))
	}
	if exchanges[sent.name].response == nil {
		return response{}, nil
	}
	return response{responseFrame(sent, c.set.places()), client}, nil
}

// respondToProxy responds to a request of kproxy's own.
func (c *brokerConn) respondToProxy(h wire.RequestHeader, frame []byte) (response, error) {
	var resp kmsg.Response
	lifetime := c.set.run.script.Settings.Lifetime
	switch key := kmsg.Key(h.Key); {
	case key == kmsg.ApiVersions:
		resp = versions(call{}, nil)
	case key == kmsg.SASLHandshake:
		c.login = shaken
		shake := kmsg.NewPtrSASLHandshakeResponse()
		shake.SupportedMechanisms = []string{"PLAIN"}
		resp = shake
	case key == kmsg.SASLAuthenticate && c.login == shaken:
		if !bytes.Contains(frame, []byte("\x00kproxy\x00"+password)) {
			return response{}, errors.New("kproxy logs in with another password")
		}
		authenticate := kmsg.NewPtrSASLAuthenticateResponse()
		authenticate.SessionLifetimeMillis = lifetime.Milliseconds()
		resp = authenticate
		c.login = loggedIn
		c.set.mu.Lock()
		c.expires = time.Now().Add(lifetime)
		c.set.mu.Unlock()
	case key == kmsg.Metadata && (lifetime == 0 || c.login == loggedIn):
		resp = metadata(call{}, c.set.places())
	default:
		return response{}, fmt.Errorf("kproxy asks %s", kmsg.NameForKey(h.Key))
	}
	resp.SetVersion(h.Version)
	return response{frame: frameOf(h.CorrelationID, resp)}, nil
}
