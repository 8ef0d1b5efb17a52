//go:build e2e && linux

package sockhash

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"kproxy/internal/portlab"
	"kproxy/internal/relay"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// kproxy is a proxy before a broker, with its log.
type kproxy struct {
	*proxy.Proxy
	address string
	mu      sync.Mutex
	log     bytes.Buffer
}

func (k *kproxy) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.log.Write(b)
}

func (k *kproxy) said() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.log.String()
}

// parkAfter is short, so that a test sees parked sessions, and the reports of the sweep.
const parkAfter = 40 * time.Millisecond

func start(t *testing.T, b *broker) *kproxy {
	t.Helper()
	host := portlab.Host(t)
	k := &kproxy{address: net.JoinHostPort(host, "9092")}
	p, err := proxy.New(&proxy.Config{
		Config: config.Config{ParkAfter: parkAfter, Clusters: []config.Cluster{{
			Name: "c", Bootstrap: []string{b.Addr().String()},
			Listeners: []config.Listener{{Name: "l", Bind: k.address, Nodes: config.Nodes{Ports: config.Range{First: 9100, Last: 9109}}}},
		}}},
		Logger: slog.New(slog.NewTextHandler(k, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	k.Proxy = p
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		p.Shutdown(ctx)
	})
	return k
}

// eachVerdict runs a test with each kind of program.
func eachVerdict(t *testing.T, test func(t *testing.T, h *Hash)) {
	t.Helper()
	for name, v := range map[string]Verdict{"the stream verdict passes": Passes, "messages are redirected": Redirects} {
		t.Run(name, func(t *testing.T) { test(t, newHash(t, v)) })
	}
}

func newHash(t *testing.T, v Verdict) *Hash {
	t.Helper()
	h, err := New(v)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(h.Close)
	return h
}

func addAll(t *testing.T, h *Hash) (added int) {
	t.Helper()
	added, err := h.AddAll()
	if err != nil {
		t.Fatal(err)
	}
	return added
}

// A program that is attached to a cgroup has every socket of its processes in the hash from the
// start. kproxy doctor finds that, too.
func TestSocketsOfACgroup(t *testing.T) {
	cgroup, leave, err := EnterCgroup()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(leave)
	eachVerdict(t, func(t *testing.T, h *Hash) {
		t.Helper()
		if err := relay.Probe(t.Context()); err != nil {
			t.Errorf("without a program: %v", err)
		}
		f, err := h.Follow(cgroup)
		if err != nil {
			t.Fatalf("%+v", err)
		}
		k := carrying(t, func(_ *kproxy, transfer func() error) error { return transfer() })
		counts, err := f.Counts()
		if err != nil || counts.Added < 4 || counts.Refused != 0 {
			t.Errorf("%d sockets were added, %d refused, %v", counts.Added, counts.Refused, err)
		}
		if k.Stats().SplicesHidden == 0 {
			t.Error("no splice has failed")
		}
		if err := relay.Probe(t.Context()); err == nil {
			t.Error("doctor does not see it")
		}
	})
}

// attempts runs a test of bytes up to three times. With a stream verdict, Linux 6.18 itself puts bytes into another order now
// and then: of 1,800 connections with a request of 4 MiB it did so to 4 through a program of a few lines that copies them in
// the place of kproxy, and to 1 between a client and a broker without anything between them. A length that comes in another
// place ends the connection.
func attempts(t *testing.T, test func() error) {
	t.Helper()
	var errs []error
	for range 3 {
		err := test()
		if err == nil {
			return
		}
		t.Logf("another attempt after: %v", err)
		errs = append(errs, err)
	}
	t.Fatal(errors.Join(errs...))
}

// carrying starts kproxy and a client, and runs a test of their bytes. transfer sends some of each size, both ways.
func carrying(t *testing.T, test func(k *kproxy, transfer func() error) error) (k *kproxy) {
	t.Helper()
	attempts(t, func() error {
		k = start(t, startBroker(t))
		c := dial(t, k.address)
		return test(k, func() error {
			for _, n := range sizes {
				if err := errors.Join(c.fetch(n), c.produce(n)); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return k
}

var sizes = []int{100, 5000, 64 << 10, 1 << 20, 8 << 20}

// Connections whose sockets are in a sockhash carry all bytes. kproxy says that it copies them.
func TestConnectionsInASockhash(t *testing.T) {
	eachVerdict(t, func(t *testing.T, h *Hash) {
		t.Helper()
		k := carrying(t, func(k *kproxy, transfer func() error) error {
			if err := transfer(); err != nil {
				t.Fatal(err)
			}
			if n := k.Stats().SplicesHidden; n > 0 {
				t.Fatalf("%d splices have found nothing, outside of a sockhash", n)
			}
			if added := addAll(t, h); added < 4 {
				t.Fatalf("%d sockets were added, want those of client, kproxy and broker", added)
			}
			return transfer()
		})
		if k.Stats().SplicesHidden == 0 {
			t.Error("no splice has failed: the test shows nothing")
		}
		within(t, "the log does not say why it copies", func() bool { return strings.Contains(k.said(), "splice does not find the bytes") })
	})
}

// Sockets come into a sockhash between any two requests of their connection. With bytes in motion the
// kernel itself puts them into another order, without kproxy too (Linux 6.18). So it does now and then
// with a stream verdict under load, where kproxy reads by recv alone: that one is not tried here.
func TestSocketsThatComeIntoASockhash(t *testing.T) {
	t.Run("messages are redirected", func(t *testing.T) {
		h := newHash(t, Redirects)
		k := start(t, startBroker(t))
		var motion sync.RWMutex // held for reading while a client's bytes are in motion
		done := make(chan struct{})
		var adding, clients sync.WaitGroup
		adding.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond):
					motion.Lock()
					addAll(t, h)
					motion.Unlock()
				}
			}
		})
		for range 4 {
			clients.Go(func() {
				for range 25 {
					c := dial(t, k.address)
					for range 6 {
						do := []func(int) error{c.fetch, c.produce}[rand.IntN(2)]
						motion.RLock()
						err := do(sizes[rand.IntN(len(sizes))])
						motion.RUnlock()
						if err != nil {
							t.Errorf("%v\n%s", err, k.said())
							return
						}
					}
					_ = c.Close()
				}
			})
		}
		clients.Wait()
		close(done)
		adding.Wait()
	})
}

// The end of a side comes behind the bytes before it, in both directions.
func TestEndsInASockhash(t *testing.T) {
	eachVerdict(t, func(t *testing.T, h *Hash) {
		t.Helper()
		b := startBroker(t)
		k := start(t, b)
		for range 20 {
			attempts(t, func() error {
				c := dial(t, k.address)
				if err := c.fetch(1 << 20); err != nil {
					return err
				}
				addAll(t, h)
				if err := c.fetch(lastFetch); err != nil {
					return err
				}
				return c.ended()
			})
			attempts(t, func() error {
				c := dial(t, k.address)
				if err := c.produce(1 << 20); err != nil {
					return err
				}
				addAll(t, h)
				if err := c.sendProduce(4 << 20); err != nil {
					return err
				}
				if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
					return err
				}
				if err := c.receive(produced(4 << 20)); err != nil {
					return err
				}
				return c.ended()
			})
		}
	})
}

// Parked sessions wake, and a drain ends them.
func TestParkedSessionsInASockhash(t *testing.T) {
	eachVerdict(t, func(t *testing.T, h *Hash) {
		t.Helper()
		attempts(t, func() error { return wakingParked(t, h) })
	})
}

func wakingParked(t *testing.T, h *Hash) error {
	t.Helper()
	k := start(t, startBroker(t))
	var all []*client
	fetch := func() error {
		for _, c := range all {
			if err := c.fetch(100 << 10); err != nil {
				return err
			}
		}
		return nil
	}
	for range 50 {
		all = append(all, dial(t, k.address))
	}
	if err := fetch(); err != nil {
		return err
	}
	for range 3 {
		<-time.After(4 * parkAfter) // there is no event for a session that is parked
		addAll(t, h)
		if err := fetch(); err != nil {
			return err
		}
	}
	<-time.After(4 * parkAfter)
	if cut := k.Shutdown(t.Context()); cut != 0 {
		t.Errorf("%d sessions were cut", cut)
	}
	for _, c := range all {
		if err := c.ended(); err != nil {
			return err
		}
	}
	return nil
}

// within waits for a condition.
func within(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}
