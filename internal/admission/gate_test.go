package admission

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// doorway is an admission with one gate, and its log.
type doorway struct {
	*Gate
	log bytes.Buffer
}

func newDoorway(total int, limits Limits) *doorway {
	d := &doorway{}
	logger := slog.New(slog.NewTextHandler(&d.log, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "fix" {
				return slog.Attr{}
			}
			return a
		},
	}))
	a := &Gates{}
	a.Init(logger, total)
	d.Gate = a.NewGate(logger, "clusters.orders.listeners.bob", Networks{}, Balancers{}, limits)
	return d
}

// said returns the log's lines since the last call.
func (d *doorway) said() []string {
	d.of.Lines.Wait()
	defer d.log.Reset()
	return slices.DeleteFunc(strings.Split(d.log.String(), "\n"), func(line string) bool { return line == "" })
}

func source(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}) }

func TestGate(t *testing.T) {
	same, others := func(int) netip.Addr { return source(1) }, source
	for _, c := range []struct {
		name   string
		total  int
		limits Limits
		from   func(int) netip.Addr
		admits int // of ten at one time
		reason Refusal
	}{
		{name: "no limit", from: same, admits: 10},
		{"all listeners", 3, Limits{}, others, 3, RefusedConnections},
		{"a listener", 8, Limits{MaxConnections: 3}, others, 3, RefusedConnections},
		{"one source", 8, Limits{MaxPerSource: 4}, same, 4, RefusedSource},
		{"many sources", 0, Limits{MaxPerSource: 1}, others, 10, ""},
		{"no source", 0, Limits{MaxPerSource: 1}, func(int) netip.Addr { return netip.Addr{} }, 10, ""},
		{"rate", 0, Limits{AcceptRate: 6}, others, 6, RefusedRate},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoorway(c.total, c.limits)
				for range 2 { // a connection that has left makes room
					for i := range 10 {
						want := Refusal("")
						if i >= c.admits {
							want = c.reason
						}
						if _, _, got := d.Enter(c.from(i)); got != want {
							t.Errorf("connection %d: got %q, want %q", i, got, want)
						}
					}
					for i := range c.admits {
						d.Leave(c.from(i))
					}
					time.Sleep(time.Second) //nolint:forbidigo // the bubble's own time
				}
				if len(d.sources) > 0 {
					t.Errorf("sources that have left are remembered: %v", d.sources)
				}
			})
		})
	}
}

// A source that has too many connections does not use up the rate.
func TestRefusedSourceTakesNothingOfTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoorway(0, Limits{MaxPerSource: 1, AcceptRate: 2})
		for _, c := range []struct {
			from int
			want Refusal
		}{{1, ""}, {1, RefusedSource}, {1, RefusedSource}, {2, ""}, {3, RefusedRate}} {
			if _, _, got := d.Enter(source(c.from)); got != c.want {
				t.Errorf("a connection from %d: got %q, want %q", c.from, got, c.want)
			}
		}
	})
}

// The log has a line when a limit is near, when it is reached, and when that is over;
// about a flood once a minute, with the number of refused connections.
func TestAlarms(t *testing.T) {
	const (
		near    = `level=WARN msg="a limit of connections is near" `
		reached = `level=WARN msg="a limit of connections is reached; the newest ones are closed" `
		over    = `level=INFO msg="a limit of connections is no longer near" `
		key     = " limit=clusters.orders.listeners.bob.limits."
	)
	for _, c := range []struct {
		name               string
		total              int
		limits             Limits
		from               netip.Addr
		near, reached, key string
	}{
		{"all listeners", 10, Limits{}, source(1), "max=10 connections=8", "max=10", " limit=limits.max_connections"},
		{"a listener", 0, Limits{MaxConnections: 10}, source(1), "max=10 connections=8", "max=10", key + "max_connections"},
		{"a source", 0, Limits{MaxPerSource: 10}, source(1), "source=10.0.0.1 max=10 connections=8", "max=10 source=10.0.0.1", key + "max_per_source"},
		{"rate", 0, Limits{AcceptRate: 10}, source(1), "max=10", "max=10", key + "accept_rate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoorway(c.total, c.limits)
				says := func(when string, want ...string) {
					t.Helper()
					if got := d.said(); !slices.Equal(got, want) {
						t.Errorf("%s: got\n%s\nwant\n%s", when, strings.Join(got, "\n"), strings.Join(want, "\n"))
					}
				}
				enter := func(n int) {
					for range n {
						d.Enter(c.from)
					}
				}
				enter(7)
				says("at 70 %")
				enter(1)
				says("at 80 %", near+c.near+c.key)
				enter(2)
				d.of.Settle()
				says("at 100 %")
				enter(1)
				says("above", reached+c.reached+" refused=1"+c.key)
				enter(499)
				says("in a flood")
				rated := c.limits.AcceptRate > 0
				if !rated { // a rate is over by itself
					time.Sleep(AlarmInterval) //nolint:forbidigo // the bubble's own time
					enter(1)
					says("a minute later", reached+c.reached+" refused=501"+c.key)
				}
				for range 10 {
					d.Leave(c.from)
				}
				time.Sleep(time.Second) //nolint:forbidigo // the bubble's own time
				d.of.Settle()
				refused := 501
				if rated {
					refused = 500
				}
				says("when it is over", fmt.Sprintf("%srefused=%d%s", over, refused, c.key))
				d.of.Settle()
				says("long after")
			})
		})
	}
}

// A count that goes up and down around the limit causes two lines a minute at most.
func TestAlarmOfFlappingCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoorway(5, Limits{})
		for range 3 {
			d.Enter(source(1))
		}
		for range 600 {
			for range 5 {
				d.Enter(source(1)) // two of them
			}
			d.Leave(source(1))
			d.Leave(source(1))
			d.of.Settle()
			time.Sleep(time.Second) //nolint:forbidigo // the bubble's own time
		}
		if n := len(d.said()); n > 30 {
			t.Errorf("%d lines in 10 minutes", n)
		}
	})
}

func TestConnectionsForFiles(t *testing.T) {
	for _, c := range []struct{ files, sockets, want int }{
		{1024, 101, 429},
		{20000, 303, 9816},
		{1 << 20, 0, 524256},
		{100, 101, 1},
	} {
		if got := ConnectionsFor(c.files, c.sockets); got != c.want {
			t.Errorf("%d files, %d sockets: got %d, want %d", c.files, c.sockets, got, c.want)
		}
	}
}

// New limits hold for the next connection, and count those that are there.
func TestReconfigure(t *testing.T) {
	d := newDoorway(0, Limits{})
	alice, bob := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	enter := func(from netip.Addr, want Refusal) {
		t.Helper()
		if _, _, got := d.Enter(from); got != want {
			t.Errorf("%s: got %q, want %q", from, got, want)
		}
	}
	change := func(allow []string, limits Limits) {
		t.Helper()
		networks, err := ParseNetworks(allow, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.Reconfigure(networks, Balancers{}, limits)
	}
	enter(alice, "")
	enter(alice, "")
	change(nil, Limits{MaxPerSource: 2})
	enter(alice, RefusedSource)
	enter(bob, "")
	d.Leave(alice)
	enter(alice, "")
	change(nil, Limits{MaxConnections: 1}) // below the three that are there
	enter(bob, RefusedConnections)
	d.Leave(alice)
	d.Leave(alice)
	d.Leave(bob)
	enter(bob, "")
	change([]string{"10.0.0.1"}, Limits{})
	enter(bob, RefusedNetwork)
	enter(alice, "")
	change(nil, Limits{AcceptRate: 1})
	enter(alice, "")
	enter(alice, RefusedRate)
	d.of.SetMax(1)
	change(nil, Limits{})
	enter(alice, RefusedConnections)
	if n := len(d.of.gates); n != 1 {
		t.Errorf("%d gates", n)
	}
	if d.Remove(); len(d.of.gates) != 0 {
		t.Error("the gate is still there")
	}
	d.said()
}
