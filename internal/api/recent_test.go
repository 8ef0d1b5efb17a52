package api_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kproxy/internal/api"
	"kproxy/internal/recent"
	"kproxy/proxy"
)

// someRecent has three samples of two listeners.
func someRecent(t *testing.T) *recent.Sampler {
	t.Helper()
	var s *recent.Sampler
	n := int64(0)
	synctest.Test(t, func(t *testing.T) {
		s = recent.New(func() proxy.Snapshot {
			n += 100
			at := proxy.ListenerStats{Name: "bob", Up: proxy.Direction{Copied: n}, Down: proxy.Direction{Spliced: 2 * n}, Active: []proxy.NodeCount{{Node: 1, Count: 4}}}
			other := at
			other.Name = "alice"
			return proxy.Snapshot{Clusters: []proxy.ClusterStats{{Name: "orders", Listeners: []proxy.ListenerStats{at, other}}}}
		})
		ctx, cancel := context.WithCancel(t.Context())
		s.Start(ctx)
		time.Sleep(3*recent.Interval + 1) //nolint:forbidigo // the bubble's own time
		cancel()
		s.Wait()
	})
	return s
}

func TestRecent(t *testing.T) {
	t.Parallel()
	a := newTester(t, api.Parts{Recent: someRecent(t)})
	for query, want := range map[string]struct {
		listeners []string
		left      int
	}{
		"":                               {[]string{"bob", "alice"}, 0},
		"limit=1":                        {[]string{"bob"}, 1},
		"limit=0":                        {nil, 2},
		"listener=alice":                 {[]string{"alice"}, 0},
		"cluster=orders&listener=alice":  {[]string{"alice"}, 0},
		"cluster=nothing&listener=alice": {nil, 0},
	} {
		var got api.Recent
		a.ask(http.MethodGet, "/recent?"+query, false, &got)
		var names []string
		for _, l := range got.Listeners {
			names = append(names, l.Listener)
			if !slices.Equal(l.UpCopied, []int64{100, 100, 100}) || !slices.Equal(l.DownSpliced, []int64{200, 200, 200}) || !slices.Equal(l.Connections, []int64{4, 4, 4}) {
				t.Errorf("%s: %+v", query, l)
			}
		}
		if !slices.Equal(names, want.listeners) || got.LeftOut != want.left {
			t.Errorf("%s: %v, %d left out, want %+v", query, names, got.LeftOut, want)
		}
		if !slices.Equal(got.All.UpCopied, []int64{200, 200, 200}) || !slices.Equal(got.Seconds, []float64{5, 5, 5}) || len(got.Times) != 3 {
			t.Errorf("%s: %+v", query, got)
		}
	}
}
