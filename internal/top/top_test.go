package top_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/mattn/go-runewidth"

	"kproxy/internal/api"
	"kproxy/internal/top"
)

// fake is a Source.
type fake struct {
	queries []url.Values
	ended   []uint64
	err     error
	moved   int64
}

func (f *fake) Topology(context.Context) (*api.Topology, error) {
	return &api.Topology{Clusters: []api.Cluster{
		{Name: "orders", Up: true, Listeners: []api.Listener{{
			Name: "bob", Bind: "127.0.0.1:9092", Advertised: "bob.test:9092", Connections: 50, APIs: &api.APIs{Preset: "read-only"},
			Nodes: []api.Node{{Node: 3, Broker: "b3.vpc:9092", Advertised: "bob.test:9103", Dialled: "10.0.0.3:9092", Connections: 7}},
		}}},
		{Name: "bills", LastError: "refused\x1b[2J"},
	}}, f.err
}

func (f *fake) Connections(_ context.Context, query url.Values) (*api.Connections, error) {
	f.queries = append(f.queries, query)
	if f.err != nil {
		return nil, f.err
	}
	f.moved += 4096
	c := &api.Connections{Total: 50}
	for i := range uint64(50) {
		node := int32(i % 3)
		one := api.Connection{
			Cluster: "orders", Listener: "bob",
			ID: 50 - i, Client: fmt.Sprintf("10.0.0.%d:50000", i), Node: &node, State: "open", ClientID: "évil\x1b[31m\n", Software: "java", SoftwareVersion: strings.Repeat("9", 300),
			BytesUp: f.moved, InFlight: 1, Idle: 90,
		}
		if query.Get("text") == "" || strings.Contains(one.Client, query.Get("text")) {
			c.Connections = append(c.Connections, one)
		}
	}
	return c, nil
}

func (f *fake) Disconnect(_ context.Context, id uint64) error {
	f.ended = append(f.ended, id)
	return f.err
}

// screen drives a model as a terminal does. Time does not pass by itself.
type screen struct {
	*testing.T

	model tea.Model
	quit  bool
}

func newScreen(t *testing.T, f *fake) *screen {
	t.Helper()
	t.Cleanup(func() { <-time.After(time.Minute) }) // ticks that were not waited for
	m := top.New(f, "kproxy.test:9400")
	s := &screen{T: t, model: m}
	s.run(m.Init())
	return s
}

// run runs a command, and those that follow from it, but for ticks.
func (s *screen) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	done := make(chan tea.Msg, 1)
	go func() { done <- cmd() }()
	select {
	case msg := <-done:
		switch msg := msg.(type) {
		case tea.QuitMsg:
			s.quit = true
		case tea.BatchMsg:
			for _, c := range msg {
				s.run(c)
			}
		default:
			s.send(msg)
		}
	case <-s.Context().Done():
	case <-time.After(time.Second): // it is a tick of the model's own
	}
}

func (s *screen) send(msg tea.Msg) {
	var cmd tea.Cmd
	s.model, cmd = s.model.Update(msg)
	s.run(cmd)
}

func (s *screen) keys(text string) {
	for _, r := range text {
		s.press(r, string(r))
	}
}

// press presses a key, which has a text if it is printable.
func (s *screen) press(code rune, text string) {
	s.send(tea.KeyPressMsg{Code: code, Text: text})
}

// lines returns the screen's lines, which must fit.
func (s *screen) lines(width, height int) []string {
	s.Helper()
	lines := strings.Split(ansi.Strip(s.model.View().Content), "\n")
	if len(lines) != height {
		s.Errorf("%d lines, want %d", len(lines), height)
	}
	for _, line := range lines {
		if n := runewidth.StringWidth(line); n > width {
			s.Errorf("%d columns of %d: %q", n, width, line)
		}
	}
	return lines
}

func (s *screen) has(width, height int, texts ...string) {
	s.Helper()
	all := strings.Join(s.lines(width, height), "\n")
	for _, text := range texts {
		if !strings.Contains(all, text) {
			s.Errorf("the screen has no %q:\n%s", text, all)
		}
	}
}

// The screens fit, whatever a peer has sent, at each size of the terminal.
func TestScreensFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(t, &fake{})
		s.has(80, 24, "kproxy kproxy.test:9400 · 50 connections", "connections by -bytes", "10.0.0.0:50000", `évil\x1b[31m\n, ja`, "1m")
		for _, size := range []tea.WindowSizeMsg{{Width: 80, Height: 24}, {Width: 200, Height: 60}, {Width: 20, Height: 5}, {Width: 1, Height: 1}} {
			s.send(size)
			width, height := max(20, size.Width), max(5, size.Height)
			for range 2 {
				s.lines(width, height)
				s.keys("?")
				s.lines(width, height)
				s.keys("?")
				s.press(tea.KeyTab, "")
			}
		}
		s.send(tea.WindowSizeMsg{Width: 80, Height: 24})
		s.keys("b")
		s.has(80, 24, "cluster orders up", "listener bob (read-only) at 127.0.0.1:9092, advertised as bob.test:9092, 50 c", "b3.vpc:9092", "10.0.0.3:9092", `cluster bills down: refused\x1b[2J`)
	})
}

// Lists that are longer than the screen are scrolled. A wide screen has the listener of each connection.
func TestScreensAreScrolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(t, &fake{})
		s.send(tea.WindowSizeMsg{Width: 80, Height: 6})
		s.keys("b")
		s.has(80, 6, "cluster orders up", "lines 1 to 3 of ")
		s.keys("kj")
		s.has(80, 6, "listener bob (read-only) at", "lines 2 to 4 of ")
		for range 20 {
			s.press(tea.KeyPgDown, "")
		}
		s.has(80, 6, "cluster bills down")
		s.press(tea.KeyPgUp, "")
		s.keys("b")
		s.has(80, 6, "cluster orders up", "lines 1 to 3 of ")
		s.keys("?")
		s.press(tea.KeyPgDown, "")
		s.has(80, 6, "↑ ↓, k j    select", "lines 4 to 6 of ")
		s.keys("?")
		s.send(tea.WindowSizeMsg{Width: 200, Height: 24})
		s.keys("c")
		s.has(200, 24, "LISTENER", "orders/bob")
	})
}

// A selected connection stays the selected one, in sight, and is closed only after y.
func TestConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		s := newScreen(t, f)
		s.keys("x")
		s.keys(strings.Repeat("j", 40) + "k")
		s.has(80, 24, "10.0.0.38:50000")
		s.keys("xn")
		s.has(80, 24, "nothing is closed")
		s.keys("x")
		s.has(80, 24, "close connection 12? y closes it")
		if len(f.ended) > 0 {
			t.Errorf("closed without y: %v", f.ended)
		}
		s.keys("y")
		s.has(80, 24, "connection 12 ends")
		f.err = errors.New("it has ended")
		s.keys("xy")
		s.has(80, 24, "it has ended")
		if len(f.ended) != 2 || f.ended[0] != 12 {
			t.Errorf("ended %v", f.ended)
		}
		s.press(tea.KeyUp, "")
		for range 100 {
			s.press(tea.KeyDown, "")
		}
		s.has(80, 24, "10.0.0.49:50000")
	})
}

// Orders and filters are asked of kproxy. While the filter is typed, keys are its letters.
func TestOrdersAndFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		s := newScreen(t, f)
		s.keys("s")
		s.has(80, 24, "connections by -in_flight")
		s.keys("/0.0.4")
		s.has(80, 24, "filter: 0.0.4", "10.0.0.4:50000", "10.0.0.49:50000", "with 0.0.4")
		s.press(tea.KeyBackspace, "")
		s.press(tea.KeyEnter, "")
		s.has(80, 24, " of 50 connections")
		s.press(tea.KeyEsc, "")
		if last := f.queries[len(f.queries)-1]; last.Has("text") || s.quit {
			t.Errorf("after Esc: asked %v, quit %t", last, s.quit)
		}
		if s.press(tea.KeyEsc, ""); s.quit {
			t.Error("Esc quits")
		}
		s.keys("/0.0.")
		s.press(tea.KeyEnter, "")
		s.keys("q")
		if last := f.queries[len(f.queries)-1]; last.Get("text") != "0.0." || last.Get("sort") != "-in_flight" || !s.quit {
			t.Errorf("asked %v, quit %t", last, s.quit)
		}
		s.quit = false
		s.keys("/" + strings.Repeat("q", 300))
		if s.quit {
			t.Error("a letter of the filter is a command")
		}
		s.has(80, 24, "none")
		s.press(tea.KeyEsc, "")
		if last := f.queries[len(f.queries)-1]; last.Has("text") {
			t.Errorf("after Esc: asked %v", last)
		}
		if s.send(tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}); !s.quit {
			t.Error("Ctrl-C does not quit")
		}
	})
}

// A server that goes away leaves the last state, and its error. Rates are known from the second response
// on.
func TestServerGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		s := newScreen(t, f)
		s.keys("s")
		s.has(80, 24, "10.0.0.0:50000")
		f.err = errors.New("connection refused\x1b[2J")
		s.keys("s")
		s.has(80, 24, "no response for", "connection refus", "10.0.0.0:50000")
		f.err = nil
		s.keys("p")
		s.has(80, 24, "no response for")
		s.keys("p")
		s.has(80, 24, "50 connections")
		if strings.Contains(s.model.View().Content, "no response") {
			t.Error("the error stays")
		}
		never := newScreen(t, &fake{err: errors.New("refused")})
		never.has(80, 24, "no response yet: refused")
		never.keys("bcjx?")
		never.lines(80, 24)
	})
}
