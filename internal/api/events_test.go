package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kproxy/internal/api"
	"kproxy/internal/events"
	"kproxy/internal/logkey"
)

// levels are Levels.
type levels struct {
	level string
	until time.Time
	lasts time.Duration
}

func (l *levels) Level() (string, time.Time) { return l.level, l.until }

func (l *levels) SetLevel(level string, lasts time.Duration) bool {
	if level == "loud" {
		return false
	}
	l.level, l.until, l.lasts = level, time.Now().Add(lasts), lasts
	return true
}

func checkLevels(t *testing.T, a *tester) {
	t.Helper()
	for _, c := range []struct {
		body    string
		status  int
		invalid bool
	}{
		{`{"level": "debug"}`, http.StatusOK, false},
		{`{"level": "warn", "for_seconds": 86400}`, http.StatusOK, false},
		{`{"level": "loud"}`, http.StatusBadRequest, true},
		{`{"level": "info", "for_seconds": null}`, http.StatusBadRequest, true},
		{`{"level": null}`, http.StatusBadRequest, true},
		{`{"level": "info", "for_seconds": -1}`, http.StatusBadRequest, true},
		{`{"level": "info", "for_seconds": 1e300}`, http.StatusBadRequest, true},
		{`{"level": "info", "for_second": 1}`, http.StatusBadRequest, true},
		{`{"level": "info", "until": "2030-01-01T00:00:00Z"}`, http.StatusBadRequest, true},
		{`{"level": `, http.StatusBadRequest, true},
		{`{"level": "` + strings.Repeat("x", 10_000) + `"}`, http.StatusBadRequest, true},
	} {
		var got api.LogLevel
		if status := a.send(http.MethodPut, "/log-level", c.body, c.invalid, &got); status != c.status || status == http.StatusOK && got.Until == nil {
			t.Errorf("%.60s: %d %+v, want %d", c.body, status, got, c.status)
		}
	}
}

// The default of a changed level's time is ten minutes.
func TestLevelsHaveATime(t *testing.T) {
	t.Parallel()
	l := &levels{level: "info"}
	a := newTester(t, api.Parts{Source: some(), Levels: l})
	if a.send(http.MethodPut, "/log-level", `{"level": "debug"}`, false, nil); l.lasts != 10*time.Minute || l.level != "debug" {
		t.Errorf("%+v", l)
	}
	if a.send(http.MethodPut, "/log-level", `{"level": "warn", "for_seconds": 0.5}`, false, nil); l.lasts != 500*time.Millisecond {
		t.Errorf("%+v", l)
	}
	if a.send(http.MethodPut, "/log-level", `{"level": "warn", "for_seconds": 1e-12}`, false, nil); l.lasts != 0 {
		t.Errorf("less than a nanosecond is %v", l.lasts)
	}
}

// logged returns a ring, and a logger for it.
func logged() (*events.Ring, *slog.Logger) {
	ring := new(events.Ring)
	return ring, slog.New(ring.Handler(slog.DiscardHandler))
}

func TestEventsAreSelected(t *testing.T) {
	t.Parallel()
	ring, log := logged()
	a := newTester(t, api.Parts{Source: some(), Events: ring})
	log.Info("session closed", logkey.Cluster, "orders", logkey.Listener, "bob", logkey.Reason, "client_closed")
	log.Warn("session closed", logkey.Cluster, "orders", logkey.Listener, "fred", logkey.Reason, "dial_failed", logkey.Fix, "look\x1b")
	log.Error("lost", logkey.Cluster, "bills")
	for range 3 {
		log.Info("session closed", logkey.Cluster, "orders", logkey.Listener, "bob", logkey.Reason, "client_closed")
	}
	for query, want := range map[string]string{
		"":                                  "1 2 3",
		"after=1":                           "2 3",
		"after=3":                           "",
		"level=warn":                        "2 3",
		"level=error":                       "3",
		"cluster=orders":                    "1 2",
		"cluster=orders&listener=bob":       "1",
		"reason=dial_failed":                "2",
		"reason=dial_failed&cluster=bills":  "",
		"after=1&level=info&cluster=orders": "2",
	} {
		var got api.Events
		a.ask(http.MethodGet, "/events?"+query, false, &got)
		var ids []string
		for _, e := range got.Events {
			ids = append(ids, fmt.Sprint(e.ID))
		}
		if strings.Join(ids, " ") != want || got.Next != 3 {
			t.Errorf("%s: events %v, next %d, want %s", query, ids, got.Next, want)
		}
	}
	var got api.Events
	a.ask(http.MethodGet, "/events?after=1&level=warn", false, &got)
	if e := got.Events[0]; e.Level != "warn" || e.Message != "session closed" || e.Attributes["fix"] != `look\x1b` || e.Time.IsZero() || e.Repeats != 0 || e.Last != nil {
		t.Errorf("%+v", e)
	}
	a.ask(http.MethodGet, "/events", false, &got)
	if e := got.Events[0]; e.Repeats != 3 || e.Last == nil || e.Last.Before(e.Time) {
		t.Errorf("%+v", e)
	}
}

// follower is a client that follows the events.
type follower struct {
	*testing.T

	resp  *http.Response
	lines *bufio.Scanner
}

func follow(t *testing.T, at, query string, headers ...string) *follower {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+api.Prefix+"/events?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return &follower{t, resp, bufio.NewScanner(resp.Body)}
}

// next returns the next event, or the number of those that were missed.
func (f *follower) next() (e api.Event, missed int) {
	f.Helper()
	kind := ""
	for f.lines.Scan() {
		line := f.lines.Text()
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			kind = name
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		if kind == "missed" {
			var m struct{ Events int }
			if err := json.Unmarshal([]byte(data), &m); err != nil {
				f.Fatal(err)
			}
			return e, m.Events
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			f.Fatal(err)
		}
		return e, 0
	}
	f.Fatalf("the stream has ended: %v", f.lines.Err())
	return e, 0
}

// A stream has the events that are kept, and those that follow. A client that comes back goes on where it
// was, and gets the number of those that are no longer kept.
func TestEventsAreFollowed(t *testing.T) {
	t.Parallel()
	ring, log := logged()
	server := httptest.NewServer(api.New(api.Parts{Events: ring}))
	t.Cleanup(server.Close)
	log.Info("first")
	f := follow(t, server.URL, "level=warn")
	log.Info("second")
	log.Warn("third")
	if e, _ := f.next(); e.ID != 3 || e.Message != "third" {
		t.Errorf("%+v", e)
	}
	log.Error("fourth")
	if e, _ := f.next(); e.ID != 4 || e.Level != "error" {
		t.Errorf("%+v", e)
	}
	for range 1500 {
		log.Info("more")
	}
	again := follow(t, server.URL, "", "Last-Event-ID", "3")
	if _, missed := again.next(); missed != 500 {
		t.Errorf("%d were missed, want 500", missed)
	}
	for _, want := range []uint64{4, 505} {
		if e, _ := again.next(); e.ID != want {
			t.Errorf("got %+v, want %d", e, want)
		}
	}
}

// The number of streams is bounded. They end with the server, which does not wait for them.
func TestStreamsEnd(t *testing.T) {
	t.Parallel()
	ring, log := logged()
	handler := api.New(api.Parts{Events: ring})
	stop := make(chan struct{})
	server := httptest.NewUnstartedServer(handler)
	server.Config.BaseContext = func(net.Listener) context.Context { return api.WithStop(context.Background(), stop) }
	server.Start()
	log.Info("first")
	var all []*follower
	for range 8 {
		f := follow(t, server.URL, "")
		f.next()
		all = append(all, f)
	}
	if f := follow(t, server.URL, ""); f.resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", f.resp.StatusCode)
	}
	close(stop)
	for _, f := range all {
		for f.lines.Scan() {
		}
		if err := f.lines.Err(); err != nil {
			t.Error(err)
		}
	}
	server.Close()
}

// A client that comes back to another process, whose ids have begun again, gets all events of that one.
func TestEventsOfAnotherProcess(t *testing.T) {
	t.Parallel()
	ring, log := logged()
	server := httptest.NewServer(api.New(api.Parts{Events: ring}))
	t.Cleanup(server.Close)
	f := follow(t, server.URL, "", "Last-Event-ID", "5000")
	log.Info("first")
	if e, missed := f.next(); e.ID != 1 || missed != 0 {
		t.Errorf("%+v, %d missed", e, missed)
	}
	again := follow(t, server.URL, "", "Last-Event-ID", "18446744073709551615")
	if e, missed := again.next(); e.ID != 1 || missed != 0 {
		t.Errorf("%+v, %d missed", e, missed)
	}
	a := newTester(t, api.Parts{Source: some(), Events: ring})
	var got api.Events
	if a.ask(http.MethodGet, "/events?after=5000", false, &got); len(got.Events) != 1 || got.Next != 1 {
		t.Errorf("%+v", got)
	}
}

// A stream is for clients whose Accept lists it. HEAD has no body, and so it ends.
func TestWhoGetsAStream(t *testing.T) {
	t.Parallel()
	ring, _ := logged()
	handler := api.New(api.Parts{Events: ring})
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a stream ends
	for _, c := range []struct {
		method string
		accept []string
		stream bool
	}{
		{http.MethodGet, []string{"text/html", "application/json;q=0.5, Text/Event-Stream; q=1"}, true},
		{http.MethodGet, []string{"text/event-streams"}, false},
		{http.MethodGet, nil, false},
	} {
		r := httptest.NewRequestWithContext(ctx, c.method, api.Prefix+"/events", nil)
		r.Header["Accept"] = c.accept
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Type"); (got == "text/event-stream") != c.stream {
			t.Errorf("Accept: %q: %s", c.accept, got)
		}
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodHead, api.Prefix+"/events", nil)
	r.Header.Set("Accept", "text/event-stream")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if got := w.Header().Get("Content-Type"); got != "text/event-stream" {
		t.Error(got)
	}
}
