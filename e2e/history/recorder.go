package history

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// DefaultLimit is about 300 MB of events.
const DefaultLimit = 1 << 20

// Recorder takes the events of all clients. It may be used by many goroutines.
//
// A client records an invocation before the call and a completion after its return.
// So an operation happened at some time between the two, whatever the recorder's lock
// and the scheduler do.
type Recorder struct {
	began time.Time
	limit int

	mu      sync.Mutex // guards the following
	cost    int
	events  []Event
	dropped int
}

// NewRecorder returns a recorder of at most limit events; a poll of many records
// counts as several. 0 is DefaultLimit.
func NewRecorder(limit int) *Recorder {
	return &Recorder{began: time.Now(), limit: cmp.Or(limit, DefaultLimit)}
}

// Now is the time since the history began.
func (r *Recorder) Now() time.Duration { return time.Since(r.began) }

// Add records an event that happens now.
func (r *Recorder) Add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.At = r.Now()
	r.add(e)
}

// AddAt records an event that has its own time, such as one of another process.
func (r *Recorder) AddAt(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(e)
}

func (r *Recorder) add(e Event) {
	if r.cost += e.cost(); r.cost > r.limit {
		r.dropped++
		return
	}
	r.events = append(r.events, e)
}

// Room reports whether a producer may go on. It may fill a quarter of the recorder:
// each record is read several times.
func (r *Recorder) Room() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cost < r.limit/4
}

// History returns the events until now.
func (r *Recorder) History() History {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := slices.Clone(r.events)
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	return History{Events: events, Dropped: r.dropped}
}
