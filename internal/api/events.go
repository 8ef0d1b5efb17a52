package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"kproxy/internal/events"
	"kproxy/internal/logkey"
)

// Events is the body of /events.
type Events struct {
	Events []Event `json:"events"` // by id
	Next   uint64  `json:"next"`   // after, for the events that follow
}

// Event is a line of the log.
type Event struct {
	ID         uint64            `json:"id"` // consecutive in this process
	Time       time.Time         `json:"time"`
	Level      string            `json:"level"` // info, warn or error
	Message    string            `json:"message"`
	Attributes map[string]string `json:"attributes"` // the other keys of the line

	Repeats int        `json:"repeats,omitempty"` // ends of sessions like this one that followed
	Last    *time.Time `json:"last,omitempty"`    // of the last of them
}

func eventOf(e *events.Event) Event {
	shown := Event{ID: e.ID, Time: e.Time.UTC(), Level: strings.ToLower(e.Level.String()), Message: e.Message, Attributes: map[string]string{}}
	for _, a := range e.Attributes {
		shown.Attributes[a.Key] = a.Value
	}
	if shown.Repeats = e.Repeats; e.Repeats > 0 {
		shown.Last = timeOf(e.Last)
	}
	return shown
}

const (
	// maxStreams is how many clients may follow the events: the admin server has 32 connections.
	maxStreams = 8
	// writeTimeout is how long a client that follows the events may take for some of them.
	writeTimeout = 10 * time.Second
	// accessFor is how long a client that may read is believed to.
	accessFor = time.Second
	// beat is the time between two lines that keep the connection of a silent stream.
	beat = 15 * time.Second
)

// selection is a request for events.
type selection struct {
	after  uint64
	level  slog.Level
	equals map[string]string // keys of the line
}

// selectable are the keys of a line by which events are selected.
var selectable = []string{logkey.Cluster, logkey.Listener, logkey.Reason}

func parseSelection(values url.Values) (s selection, problem *Problem) {
	s = selection{level: slog.LevelInfo, equals: map[string]string{}}
	for name, value := range values {
		switch name {
		case "after":
			after, err := parseID(value[0])
			if err != nil {
				return s, &Problem{"after: it is no id", "write the number of next, or leave it out"}
			}
			s.after = after
		case "level":
			switch value[0] {
			case "info", "warn", "error":
				_ = s.level.UnmarshalText([]byte(value[0])) // it is one
			default:
				return s, &Problem{"level: there is no such level", "write info, warn or error"}
			}
		case logkey.Cluster, logkey.Listener, logkey.Reason:
			s.equals[name] = value[0]
		default:
			return s, &Problem{clean(name) + ": there is no such parameter", "write one of after, level, " + strings.Join(selectable, ", ")}
		}
	}
	return s, nil
}

func (s *selection) admits(e *events.Event) bool {
	if e.Level < s.level {
		return false
	}
	for key, value := range s.equals {
		if e.Get(key) != value {
			return false
		}
	}
	return true
}

// eventLog serves /events.
type eventLog struct {
	ring    *events.Ring
	streams atomic.Int32
}

// ServeHTTP responds with the events that are kept, or, to a client that accepts text/event-stream, with
// these and all that follow.
func (l *eventLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	values, ok := queryOf(w, r)
	if !ok {
		return
	}
	s, problem := parseSelection(values)
	if problem != nil {
		write(w, http.StatusBadRequest, problem)
		return
	}
	if wantsStream(r) {
		l.follow(w, r, s)
		return
	}
	kept, last, _ := l.ring.Since(s.after)
	body := Events{Events: []Event{}, Next: last}
	for i := range kept {
		if s.admits(&kept[i]) {
			body.Events = append(body.Events, eventOf(&kept[i]))
		}
	}
	write(w, http.StatusOK, body)
}

const streamType = "text/event-stream"

// wantsStream reports whether a client accepts a stream.
func wantsStream(r *http.Request) bool {
	for kind := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		kind, _, _ = strings.Cut(kind, ";")
		if strings.EqualFold(strings.TrimSpace(kind), streamType) {
			return true
		}
	}
	return false
}

// follow sends events until the client leaves, does not read, or the server stops. A client that comes
// back says which event it has had last.
func (l *eventLog) follow(w http.ResponseWriter, r *http.Request, s selection) {
	if l.streams.Add(1) > maxStreams {
		l.streams.Add(-1)
		write(w, http.StatusServiceUnavailable, Problem{"too many clients follow the events", "end one of them; 8 may"})
		return
	}
	defer l.streams.Add(-1)
	if last, err := parseID(r.Header.Get("Last-Event-ID")); err == nil {
		s.after = last
	}
	w.Header().Set("Content-Type", streamType)
	if r.Method == http.MethodHead {
		return // or it would wait for a body that has no end
	}
	stream := stream{w, http.NewResponseController(w)}
	alive := time.NewTicker(beat)
	defer alive.Stop()
	text := ": events follow\n\n"
	for asked := time.Now(); ; {
		if time.Since(asked) >= accessFor {
			if !mayRead(r.Context()) {
				return
			}
			asked = time.Now()
		}
		if stream.send(text) != nil {
			return
		}
		kept, last, added := l.ring.Since(s.after)
		if s.after > last {
			s.after = 0 // none of this process was missed
		}
		text = s.text(kept)
		if s.after = last; len(kept) > 0 {
			continue
		}
		select {
		case <-added:
		case <-alive.C:
			text = ": nothing new\n\n"
		case <-r.Context().Done():
			return
		case <-stopping(r.Context()):
			return
		}
	}
}

// text returns the selected events as they are sent. Ids that are missing were not kept.
func (s *selection) text(kept []events.Event) string {
	var b strings.Builder
	if n := len(kept); n > 0 && s.after > 0 {
		if missed := kept[n-1].ID - s.after - uint64(n); missed > 0 {
			fmt.Fprintf(&b, "event: missed\ndata: {\"events\":%d}\n\n", missed)
		}
	}
	for i := range kept {
		if s.admits(&kept[i]) {
			line, _ := json.Marshal(eventOf(&kept[i])) // texts and numbers
			fmt.Fprintf(&b, "id: %d\ndata: %s\n\n", kept[i].ID, line)
		}
	}
	return b.String()
}

// stream is a response that is sent in parts.
type stream struct {
	w          http.ResponseWriter
	controller *http.ResponseController
}

func (s *stream) send(text string) error {
	if text == "" {
		return nil
	}
	if err := s.controller.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.controller.Flush()
}

type accessKey struct{}

// WithAccess returns a context for a request whose client has access as long as has returns true: a
// stream outlives a log-in, and a token.
func WithAccess(ctx context.Context, has func() bool) context.Context {
	return context.WithValue(ctx, accessKey{}, has)
}

func mayRead(ctx context.Context) bool {
	has, limited := ctx.Value(accessKey{}).(func() bool)
	return !limited || has()
}

type stoppingKey struct{}

// WithStop returns a context for the requests of a server whose streams have to end when stop is closed:
// a server that shuts down waits for its responses.
func WithStop(ctx context.Context, stop <-chan struct{}) context.Context {
	return context.WithValue(ctx, stoppingKey{}, stop)
}

func stopping(ctx context.Context) <-chan struct{} {
	stop, _ := ctx.Value(stoppingKey{}).(<-chan struct{})
	return stop
}
