package recent

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kproxy/proxy"
)

// counts has a cluster with listeners, each of which has moved some bytes.
func counts(bytes ...int64) proxy.Snapshot {
	c := proxy.ClusterStats{Name: "c"}
	for i, n := range bytes {
		c.Listeners = append(c.Listeners, proxy.ListenerStats{
			Name: fmt.Sprintf("l%d", i), Up: proxy.Direction{Copied: n, Spliced: 2 * n}, Down: proxy.Direction{Copied: 3 * n, Spliced: 4 * n},
			Active:   []proxy.NodeCount{{Node: proxy.NoNode, Count: 2}, {Node: 7, Count: 1}},
			Requests: []proxy.RequestCount{{Key: 0, Count: n}, {Key: 1, Count: n}},
		})
	}
	return proxy.Snapshot{Clusters: []proxy.ClusterStats{c}}
}

func everything(Name) bool { return true }

// A sample has the amounts since the one before; the newest ten minutes are kept, in order.
func TestSamples(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := int64(100)
		s := New(func() proxy.Snapshot { n += n / 10; return counts(n) })
		ctx, cancel := context.WithCancel(t.Context())
		defer s.Wait()
		defer cancel()
		s.Start(ctx)
		s.Start(ctx)
		if w := s.Window(1, everything); len(w.Times) != 0 || len(w.All[UpCopied]) != 0 {
			t.Errorf("before the first interval: %+v", w)
		}
		want := []int64{11, 12, 13, 14}
		time.Sleep(4*Interval + 1) //nolint:forbidigo // of the bubble
		w := s.Window(1, everything)
		if got := w.All[UpCopied]; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		one := w.Listeners[0].Series
		for i, up := range want {
			got := sample{one[UpCopied][i], one[UpSpliced][i], one[DownCopied][i], one[DownSpliced][i], one[Requests][i], one[Connections][i]}
			if got != (sample{up, 2 * up, 3 * up, 4 * up, 2 * up, 3}) {
				t.Errorf("sample %d: %v", i, got)
			}
			if w.Spans[i] != Interval {
				t.Errorf("span %d: %v", i, w.Spans[i])
			}
		}
		time.Sleep(3 * Points / 2 * Interval) //nolint:forbidigo // of the bubble
		w = s.Window(1, everything)
		if len(w.Times) != Points || !slices.IsSortedFunc(w.Times, time.Time.Compare) || time.Since(w.Times[Points-1]) > Interval {
			t.Errorf("%d samples, from %v to %v", len(w.Times), w.Times[0], w.Times[len(w.Times)-1])
		}
		if !slices.IsSorted(w.All[UpCopied]) {
			t.Errorf("not in order: %v", w.All[UpCopied])
		}
		if _, at := s.Latest(); at != w.Times[Points-1] {
			t.Errorf("the latest is of %v", at)
		}
	})
}

// take has a sampler take samples of these counts.
func take(each ...proxy.Snapshot) *Sampler {
	i := 0
	s := New(func() proxy.Snapshot { return each[i] })
	for ; i < len(each); i++ {
		s.sample(time.Unix(int64(5*i), 0))
	}
	return s
}

// Listeners come and go, and those of one name may be two: no point is below 0, and none jumps.
func TestListenersChange(t *testing.T) {
	t.Parallel()
	s := take(counts(1000), counts(1010, 5), counts(1020), counts(3, 9))
	w := s.Window(10, everything)
	if got, want := w.All[UpCopied], []int64{15, 10, 12}; !slices.Equal(got, want) {
		t.Errorf("all: got %v, want %v", got, want)
	}
	if got, want := w.Listeners[0].Series[UpCopied], []int64{10, 10, 3}; !slices.Equal(got, want) {
		t.Errorf("l0: got %v, want %v", got, want)
	}
	if got, want := w.Listeners[1].Series[UpCopied], []int64{0, 0, 9}; !slices.Equal(got, want) {
		t.Errorf("l1: got %v, want %v", got, want)
	}
}

// However many listeners there are, a bounded number is kept one by one. The others count in the sum.
func TestMemoryIsBounded(t *testing.T) {
	const many = 3000
	with := func(n int64) proxy.Snapshot {
		all := make([]int64, many)
		for i := range all {
			all[i] = n
		}
		return counts(all...)
	}
	each := []proxy.Snapshot{with(10), with(11), with(13)}
	s := take(each...)
	if len(s.each) != MaxListeners || len(s.order) != MaxListeners || s.others != many-MaxListeners {
		t.Errorf("%d series, %d in order, %d others", len(s.each), len(s.order), s.others)
	}
	w := s.Window(3, everything)
	if got, want := w.All[UpCopied], []int64{many, 2 * many}; !slices.Equal(got, want) {
		t.Errorf("all: got %v, want %v", got, want)
	}
	if len(w.Listeners) != 3 || w.LeftOut != many-3 || w.All[Connections][1] != 3*many {
		t.Errorf("%d listeners, %d left out, %v connections", len(w.Listeners), w.LeftOut, w.All[Connections])
	}
	last := each[2]
	s.stats = func() proxy.Snapshot { return last }
	if n := testing.AllocsPerRun(2*Points, func() { s.sample(time.Unix(20, 0)) }); n > 0 {
		t.Errorf("a further sample allocates %v times", n)
	}
	// One that gets a series later has moved its bytes before.
	few := with(13)
	few.Clusters[0].Listeners = few.Clusters[0].Listeners[many-MaxListeners:]
	s.stats = func() proxy.Snapshot { return few }
	s.sample(time.Unix(25, 0))
	s.sample(time.Unix(30, 0))
	if w := s.Window(MaxListeners, everything); w.All[UpCopied][len(w.Times)-1] != 0 || w.All[UpCopied][len(w.Times)-2] != 0 || len(w.Listeners) != MaxListeners {
		t.Errorf("%v; %d listeners", w.All[UpCopied], len(w.Listeners))
	}
}
