package proxy_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"kproxy/proxy"
)

var churnSeed = flag.Uint64("churn.seed", 0, "the seed of the rounds of churn; 0: a random one")

const (
	churnAtOnce = 50 // connections at one time
	churnWarmUp = 400

	// churnHeap and churnHeld are the memory that a round may leave although nothing leaks:
	// the runtime keeps goroutines, pollers and stacks for later use, and the system's memory
	// comes in pages. Measured: 10 to 30 KiB, and half a MiB. A leak of 64 bytes in each of
	// 2,000 connections shows.
	churnHeap = 125 << 10
	churnHeld = 3 << 20
	// churnPipes are fewer than there are connections that want one.
	churnPipes = 2
)

// Connections that are opened, used and ended at random moments leave nothing
// behind: after each round there are as many goroutines and descriptors, and as
// much memory, as before the first one, and every end is accounted for. The
// sockets are the kernel's, and connections end in all ways there are: by the
// client or the broker, inside a frame or not, in order or by a reset.
//
//	go test ./proxy -run ChurnRounds -v -churn.seed=N    repeats what failed
func TestChurnRoundsEndAsTheyBegan(t *testing.T) {
	needsPlainTCP(t)
	const rounds = 3
	sessions := 2000
	if testing.Short() {
		sessions = 200
	}
	seed := *churnSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-churn.seed=%d", seed)
	empty := measure()
	t.Run("rounds", func(t *testing.T) {
		c := startChurn(t)
		idle := measure()
		if !*copyAll {
			idle.descriptors += 2 * churnPipes // made when they are needed, and kept
		}
		c.round(t, rand.NewPCG(seed, 0), churnWarmUp) // afterwards the runtime has the memory that it keeps
		idle.settled(t)
		began := stand()
		t.Logf("began: %s", began)
		for n := range uint64(rounds) {
			start := time.Now()
			c.round(t, rand.NewPCG(seed, n+1), sessions)
			idle.settled(t)
			now := stand()
			t.Logf("round %d, %v: %s", n+1, time.Since(start).Round(time.Millisecond), now)
			if grown := now.heap - began.heap; grown > churnHeap {
				t.Errorf("round %d left %d bytes on the heap", n+1, grown)
			}
			if grown := now.held - began.held; grown > churnHeld {
				t.Errorf("after round %d the process holds %d bytes more", n+1, grown)
			}
			c.account(t, churnWarmUp+int64(n+1)*int64(sessions))
		}
	})
	empty.settled(t)
}

// standing is how the process stands between two rounds: its footprint, the
// memory in use, and all that it holds of the system's.
type standing struct {
	footprint
	heap, held int64
}

func stand() standing {
	runtime.GC()
	debug.FreeOSMemory() // collects once more: what sync.Pool had kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return standing{measure(), int64(m.HeapAlloc), int64(m.Sys - m.HeapReleased)}
}

func (s standing) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d KiB on the heap, %d KiB held",
		s.goroutines, s.descriptors, s.heap>>10, s.held>>10)
}

// churning is a proxy, its broker, and the results of their sessions.
type churning struct {
	lab    lab
	broker churnBroker

	mu      sync.Mutex                  // guards the following
	open    map[string][]*churnSession  // by the client's address
	reasons map[proxy.CloseReason]int64 // why sessions have ended
	ways    map[string]int64            // how they were to end
}

// churnSession is a session that lasts.
type churnSession struct {
	plan   *churnPlan
	closed chan proxy.CloseReason // gets one
}

func startChurn(t *testing.T) *churning {
	t.Helper()
	c := &churning{open: map[string][]*churnSession{}, reasons: map[proxy.CloseReason]int64{}, ways: map[string]int64{}}
	c.broker.start(t, &c.lab)
	conf := c.lab.config()
	if !*copyAll {
		conf.SplicePipes = churnPipes
	}
	conf.ParkAfter = -1 // the first session that is parked has the proxy open an epoll set
	conf.Logger = nil   // neither the log nor the lab's journals are to grow
	conf.Observer = &proxy.Observer{SessionClosed: c.closed}
	c.lab.start(t, conf)
	c.lab.learned(t, 0, 1)
	return c
}

// round runs sessions as random makes them.
func (c *churning) round(t *testing.T, source rand.Source, sessions int) {
	t.Helper()
	random := rand.New(source)
	plans := make([]*churnPlan, sessions)
	for i := range plans {
		plans[i] = newChurnPlan(i, random)
	}
	c.broker.plans.Store(&plans)
	defer c.broker.plans.Store(nil)
	var running sync.WaitGroup
	next := make(chan *churnPlan)
	for range churnAtOnce {
		running.Go(func() {
			for p := range next {
				if err := c.run(t, p); err != nil {
					t.Errorf("session %d, to be ended %s: %v", p.number, p.way(), err)
				}
			}
		})
	}
	for _, p := range plans {
		next <- p
	}
	close(next)
	running.Wait()
}

// run is one session, until the proxy says that it has ended.
func (c *churning) run(t *testing.T, p *churnPlan) error {
	t.Helper()
	conn, err := c.lab.outside.Dial(t.Context(), "tcp", p.address)
	if err != nil {
		return err
	}
	session := c.opened(conn.LocalAddr().String(), p)
	used := p.use(client{newPeer(t, conn)})
	_ = conn.Close()
	select {
	case reason := <-session.closed:
		if allowed := p.reasons(); !slices.Contains(allowed, reason) {
			return errors.Join(used, fmt.Errorf("it ended as %s, want one of %v", reason, allowed))
		}
		return used
	case <-time.After(patience):
		return errors.Join(used, errors.New("it does not end"))
	}
}

func (c *churning) opened(client string, p *churnPlan) *churnSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ways[p.way()]++
	s := &churnSession{p, make(chan proxy.CloseReason, 1)}
	c.open[client] = append(c.open[client], s)
	return s
}

// closed is called by the proxy. Linux may give one port to two connections to different
// endpoints at a time; then the end is that of the session with the fewest possible ends.
func (c *churning) closed(who proxy.Session, e proxy.SessionEnd) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reasons[e.Reason]++
	open := c.open[who.Client]
	if len(open) == 0 {
		return // account finds that one is missing
	}
	slices.SortStableFunc(open, func(a, b *churnSession) int { return len(a.plan.reasons()) - len(b.plan.reasons()) })
	i := max(0, slices.IndexFunc(open, func(s *churnSession) bool { return slices.Contains(s.plan.reasons(), e.Reason) }))
	open[i].closed <- e.Reason
	if c.open[who.Client] = slices.Delete(open, i, i+1); len(open) == 1 {
		delete(c.open, who.Client)
	}
}

// account compares the proxy's counters with the calls of its Observer.
func (c *churning) account(t *testing.T, sessions int64) {
	t.Helper()
	stats := c.lab.proxy.Stats()
	if s := sumOf(stats); s.opened != sessions || s.active != 0 || s.closed != sessions {
		t.Errorf("%d sessions: %d opened, %d active, %d closed", sessions, s.opened, s.active, s.closed)
	}
	counted := map[proxy.CloseReason]int64{}
	for _, l := range stats.Clusters[0].Listeners {
		for _, closed := range l.Closed {
			counted[closed.Reason] += closed.Count
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) > 0 || !maps.Equal(counted, c.reasons) {
		t.Errorf("%d sessions have no end; closed %v, counted %v", len(c.open), c.reasons, counted)
	}
	t.Logf("%d sessions, ended %v: %v", sessions, c.ways, c.reasons)
}
