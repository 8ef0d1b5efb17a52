package api

import (
	"net/http"
	"strconv"
	"time"

	"kproxy/internal/recent"
)

// Recent is the body of /recent.
type Recent struct {
	Times     []time.Time      `json:"times"`   // the end of each sample, the oldest first
	Seconds   []float64        `json:"seconds"` // that each one is about
	All       Series           `json:"all"`     // of all listeners together
	Listeners []ListenerSeries `json:"listeners"`
	LeftOut   int              `json:"left_out,omitempty"` // listeners that are not in the list
}

// ListenerSeries has the samples of one listener.
type ListenerSeries struct {
	Cluster  string `json:"cluster"`
	Listener string `json:"listener"`
	Series
}

// Series has one number for each sample. Connections is a level; the others are amounts within its time.
type Series struct {
	UpCopied    []int64 `json:"bytes_up_copied"` // to the brokers, through a buffer
	UpSpliced   []int64 `json:"bytes_up_spliced"`
	DownCopied  []int64 `json:"bytes_down_copied"` // to the clients
	DownSpliced []int64 `json:"bytes_down_spliced"`
	Requests    []int64 `json:"requests"`
	Connections []int64 `json:"connections"` // open at the sample's end
}

func seriesOf(s *recent.Series) Series {
	return Series{
		UpCopied: s[recent.UpCopied], UpSpliced: s[recent.UpSpliced],
		DownCopied: s[recent.DownCopied], DownSpliced: s[recent.DownSpliced],
		Requests: s[recent.Requests], Connections: s[recent.Connections],
	}
}

// samples serves /recent.
type samples struct{ sampler *recent.Sampler }

// ServeHTTP responds with the samples of the last ten minutes. ?cluster= and ?listener= select listeners,
// ?limit= is the most of them.
func (s samples) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query, ok := queryOf(w, r)
	if !ok {
		return
	}
	limit := recent.MaxListeners
	for name, values := range query {
		switch name {
		case "cluster", "listener":
		case "limit":
			n, err := strconv.Atoi(values[0])
			if err != nil || n < 0 || n > recent.MaxListeners {
				write(w, http.StatusBadRequest, Problem{"limit: it is no number from 0 to 100", "write limit=10"})
				return
			}
			limit = n
		default:
			write(w, http.StatusBadRequest, Problem{clean(name) + ": there is no such parameter", "write one of cluster, limit, listener"})
			return
		}
	}
	selects := func(key, name string) bool { return !query.Has(key) || query.Get(key) == name }
	window := s.sampler.Window(limit, func(n recent.Name) bool {
		return selects("cluster", n.Cluster) && selects("listener", n.Listener)
	})
	body := Recent{Times: window.Times, Seconds: make([]float64, len(window.Spans)), All: seriesOf(&window.All), Listeners: []ListenerSeries{}, LeftOut: window.LeftOut}
	for i, span := range window.Spans {
		body.Seconds[i], body.Times[i] = span.Seconds(), body.Times[i].UTC()
	}
	for i := range window.Listeners {
		l := &window.Listeners[i]
		body.Listeners = append(body.Listeners, ListenerSeries{l.Cluster, l.Listener, seriesOf(&l.Series)})
	}
	write(w, http.StatusOK, body)
}
