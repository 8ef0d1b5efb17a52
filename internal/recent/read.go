package recent

import (
	"time"

	"kproxy/proxy"
)

// Window has the samples that are kept, the oldest first.
type Window struct {
	Times     []time.Time     // the end of each sample
	Spans     []time.Duration // the time that each one is about
	All       Series          // of all listeners together
	Listeners []Listener      // in the order of the configuration
	LeftOut   int             // listeners that are not in Listeners
}

// Listener has the samples of one listener. Before it was there, they are 0.
type Listener struct {
	Name

	Series Series
}

// Series has the numbers of each kind, one for each of Window.Times.
type Series [kinds][]int64

// Window returns the samples, and those of the listeners that a function admits, the first most of them.
func (s *Sampler) Window(most int, admits func(Name) bool) Window {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(max(s.taken-1, 0), Points)
	first := (s.taken - 1 - n + Points) % Points
	w := Window{Times: make([]time.Time, n), Spans: make([]time.Duration, n), LeftOut: s.others, All: s.all.from(first, n), Listeners: []Listener{}}
	for i := range n {
		w.Times[i], w.Spans[i] = s.times[(first+i)%Points], s.spans[(first+i)%Points]
	}
	for _, name := range s.order {
		switch {
		case !admits(name):
		case len(w.Listeners) == most:
			w.LeftOut++
		default:
			w.Listeners = append(w.Listeners, Listener{name, s.each[name].ring.from(first, n)})
		}
	}
	return w
}

// from returns n samples from an index on.
func (r *ring) from(first, n int) Series {
	var s Series
	for k := range s {
		s[k] = make([]int64, n)
		for i := range n {
			s[k][i] = r[(first+i)%Points][k]
		}
	}
	return s
}

// Latest returns the proxy's counts at the last sample, and its time. The caller changes nothing in it.
func (s *Sampler) Latest() (proxy.Snapshot, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest, s.last
}
