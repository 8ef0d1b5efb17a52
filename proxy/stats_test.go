package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// sums are the counts of a Snapshot over all listeners.
type sums struct {
	opened, active, closed int64
	up, down               proxy.Direction
	requests, answers      int64
}

// opened waits until n sessions have been opened.
func (l *lab) opened(t *testing.T, n int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); sumOf(l.proxy.Stats()).opened < n; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions were opened, want %d", sumOf(l.proxy.Stats()).opened, n)
		}
	}
}

func sumOf(s proxy.Snapshot) (all sums) {
	for _, c := range s.Clusters {
		for _, l := range c.Listeners {
			one := sumOfListener(l)
			all.opened += one.opened
			all.active += one.active
			all.closed += one.closed
			all.up.Copied += one.up.Copied
			all.up.Spliced += one.up.Spliced
			all.up.Frames += one.up.Frames
			all.down.Copied += one.down.Copied
			all.down.Spliced += one.down.Spliced
			all.down.Frames += one.down.Frames
			all.requests += one.requests
			all.answers += one.answers
		}
	}
	return all
}

func sumOfListener(l proxy.ListenerStats) sums {
	s := sums{opened: l.Opened, up: l.Up, down: l.Down}
	for _, n := range l.Active {
		s.active += n.Count
	}
	for _, n := range l.Closed {
		s.closed += n.Count
	}
	for _, r := range l.Requests {
		s.requests += r.Count
	}
	for _, d := range l.Durations {
		for _, n := range d.Buckets {
			s.answers += n
		}
	}
	return s
}

// While sessions come and go, every snapshot adds up and no count shrinks. In the end the
// counts equal those of the clients, to the byte.
func TestStatsUnderLoad(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	const clients, sessions, requests = 10, 10, 20
	var l lab
	l.startKfake(t, 1)
	l.start(t, l.config())
	l.learned(t, 0)

	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() { watchStats(t, l.proxy, done) })
	var written, read atomic.Int64
	var running sync.WaitGroup
	for i := range clients {
		address := []string{"bob.test:9092", "bob.test:9100", "localhost:39092"}[i%3]
		running.Go(func() {
			for range sessions {
				if err := l.countedSession(t.Context(), address, requests, &written, &read); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	l.ends.waitFor(t, "end of every session", func(all []proxy.SessionEnd) bool { return len(all) == clients*sessions })
	close(done)
	looking.Wait()

	const all = clients * sessions
	want := sums{
		opened: all, closed: all,
		up:       proxy.Direction{Frames: all * requests, Copied: written.Load()},
		down:     proxy.Direction{Frames: all * requests, Copied: read.Load()},
		requests: all * requests, answers: all * requests,
	}
	if got := sumOf(l.proxy.Stats()); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// watchStats takes one snapshot after another.
func watchStats(t *testing.T, p *proxy.Proxy, done <-chan struct{}) {
	t.Helper()
	var last sums
	for looks := 0; ; looks++ {
		snapshot := p.Stats()
		for _, l := range snapshot.Clusters[0].Listeners {
			if s := sumOfListener(l); s.opened != s.active+s.closed {
				t.Errorf("%s: %d sessions opened, %d active and %d closed", l.Name, s.opened, s.active, s.closed)
			}
		}
		now := sumOf(snapshot)
		if now.opened < last.opened || now.closed < last.closed || now.up.Copied < last.up.Copied ||
			now.down.Copied < last.down.Copied || now.down.Frames < last.down.Frames {
			t.Errorf("counts have shrunk: from %+v to %+v", last, now)
		}
		last = now
		select {
		case <-done:
			t.Logf("%d snapshots", looks)
			return
		default:
		}
	}
}

// countedSession sends n requests, each of which is answered, and counts the
// bytes of both.
func (l *lab) countedSession(ctx context.Context, address string, n int, written, read *atomic.Int64) error {
	conn, err := l.outside.Dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	counting := &countingConn{Conn: conn, written: written, read: read}
	p := &peer{conn: counting, in: bufio.NewReader(counting)}
	for i := range n {
		req := heartbeat()
		if i%2 == 0 {
			req = &kmsg.MetadataRequest{Version: 12}
		}
		if err := p.tryWrite(requestFrame(int32(i), req)); err != nil {
			return err
		}
		if _, err := p.tryFrame(); err != nil {
			return err
		}
	}
	return nil
}

// countingConn counts the bytes that it reads and writes.
type countingConn struct {
	net.Conn
	written, read *atomic.Int64
}

func (c *countingConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.written.Add(int64(n))
	return n, err
}

func (c *countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

// Bytes count while their session is live, and requests by API and version; one
// without a response has no duration.
func TestStatsOfLiveSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		c, s := l.open(t)
		produce := kmsg.NewPtrProduceRequest()
		produce.Version, produce.Acks = 9, 0
		frames := requestFrames(1, produce, heartbeat())
		c.write(frames)
		s.request(kmsg.Produce, 1)
		s.request(kmsg.Heartbeat, 2)
		s.answer(2, heartbeatAnswer())
		c.receive(2, heartbeatAnswer())

		synctest.Wait() // a pump counts a frame after writing it
		stats := l.stats(t, "bob")
		first := requestFrame(0, heartbeat()) // by which open has opened it
		answer := answerFrame(0, heartbeatAnswer())
		if got, want := stats.Up, (proxy.Direction{Frames: 3, Copied: int64(len(first) + len(frames))}); got != want {
			t.Errorf("up: got %+v, want %+v", got, want)
		}
		if got, want := stats.Down, (proxy.Direction{Frames: 2, Copied: int64(2 * len(answer))}); got != want {
			t.Errorf("down: got %+v, want %+v", got, want)
		}
		if got, want := fmt.Sprint(stats.Requests), fmt.Sprintf("[{0 9 1} {12 %d 2}]", heartbeat().GetVersion()); got != want {
			t.Errorf("requests: got %s, want %s", got, want)
		}
		if len(stats.Durations) != 1 || stats.Durations[0].Key != kmsg.Heartbeat.Int16() {
			t.Errorf("durations: got %+v, want those of Heartbeat alone", stats.Durations)
		}
		if got, want := fmt.Sprint(stats.Active), "[{-1 1}]"; got != want {
			t.Errorf("active: got %s, want %s", got, want)
		}
	})
}

// stats returns the counts of a listener.
func (l *lab) stats(t *testing.T, listener string) proxy.ListenerStats {
	t.Helper()
	for _, ls := range l.proxy.Stats().Clusters[0].Listeners {
		if ls.Name == listener {
			return ls
		}
	}
	t.Fatalf("no listener %s", listener)
	return proxy.ListenerStats{}
}

// Sessions count by the node whose endpoint the client chose, also while the node is unknown.
func TestStatsByNode(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	l.start(t, l.config())
	l.learned(t, 0)
	for _, address := range []string{"bob.test:9092", "bob.test:9100", "bob.test:9105"} {
		c := l.dial(t, address)
		c.send(0, kmsg.NewPtrMetadataRequest())
		b.take().close()
		c.close()
		l.ends.next(t)
	}
	got := map[int32]int64{}
	for _, closed := range l.stats(t, "bob").Closed {
		got[closed.Node] += closed.Count
	}
	if want := (map[int32]int64{proxy.NoNode: 1, 0: 1, proxy.UnknownNode: 1}); !maps.Equal(got, want) {
		t.Errorf("closed by node: got %v, want %v", got, want)
	}
}

// Dials count by node and outcome, and changes of the map by kind.
func TestStatsOfCluster(t *testing.T) {
	t.Parallel()
	var l lab
	l.startBroker(t, 0, 0, 1, 77) // 77 is outside both ranges; no broker is at 1
	conf := l.config()
	conf.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == brokerName(1) {
			return nil, &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
		}
		return l.vpc.Dial(ctx, network, address)
	}
	l.start(t, conf)
	l.learned(t, 0, 1, 77)
	c := l.dial(t, "bob.test:9101")
	c.send(0, heartbeat())
	l.ended(t, proxy.DialFailed)

	stats := l.proxy.Stats().Clusters[0]
	if got, want := fmt.Sprint(stats.Dials), "[{-1 ok 1} {1 timeout 1}]"; got != want {
		t.Errorf("dials: got %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(stats.MapChanges), "[{added 3} {moved 0} {gone 0} {overflowed 2} {evicted 0} {unmapped 0} {replaced 0} {contradicted 0}]"; got != want {
		t.Errorf("map changes: got %s, want %s", got, want)
	}
	if !stats.Up || stats.Brokers != 3 || time.Since(stats.LastAnswer) > patience {
		t.Errorf("got up %t, %d brokers, last answer %v", stats.Up, stats.Brokers, stats.LastAnswer)
	}
}

// What rewriting did to addresses and APIs is counted by API.
func TestStatsOfRewriting(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	versions := kmsg.NewPtrApiVersionsRequest()
	c.send(1, versions)
	s.request(kmsg.ApiVersions, 1)
	answer := kmsg.NewPtrApiVersionsResponse()
	answer.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 0, MaxVersion: 3}, {ApiKey: 999}}
	s.answer(1, answer)
	c.receive(1, kmsg.NewPtrApiVersionsResponse())

	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Version = 5
	c.send(2, metadata)
	s.request(kmsg.Metadata, 2)
	named := kmsg.NewPtrMetadataResponse()
	named.Version, named.Brokers = 5, brokersNamed(0, 1)
	for i := range 20 { // ten more than there are slots
		named.Brokers = append(named.Brokers, brokersNamed(2+i)...)
	}
	s.answer(2, named)
	told := kmsg.NewPtrMetadataResponse()
	told.Version = 5
	c.receive(2, told)

	stats := l.stats(t, "bob")
	if got, want := fmt.Sprint(stats.HiddenAPIs), "[{-1 1}]"; got != want {
		t.Errorf("hidden: got %s, want %s", got, want)
	}
	want := []proxy.AddressStats{{Key: kmsg.Metadata.Int16(), Rewritten: 10, Dropped: 12}}
	s.close()
	if fmt.Sprint(stats.Addresses) != fmt.Sprint(want) || len(told.Brokers) != 10 {
		t.Errorf("addresses: got %+v, want %+v; the client got %d", stats.Addresses, want, len(told.Brokers))
	}
}
