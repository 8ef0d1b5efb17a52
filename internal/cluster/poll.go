package cluster

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"
	"time"

	"kproxy/internal/upstream"
	"kproxy/internal/wait"
)

const (
	// inARow is how many responses in a row an address must have given with the other id before it counts for that in
	// a poll; one that has given two ids in turn needs mixedInARow: a name may lead to several machines.
	inARow      = 5
	mixedInARow = 20
	// pollPause is between two questions of a poll to one address.
	pollPause = 100 * time.Millisecond
	// maxPolled is how many bootstrap addresses a poll asks at most. The others count as such that do not respond.
	maxPolled = 64
)

// poll are questions to the bootstrap addresses for the id of their cluster.
type poll struct {
	done  chan struct{} // closed at the end, with the following
	most  string        // the other cluster's id that most of them have; "": none
	until time.Time     // when the result is too old; zero: they could not be asked
	cut   bool          // most of them end the connection at Metadata
}

// errUndecided means that the bootstrap addresses could not be asked.
var errUndecided = errors.New("another cluster responds, and the bootstrap addresses were not asked")

// polled returns the poll that runs, or the last one if it is young, or a new one.
func (c *Cluster) polled() *poll {
	c.mu.Lock()
	before := c.identity.poll
	if before != nil && (!isClosed(before.done) || time.Now().Before(before.until)) {
		c.mu.Unlock()
		return before
	}
	p := &poll{done: make(chan struct{})}
	c.identity.poll = p
	c.mu.Unlock()
	wasCut := before != nil && before.cut
	if !c.Background(func(ctx context.Context) { c.runPoll(ctx, p, wasCut) }) {
		close(p.done)
	}
	return p
}

// runPoll makes a poll. If most bootstrap addresses have another cluster's id, the map follows. wasCut is poll.cut of the one
// before.
func (c *Cluster) runPoll(ctx context.Context, p *poll, wasCut bool) {
	defer close(p.done)
	reaching, cancel := c.reaching(ctx)
	defer cancel()
	way := c.Way()
	all := bootstrapOf(way.conf, c.Nodes(), 0)
	targets := all[:min(len(all), maxPolled)]
	heard, errs := make([]named, len(targets)), make([]error, len(targets))
	var asking sync.WaitGroup
	for i, t := range targets {
		asking.Go(func() { heard[i], errs[i] = c.hear(reaching, t) })
	}
	asking.Wait()
	if ctx.Err() != nil || way != c.Way() {
		return // the proxy stops, or a reload has come
	}
	pause, cut := strangerPause, 0
	for _, err := range errs {
		if IsRefusedLogin(err) {
			pause = refusedPause
		}
		if errors.Is(err, io.EOF) || errors.Is(err, ErrNeedsLogin) || errors.Is(err, syscall.ECONNRESET) {
			cut++
		}
	}
	p.until, p.cut = time.Now().Add(pause), 2*cut > len(all)
	if p.cut && wasCut && way.Method() == nil { // brokers that restart do it once
		c.mover.needsLogin(true)
	}
	have := map[string]int{}
	c.mu.Lock()
	for i, t := range targets {
		id := heard[i].brokers.ClusterID
		if s := c.identity.said[placeOf(t)]; errs[i] == nil && c.brokers.IsOther(id) && s.id == id && s.row >= s.needs(inARow, mixedInARow) {
			have[id]++
		}
	}
	c.mu.Unlock()
	for i := range heard {
		if id := heard[i].brokers.ClusterID; 2*have[id] > len(all) {
			p.most = id
			_ = c.learnNamed(heard[i])
			return
		}
	}
}

// hear asks a bootstrap address some times, until it refuses kproxy's login or is not of another cluster. It returns the last
// response, or the last error.
func (c *Cluster) hear(ctx context.Context, t upstream.Target) (n named, err error) {
	for range inARow {
		n, err = c.metadataOf(ctx, t)
		switch {
		case ctx.Err() != nil, IsRefusedLogin(err), err == nil && (n.way != c.Way() || !c.say(t, n.brokers.ClusterID)):
			return n, err
		}
		wait.Sleep(ctx, pollPause)
	}
	return n, err
}
