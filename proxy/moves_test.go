package proxy_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// A livingBroker answers ApiVersions, FindCoordinator and Metadata as a broker of a small
// cluster does. Its node can change while it runs, as if two brokers swapped their addresses.
type livingBroker struct {
	t *testing.T

	mu       sync.Mutex // guards the following
	node     int32
	names    []kmsg.MetadataResponseBroker
	cluster  string                                   // its id
	down     bool                                     // each request ends its connection
	byClient map[string][]kmsg.MetadataResponseBroker // client.id -> the brokers that it gets instead
	closes   bool                                     // Metadata to anything but the test's clients ends the connection: it wants a login
	held     chan struct{}                            // Metadata to anything but the test's clients waits for its close; nil: it does not
	served   map[string]int                           // requests by client.id
	door     *door                                    // clients must log in there first; nil: no login
}

// become makes the broker node, and names these brokers from now on.
func (b *livingBroker) become(node int32, names []kmsg.MetadataResponseBroker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.node, b.names = node, names
}

func (b *livingBroker) set(f func(b *livingBroker)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
}

// liveBroker starts one at brokerName(address).
func (l *lab) liveBroker(t *testing.T, address int) *livingBroker {
	t.Helper()
	ln, err := l.vpc.ListenAs(t.Context(), brokerName(address))
	if err != nil {
		t.Fatal(err)
	}
	b := &livingBroker{t: t, node: int32(address), cluster: "c", byClient: map[string][]kmsg.MetadataResponseBroker{}, served: map[string]int{}, door: l.door}
	serveEach(t, ln, func(conn net.Conn) { b.serve(brokerConn{newPeer(t, conn)}) })
	return b
}

func (b *livingBroker) serve(c brokerConn) {
	defer c.close()
	if b.door != nil && !b.door.admits(c) {
		return
	}
	for {
		r, err := c.tryRequest()
		if err != nil {
			return
		}
		b.hold(r)
		resp := b.respond(r)
		if resp == nil || c.tryWrite(answerFrame(r.CorrelationID, resp)) != nil {
			return
		}
	}
}

// servedTest returns how many requests the test's clients have sent.
func (b *livingBroker) servedTest() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.served["test"]
}

// hold waits until a question of kproxy's own may be answered.
func (b *livingBroker) hold(r request) {
	b.mu.Lock()
	held := b.held
	b.mu.Unlock()
	if held != nil && kmsg.Key(r.Key) == kmsg.Metadata && string(r.ClientID) != "test" {
		<-held
	}
}

// respond returns the response to a request; nil ends the connection.
func (b *livingBroker) respond(r request) kmsg.Response {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := string(r.ClientID)
	b.served[id]++
	if b.down {
		return nil
	}
	switch kmsg.Key(r.Key) {
	case kmsg.ApiVersions:
		resp := answerTo(r.Version, kmsg.NewPtrApiVersionsResponse())
		resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 3, MaxVersion: 12}, {ApiKey: 10, MaxVersion: 3}, {ApiKey: 18, MaxVersion: 5}}
		return resp // before a login Kafka 4.4 does not look at the node's id in v5
	case kmsg.FindCoordinator:
		resp := answerTo(r.Version, kmsg.NewPtrFindCoordinatorResponse())
		first := b.names[0]
		resp.NodeID, resp.Host, resp.Port = first.NodeID, first.Host, first.Port
		return resp
	case kmsg.Metadata:
		if b.closes && id != "test" {
			return nil
		}
		resp := answerTo(r.Version, kmsg.NewPtrMetadataResponse())
		resp.ClusterID, resp.Brokers = &b.cluster, b.names
		if own := b.byClient[id]; own != nil {
			resp.Brokers = own
		}
		return resp
	default:
		return heartbeatAnswer()
	}
}

// brokersAt has node i at the address of the ith argument.
func brokersAt(addresses ...int) []kmsg.MetadataResponseBroker {
	named := brokersNamed(addresses...)
	for i := range named {
		named[i].NodeID = int32(i)
	}
	return named
}

// refresh asks for Metadata.
func (c client) refresh(correlationID int32) {
	c.t.Helper()
	c.send(correlationID, metadataRequest(12))
	c.receive(correlationID, answerTo(12, kmsg.NewPtrMetadataResponse()))
}

// reaches opens a session at a node's endpoint and checks which address it leads to.
func (l *lab) reaches(t *testing.T, endpoint, want string) {
	t.Helper()
	c := l.dial(t, endpoint)
	c.send(1, heartbeat())
	c.receive(1, heartbeatAnswer())
	c.close()
	if e := l.ended(t, proxy.ClientClosed); e.Upstream != want {
		t.Errorf("%s leads to %s, want %s", endpoint, e.Upstream, want)
	}
}

// Two brokers swap their addresses. A session for a node at its old address ends
// between two requests, and the next one reaches the node where it is, after one
// response; whether kproxy can ask makes no difference.
func TestSwappedBrokers(t *testing.T) {
	needsPlainTCP(t)
	for _, c := range []struct {
		name   string
		closes bool
	}{
		{"kproxy can ask", false},
		{"the client's own login passes through", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var l lab
			both := []*livingBroker{l.liveBroker(t, 0), l.liveBroker(t, 1)}
			for i, b := range both {
				b.become(int32(i), brokersAt(0, 1))
				b.closes = c.closes
			}
			l.start(t, l.config())
			boot := l.dial(t, "bob.test:9092")
			boot.refresh(1)
			l.learned(t, 0, 1)
			stray := l.dial(t, "bob.test:9100")
			stray.send(1, heartbeat())
			stray.receive(1, heartbeatAnswer())

			for i, b := range both {
				b.become(int32(1-i), brokersAt(1, 0))
			}
			boot.refresh(2)
			stray.eof()
			if e := l.ended(t, proxy.BrokerMoved); e.Upstream != brokerName(0) {
				t.Errorf("a session to %s ended", e.Upstream)
			}
			l.reaches(t, "bob.test:9100", brokerName(1))
			l.reaches(t, "bob.test:9101", brokerName(0))
			boot.refresh(3) // the bootstrap session goes on
		})
	}
}

// swappable starts two brokers in memory, and a proxy that knows them.
func (l *lab) swappable(t *testing.T) (both []*livingBroker, boot client) {
	t.Helper()
	l.inMemory()
	both = []*livingBroker{l.liveBroker(t, 0), l.liveBroker(t, 1)}
	for i, b := range both {
		b.become(int32(i), brokersAt(0, 1))
	}
	l.start(t, l.config())
	synctest.Wait() // kproxy has asked
	boot = l.dial(t, "bob.test:9092")
	boot.refresh(1)
	l.learned(t, 0, 1)
	return both, boot
}

// A client that a response has sent to a node reaches it where it is: the dial waits for
// the question that the response caused, and not for longer. Leader hints and
// coordinators lead clients to nodes, too.
func TestADialWaitsForTheQuestion(t *testing.T) {
	needsPlainTCP(t)
	for name, request := range map[string]kmsg.Request{
		"Metadata": metadataRequest(12), "FindCoordinator": of(3, kmsg.NewPtrFindCoordinatorRequest()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var l lab
				both, boot := l.swappable(t)
				held := make(chan struct{})
				for i, b := range both {
					b.become(int32(1-i), brokersAt(1, 0))
					b.set(func(b *livingBroker) { b.held = held })
				}
				began := time.Now()
				boot.send(2, request)
				boot.receive(2, answerTo(request.GetVersion(), request.ResponseKind()))
				c := l.dial(t, "bob.test:9100")
				c.send(1, heartbeat())
				synctest.Wait()
				close(held)
				c.receive(1, heartbeatAnswer())
				if waited := time.Since(began); waited != 0 {
					t.Errorf("the dial waited for %v after the response", waited)
				}
				c.close()
				if e := l.ended(t, proxy.ClientClosed); e.Upstream != brokerName(1) {
					t.Errorf("node 0 was dialled at %s", e.Upstream)
				}
			})
		})
	}
}

// A node that moves while it is dialled is another node by then: it gets none of the client's requests, and kproxy
// logs in no more.
func TestANodeMovesDuringItsDial(t *testing.T) {
	needsPlainTCP(t)
	for name, logsIn := range map[string]bool{"without a login": false, "kproxy logs in": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			password := filepath.Join(t.TempDir(), "password")
			if err := os.WriteFile(password, []byte(secretPassword), 0o600); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) { movesDuringItsDial(t, logsIn, password) })
		})
	}
}

func movesDuringItsDial(t *testing.T, logsIn bool, password string) {
	t.Helper()
	var l lab
	l.inMemory()
	conf := l.config()
	if logsIn {
		l.door = newDoor()
		l.door.lifetime = time.Minute.Milliseconds()
		conf = l.door.logsIn(conf)
		conf.Clusters[0].SASL.Password = config.Secret{File: password}
		conf.Clusters[0].SASL.AllowPlaintext = true
	}
	both := []*livingBroker{l.liveBroker(t, 0), l.liveBroker(t, 1)}
	for i, b := range both {
		b.become(int32(i), brokersAt(0, 1))
	}
	var holding atomic.Bool
	held := make(chan struct{})
	conf.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == brokerName(0) && holding.CompareAndSwap(true, false) {
			<-held
		}
		return l.vpc.Dial(ctx, network, address)
	}
	l.start(t, conf)
	synctest.Wait() // kproxy has asked
	boot := l.dial(t, "bob.test:9092")
	boot.refresh(1)
	l.learned(t, 0, 1)
	holding.Store(true)
	c := l.dial(t, "bob.test:9100")
	c.send(1, heartbeat())
	synctest.Wait() // node 0 is dialled
	for i, b := range both {
		b.become(int32(1-i), brokersAt(1, 0))
	}
	boot.refresh(2)
	synctest.Wait() // and moves
	close(held)
	c.eof()
	if e := l.ended(t, proxy.BrokerMoved); e.FramesUp != 0 || e.BytesUp != 0 {
		t.Errorf("the broker that is another node now got %d requests, %d bytes", e.FramesUp, e.BytesUp)
	}
	boot.close()
	l.ended(t, proxy.ClientClosed)
	_ = os.Remove(password)
	<-time.After(10 * time.Minute)
	if n := l.log.count("cannot prepare the next login"); n > 0 {
		t.Errorf("kproxy prepares %d logins of a session that has ended", n)
	}
}

// Before a client is past its login, an orderly end is a refusal of it: its connection is
// reset where the node moves.
func TestANodeMovesDuringALogin(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	both := []*livingBroker{l.liveBroker(t, 0), l.liveBroker(t, 1)}
	for i, b := range both {
		b.become(int32(i), brokersAt(0, 1))
	}
	l.start(t, l.config())
	boot := l.dial(t, "bob.test:9092")
	boot.refresh(1)
	stray := l.dial(t, "bob.test:9100")
	stray.send(1, of(3, kmsg.NewPtrApiVersionsRequest()))
	stray.receive(1, answerTo(3, kmsg.NewPtrApiVersionsResponse()))
	for i, b := range both {
		b.become(int32(1-i), brokersAt(1, 0))
	}
	boot.refresh(2)
	if _, err := stray.ended(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended by %v, want a reset", err)
	}
	l.ended(t, proxy.BrokerMoved)
}

// A broker that stops while it is asked does not want a login: the cluster has answered
// before.
func TestABrokerThatStopsWantsNoLogin(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		both, boot := l.swappable(t)
		l.liveBroker(t, 7)
		for _, b := range both {
			b.set(func(b *livingBroker) { b.closes, b.byClient["test"] = true, brokersAt(7, 1) })
		}
		for id := range int32(4) { // kproxy cannot ask; two responses that agree would do then
			boot.refresh(2 + id)
			synctest.Wait()
		}
		l.reaches(t, "bob.test:9100", brokerName(0))
	})
}

// A broker is replaced under a new id at the old address.
func TestReplacedBroker(t *testing.T) {
	needsPlainTCP(t)
	for _, closes := range []bool{false, true} {
		t.Run(map[bool]string{false: "kproxy can ask", true: "it cannot"}[closes], func(t *testing.T) {
			t.Parallel()
			var l lab
			b0, b1 := l.liveBroker(t, 0), l.liveBroker(t, 1)
			for _, b := range []*livingBroker{b0, b1} {
				b.become(0, brokersAt(0, 1))
				b.closes = closes
			}
			l.start(t, l.config())
			boot := l.dial(t, "bob.test:9092")
			boot.refresh(1)
			stray := l.dial(t, "bob.test:9101")
			stray.send(1, heartbeat())
			stray.receive(1, heartbeatAnswer())
			heirs := brokersAt(0, 1)
			heirs[1].NodeID = 5
			b0.become(0, heirs)
			b1.become(5, heirs)
			boot.refresh(2)
			stray.eof()
			l.ended(t, proxy.BrokerMoved)
			l.reaches(t, "bob.test:9105", brokerName(1))
			gone := l.dial(t, "bob.test:9101")
			gone.send(1, heartbeat())
			promptly(t, func() { _, _ = gone.ended() })
			l.ended(t, proxy.DialFailed)
		})
	}
}

// A service that answers Metadata by client.id does not move nodes for others.
func TestAResponseToOneClientMovesNothing(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	b := l.liveBroker(t, 0)
	l.liveBroker(t, 7)
	b.become(0, brokersAt(0))
	b.byClient["test"] = brokersAt(7)
	l.start(t, l.config())
	l.learned(t, 0)
	steady := l.dial(t, "bob.test:9100")
	steady.send(1, heartbeat())
	steady.receive(1, heartbeatAnswer())
	odd := l.dial(t, "bob.test:9092")
	for id := range int32(5) {
		odd.refresh(1 + id)
	}
	l.log.has(t, "broker found", brokerName(0))
	steady.send(2, heartbeat())
	steady.receive(2, heartbeatAnswer())
	steady.close()
	l.ended(t, proxy.ClientClosed)
	l.reaches(t, "bob.test:9100", brokerName(0))
}

// A broker that has not caught up with a move ends no session: kproxy asks the others, too.
func TestABrokerThatLags(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	b0, b1, b2, b7 := l.liveBroker(t, 0), l.liveBroker(t, 1), l.liveBroker(t, 2), l.liveBroker(t, 7)
	for _, b := range []*livingBroker{b0, b1, b2, b7} {
		b.become(b.node, brokersAt(0, 1, 2))
	}
	l.start(t, l.config())
	l.learned(t, 0, 1, 2)
	lagging := l.dial(t, "bob.test:9102")
	lagging.refresh(1)
	moved := brokersAt(7, 1, 2)
	b1.become(1, moved)
	b7.become(0, moved)
	ahead := l.dial(t, "bob.test:9101")
	ahead.refresh(1)
	l.log.has(t, "broker has another address", brokerName(7))
	steady := l.dial(t, "bob.test:9100")
	for id := range int32(8) {
		lagging.refresh(2 + id)
		ahead.refresh(2 + id)
		steady.send(id, heartbeat())
		steady.receive(id, heartbeatAnswer())
		lagging.silentFor(300 * time.Millisecond) // questions are a second apart
	}
	steady.close()
	if e := l.ended(t, proxy.ClientClosed); e.Upstream != brokerName(7) {
		t.Errorf("node 0 was reached at %s", e.Upstream)
	}
	for _, change := range l.proxy.Stats().Clusters[0].MapChanges {
		if change.Kind == "moved" && change.Count != 1 {
			t.Errorf("the node has moved %d times", change.Count)
		}
	}
}

// The same where kproxy cannot ask: once it is seen, nodes stay where they are.
func TestResponsesThatContradictEachOther(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	b := l.liveBroker(t, 0)
	b.closes = true
	b.become(0, brokersAt(0))
	l.liveBroker(t, 7)
	l.start(t, l.config())
	l.log.has(t, "brokers are not known yet") // kproxy has found that it cannot ask
	c := l.dial(t, "bob.test:9092")
	id := int32(0)
	tell := func(address int) {
		b.become(0, brokersAt(address))
		for range 2 {
			id++
			c.refresh(id)
		}
	}
	tell(0)
	tell(7) // believed: two that agree
	tell(0) // back within a minute
	l.log.has(t, "level=ERROR", "contradict each other", "fix=")
	for range 3 {
		tell(7)
		tell(0)
	}
	l.reaches(t, "bob.test:9100", brokerName(0))
	for _, change := range l.proxy.Stats().Clusters[0].MapChanges {
		if change.Kind == "contradicted" && change.Count != 1 {
			t.Errorf("counted %d times", change.Count)
		}
	}
}

// Questions about responses that differ come one at a time, a second apart.
func TestQuestionsAboutMovesArePaced(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	b := l.liveBroker(t, 0)
	b.become(0, brokersAt(0))
	b.byClient["test"] = brokersAt(7)
	l.start(t, l.config())
	l.learned(t, 0)
	began := time.Now()
	odd := l.dial(t, "bob.test:9092")
	for id := range int32(200) {
		odd.refresh(1 + id)
	}
	most := 2 + int(time.Since(began)/time.Second)
	questions := 0
	b.set(func(b *livingBroker) {
		for id := range b.served {
			if id != "test" {
				questions++
			}
		}
	})
	if questions -= 2; questions > most { // at the start: ApiVersions, Metadata
		t.Errorf("%d questions, want %d at most", questions, most)
	}
}

// A hundred thousand brokers in each response leave health and stats at once.
func TestAHundredThousandBrokersLeaveHealthAlone(t *testing.T) {
	needsPlainTCP(t)
	var l lab
	b := l.liveBroker(t, 0)
	b.become(0, brokersAt(0))
	l.start(t, l.config())
	l.learned(t, 0)
	c := l.dial(t, "bob.test:9092")
	for round := range int32(5) {
		many := make([]kmsg.MetadataResponseBroker, 9_999) // the last one may still be on its way to kproxy
		for i := range many {
			many[i].NodeID, many[i].Host, many[i].Port = 1000+round*10_000+int32(i), "b.vpc.invalid", int32(1+i)
		}
		b.become(0, many)
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.refresh(round)
		}()
		for waiting := true; waiting; {
			promptly(t, func() { _, _ = l.proxy.Health(), l.proxy.Stats() })
			select {
			case <-done:
				waiting = false
			default:
			}
		}
	}
	if n := len(l.log.entries()); n > 400 {
		t.Errorf("%d lines of log", n)
	}
	l.log.has(t, "lines were left out", "left_out=")
}
