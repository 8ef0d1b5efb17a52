// Package events keeps the last events of a running kproxy: the lines of its log from level info on,
// whatever level the log itself has. Sessions' ends, moved nodes, reloads and warnings are such lines.
//
// The type to know is [Ring]. It holds a bounded number of events of bounded size. A reader that is slower
// than the events come misses some, and is told so by their numbers.
package events

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kproxy/internal/foreign"
)

// Bounds of a Ring: some 3 MB, if every event is as large as it may be.
const (
	mostInfo     = 1000 // events below level warn
	mostProblems = 500  // the others: sessions that end as they should do not push them out

	maxAttrs = 24
	maxText  = 300 // characters of a text
)

// Event is one line of the log.
type Event struct {
	ID         uint64 // consecutive, from 1
	Time       time.Time
	Level      slog.Level
	Message    string
	Attributes []Attribute // in the line's order
}

// Attribute is a key of the line, and its value as text.
type Attribute struct{ Key, Value string }

// Get returns the value of a key; "" if there is none.
func (e *Event) Get(key string) string {
	for _, a := range e.Attributes {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

// Ring keeps the last events. It is safe for concurrent use.
type Ring struct {
	off atomic.Bool

	mu             sync.Mutex    // guards the following
	info, problems []Event       // by id
	last           uint64        // id of the youngest
	added          chan struct{} // closed when one is added; nil: none waits
}

// Keep says whether events are kept from now on; without a call they are.
func (r *Ring) Keep(keep bool) { r.off.Store(!keep) }

// add keeps an event, with the next id.
func (r *Ring) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	e.ID = r.last
	if e.Level < slog.LevelWarn {
		r.info = appendTo(r.info, e, mostInfo)
	} else {
		r.problems = appendTo(r.problems, e, mostProblems)
	}
	if r.added != nil {
		close(r.added)
		r.added = nil
	}
}

// appendTo adds an event, in place of the oldest if there are as many as there may be.
func appendTo(kept []Event, e Event, most int) []Event {
	if len(kept) == most {
		kept[0] = Event{} // the array lives on until append needs another
		kept = kept[1:]
	}
	return append(kept, e)
}

// Since returns the events with higher ids than one, by id, and the last id that was given. All events have
// higher ids than one that was not given yet: it is of a process before this one. added is closed when there
// is a further event.
func (r *Ring) Since(id uint64) (all []Event, last uint64, added <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id > r.last {
		id = 0
	}
	if r.added == nil {
		r.added = make(chan struct{})
	}
	all = append(behind(r.info, id), behind(r.problems, id)...)
	slices.SortFunc(all, func(a, b Event) int { return cmp.Compare(a.ID, b.ID) })
	return all, r.last, r.added
}

// behind returns a copy of the events with higher ids.
func behind(kept []Event, id uint64) []Event {
	i, _ := slices.BinarySearchFunc(kept, id, func(e Event, id uint64) int {
		if e.ID <= id {
			return -1
		}
		return 1
	})
	return slices.Clone(kept[i:])
}

// Handler returns a handler that keeps events, and has next write the lines that it wants.
func (r *Ring) Handler(next slog.Handler) slog.Handler { return &handler{ring: r, next: next} }

type handler struct {
	ring  *Ring
	next  slog.Handler
	attrs []Attribute
	group string // with a dot behind it
}

func (h *handler) keeps(level slog.Level) bool {
	return level >= slog.LevelInfo && !h.ring.off.Load()
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.keeps(level) || h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, line slog.Record) error {
	if h.keeps(line.Level) {
		e := Event{Time: line.Time, Level: line.Level, Message: foreign.LineOf(line.Message, maxText), Attributes: slices.Clone(h.attrs)}
		line.Attrs(func(a slog.Attr) bool {
			e.Attributes = h.append(e.Attributes, a)
			return len(e.Attributes) < maxAttrs
		})
		h.ring.add(e)
	}
	if !h.next.Enabled(ctx, line.Level) {
		return nil
	}
	return h.next.Handle(ctx, line)
}

func (h *handler) append(to []Attribute, a slog.Attr) []Attribute {
	return append(to, Attribute{h.group + a.Key, foreign.LineOf(a.Value.Resolve().String(), maxText)})
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := &handler{h.ring, h.next.WithAttrs(attrs), slices.Clone(h.attrs), h.group}
	for _, a := range attrs {
		if len(with.attrs) < maxAttrs {
			with.attrs = h.append(with.attrs, a)
		}
	}
	return with
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.ring, h.next.WithGroup(name), h.attrs, h.group + name + "."}
}
