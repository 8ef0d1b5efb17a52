// Package recent keeps the last ten minutes of a running proxy's traffic: bytes by path and direction,
// requests and connections, of all listeners together and of each one.
//
// The type to know is [Sampler]. It reads the proxy's counts every [Interval], whether or not it is asked for them.
// It keeps [Points] samples of at most [MaxListeners] listeners: its memory has a bound.
package recent

import (
	"context"
	"sync"
	"time"

	"kproxy/proxy"
)

// The bounds of a Sampler: some 600 KB, if there are as many listeners.
const (
	Interval     = 5 * time.Second
	Points       = 120 // ten minutes
	MaxListeners = 100 // that are kept one by one; the others count in the sum of all
)

// Kind is a number of a sample.
type Kind int

// The kinds. Connections is a level; the others are amounts within the sample's interval.
const (
	UpCopied    Kind = iota // bytes to the brokers, from a buffer
	UpSpliced               // bytes to the brokers that only the kernel has seen
	DownCopied              // the same to the clients
	DownSpliced             //
	Requests                // that were read
	Connections             // that are open at the sample's end
	kinds
)

// sample has a number of each kind.
type sample [kinds]int64

// ring has the samples of one listener, or of all.
type ring [Points]sample

// Name names a listener.
type Name struct{ Cluster, Listener string }

// series is a listener's ring, and its counts at the last sample.
type series struct {
	ring   ring
	counts sample
	seen   int // the number of the last sample that had it
}

// Sampler keeps the last samples. It is safe for concurrent use.
type Sampler struct {
	stats func() proxy.Snapshot
	begin sync.Once
	ended sync.WaitGroup

	mu     sync.Mutex // guards the following
	taken  int        // samples so far; the first one is a base, and no point
	times  [Points]time.Time
	spans  [Points]time.Duration
	last   time.Time
	latest proxy.Snapshot
	all    ring
	each   map[Name]*series
	order  []Name // of the last sample: that of the configuration
	others int    // listeners without a series of their own
	rest   sample // their counts
}

// New returns a Sampler of a proxy's counts.
func New(stats func() proxy.Snapshot) *Sampler {
	return &Sampler{stats: stats, each: map[Name]*series{}}
}

// Start samples from now on, until ctx ends. Further calls do nothing.
func (s *Sampler) Start(ctx context.Context) {
	s.begin.Do(func() {
		s.sample(time.Now())
		s.ended.Go(func() { s.run(ctx) })
	})
}

// Wait waits for the end of what Start began.
func (s *Sampler) Wait() { s.ended.Wait() }

func (s *Sampler) run(ctx context.Context) {
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.sample(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// sample reads the counts once.
func (s *Sampler) sample(now time.Time) {
	stats := s.stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	at := (s.taken + Points - 1) % Points // of the point, if it is one
	var sum, rest sample
	before := s.others
	s.order, s.others = s.order[:0], 0
	for i := range stats.Clusters {
		c := &stats.Clusters[i]
		for j := range c.Listeners {
			counts := countsOf(&c.Listeners[j])
			if one := s.seriesOf(Name{c.Name, c.Listeners[j].Name}, &counts, before > 0); one != nil {
				sum.add(one.take(&counts, at, s.taken))
			} else {
				s.others++
				rest.add(counts)
			}
		}
	}
	if before > 0 {
		sum.add(rest.since(&s.rest, sample{}))
	}
	s.rest = rest
	for name, one := range s.each {
		if one.seen != s.taken {
			delete(s.each, name) // a reload has removed it
		}
	}
	if s.taken > 0 {
		s.all[at], s.times[at], s.spans[at] = sum, now, now.Sub(s.last)
	}
	s.latest, s.last = stats, now
	s.taken++
}

// seriesOf returns a listener's series, which may be new; nil: there are too many. A listener without one has
// counts from before its series if there were such listeners at the last sample.
func (s *Sampler) seriesOf(name Name, counts *sample, hadOthers bool) *series {
	one := s.each[name]
	if one == nil {
		if len(s.each) >= MaxListeners {
			return nil
		}
		one = &series{}
		if s.taken == 0 || hadOthers {
			one.counts = *counts
		}
		s.each[name] = one
	}
	s.order = append(s.order, name)
	return one
}

// take adds a point, and returns it.
func (s *series) take(counts *sample, at, taken int) sample {
	// Lower counts are those of a new listener that has the name of one that was removed.
	point := counts.since(&s.counts, *counts)
	s.ring[at], s.counts, s.seen = point, *counts, taken
	return point
}

// since returns the point between two readings of counts; where the first one is higher, the number of lower.
func (s *sample) since(before *sample, lower sample) sample {
	var point sample
	for k := range point {
		if point[k] = s[k] - before[k]; point[k] < 0 {
			point[k] = lower[k]
		}
	}
	point[Connections] = s[Connections]
	return point
}

func (s *sample) add(o sample) {
	for k := range s {
		s[k] += o[k]
	}
}

func countsOf(l *proxy.ListenerStats) sample {
	s := sample{UpCopied: l.Up.Copied, UpSpliced: l.Up.Spliced, DownCopied: l.Down.Copied, DownSpliced: l.Down.Spliced}
	for _, r := range l.Requests {
		s[Requests] += r.Count
	}
	for _, n := range l.Active {
		s[Connections] += n.Count
	}
	return s
}
