// Package events keeps the last events of a running kproxy: the lines of its log from level info on,
// whatever level the log itself has. Sessions' ends, moved nodes, reloads and warnings are such lines.
//
// The type to know is [Ring]. It holds a bounded number of events of bounded size. A reader that is slower
// than the events come misses some, and is told so by their numbers.
//
// Ends of sessions that differ only in their times and the client's port are one event for a while: a
// health check each second would push out all others.
package events

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kproxy/internal/foreign"
	"kproxy/internal/logkey"
)

// Bounds of a Ring: some 6 MB, if every event is as large as it may be.
const (
	mostInfo     = 1000 // events below level warn
	mostProblems = 500  // the others: sessions that end as they should do not push them out

	maxAttrs = 24
	maxText  = 300 // characters of a text
)

// repeatTime is how long after an event its repeats are counted with it: ends that go on have a new event now
// and then.
const repeatTime = 10 * time.Minute

// Event is one line of the log.
type Event struct {
	ID         uint64 // consecutive, from 1
	Time       time.Time
	Level      slog.Level
	Message    string
	Attributes []Attribute // in the line's order

	Repeats int       // ends of sessions like this one that followed, and are no events of their own
	Last    time.Time // of the last of them; Time if there is none
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

	mu             sync.Mutex       // guards the following
	info, problems []*kept          // by id
	kinds          map[string]*kept // the youngest of each kind
	last           uint64           // id of the youngest
	added          chan struct{}    // closed when one is added; nil: none waits
}

// kept is an event with its kind, which its repeats have, too; "": it is never repeated.
type kept struct {
	Event

	kind string
}

// Keep says whether events are kept from now on; without a call they are.
func (r *Ring) Keep(keep bool) { r.off.Store(!keep) }

// add keeps an event, with the next id, or counts it as a repeat of another.
func (r *Ring) add(e Event, kind []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if had := r.kinds[string(kind)]; had != nil && e.Time.Sub(had.Time) < repeatTime {
		had.repeat(&e)
		return
	}
	r.last++
	e.ID, e.Last = r.last, e.Time
	one := &kept{e, string(kind)}
	if e.Level < slog.LevelWarn {
		r.info = r.appendTo(r.info, one, mostInfo)
	} else {
		r.problems = r.appendTo(r.problems, one, mostProblems)
	}
	if one.kind != "" {
		if r.kinds == nil {
			r.kinds = map[string]*kept{}
		}
		r.kinds[one.kind] = one
	}
	if r.added != nil {
		close(r.added)
		r.added = nil
	}
}

// appendTo adds an event, in place of the oldest if there are as many as there may be.
func (r *Ring) appendTo(to []*kept, one *kept, most int) []*kept {
	if len(to) == most {
		if oldest := to[0]; r.kinds[oldest.kind] == oldest {
			delete(r.kinds, oldest.kind)
		}
		to[0] = nil // the array lives on until append needs another
		to = to[1:]
	}
	return append(to, one)
}

// repeat counts an event that is like k. The sessions that a line stands for are added up.
func (k *kept) repeat(e *Event) {
	k.Repeats++
	k.Last = e.Time
	number := e.Get(logkey.Connections)
	if number == "" {
		return
	}
	more, _ := strconv.Atoi(number)           // of kproxy itself
	k.Attributes = slices.Clone(k.Attributes) // readers have the others
	for i := range k.Attributes {
		if a := &k.Attributes[i]; a.Key == logkey.Connections {
			had, _ := strconv.Atoi(a.Value) // a number of an equal line
			a.Value = strconv.Itoa(had + more)
		}
	}
}

// appendKind appends the kind of an end of a session, which its repeats have, too: everything but its times,
// the client's port, and the number of sessions of a line that stands for several. It appends nothing if e is
// no end of a session.
func appendKind(to []byte, e *Event) []byte {
	if e.Get(logkey.Reason) == "" {
		return to
	}
	client := e.Get(logkey.Client)
	host, _, err := net.SplitHostPort(client)
	to = strconv.AppendInt(to, int64(e.Level), 10)
	to = append(append(to, ' '), e.Message...)
	for _, a := range e.Attributes {
		switch a.Key {
		case logkey.Duration, logkey.Idle, logkey.Connections:
			continue
		}
		to = append(append(append(to, 0), a.Key...), '=')
		rest := a.Value
		for err == nil { // an error may name both ends of a connection
			before, after, found := strings.Cut(rest, client)
			if !found {
				break
			}
			to = append(append(to, before...), host...)
			rest = after
		}
		to = append(to, rest...)
	}
	return to
}

// Since returns the events with higher ids than one, by id (a repeat has no id), and the last id that was given. All events have
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
func behind(all []*kept, id uint64) []Event {
	i, _ := slices.BinarySearchFunc(all, id, func(k *kept, id uint64) int {
		if k.ID <= id {
			return -1
		}
		return 1
	})
	some := make([]Event, 0, len(all)-i)
	for _, k := range all[i:] {
		some = append(some, k.Event)
	}
	return some
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
		e := Event{Time: line.Time, Level: line.Level, Message: foreign.LineOf(line.Message, maxText)}
		e.Attributes = append(make([]Attribute, 0, min(len(h.attrs)+line.NumAttrs(), maxAttrs)), h.attrs...)
		line.Attrs(func(a slog.Attr) bool {
			e.Attributes = h.append(e.Attributes, a)
			return len(e.Attributes) < maxAttrs
		})
		var space [512]byte // as much as most kinds need
		h.ring.add(e, appendKind(space[:0], &e))
	}
	if !h.next.Enabled(ctx, line.Level) {
		return nil
	}
	return h.next.Handle(ctx, line)
}

func (h *handler) append(to []Attribute, a slog.Attr) []Attribute {
	value := a.Value.Resolve()
	text := value.String()
	switch value.Kind() {
	case slog.KindBool, slog.KindDuration, slog.KindFloat64, slog.KindInt64, slog.KindTime, slog.KindUint64:
	default:
		text = foreign.LineOf(text, maxText)
	}
	return append(to, Attribute{h.group + a.Key, text})
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
