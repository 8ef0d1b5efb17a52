package proxy

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kproxy/internal/mark"
)

// doorway is an admission with one gate, and its log.
type doorway struct {
	*gate
	log bytes.Buffer
}

func newDoorway(total int, limits ListenerLimits) *doorway {
	d := &doorway{}
	logger := slog.New(slog.NewTextHandler(&d.log, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "fix" {
				return slog.Attr{}
			}
			return a
		},
	}))
	a := &admission{}
	a.limit(logger, total)
	d.gate = a.newGate(logger, "clusters.orders.listeners.bob", networks{}, balancers{}, &limits)
	return d
}

// said returns what the log has said since the last time.
func (d *doorway) said() []string {
	d.admission.lines.wait()
	defer d.log.Reset()
	return slices.DeleteFunc(strings.Split(d.log.String(), "\n"), func(line string) bool { return line == "" })
}

func source(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}) }

func TestGate(t *testing.T) {
	same, others := func(int) netip.Addr { return source(1) }, source
	for _, c := range []struct {
		name   string
		total  int
		limits ListenerLimits
		from   func(int) netip.Addr
		admits int // of ten at one time
		reason CloseReason
	}{
		{name: "no limit", from: same, admits: 10},
		{"all listeners", 3, ListenerLimits{}, others, 3, TooManyConnections},
		{"a listener", 8, ListenerLimits{MaxConnections: 3}, others, 3, TooManyConnections},
		{"one source", 8, ListenerLimits{MaxPerSource: 4}, same, 4, TooManyFromSource},
		{"many sources", 0, ListenerLimits{MaxPerSource: 1}, others, 10, ""},
		{"no source", 0, ListenerLimits{MaxPerSource: 1}, func(int) netip.Addr { return netip.Addr{} }, 10, ""},
		{"rate", 0, ListenerLimits{AcceptRate: 6}, others, 6, AcceptRate},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoorway(c.total, c.limits)
				for range 2 { // what has left makes room
					for i := range 10 {
						want := CloseReason("")
						if i >= c.admits {
							want = c.reason
						}
						if _, _, got := d.enter(c.from(i)); got != want {
							t.Errorf("connection %d: got %q, want %q", i, got, want)
						}
					}
					for i := range c.admits {
						d.leave(c.from(i))
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

// A source that has too many connections takes nothing of the rate.
func TestRefusedSourceTakesNothingOfTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoorway(0, ListenerLimits{MaxPerSource: 1, AcceptRate: 2})
		for _, c := range []struct {
			from int
			want CloseReason
		}{{1, ""}, {1, TooManyFromSource}, {1, TooManyFromSource}, {2, ""}, {3, AcceptRate}} {
			if _, _, got := d.enter(source(c.from)); got != c.want {
				t.Errorf("a connection from %d: got %q, want %q", c.from, got, c.want)
			}
		}
	})
}

func TestSourceOf(t *testing.T) {
	for address, want := range map[string]string{
		"10.1.2.3":             "10.1.2.3",
		"::ffff:10.1.2.3":      "10.1.2.3",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2:3:4:5:6",
		"fe80::1%eth0":         "fe80::1",
	} {
		conn := remote{addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 1))}
		if got := sourceOf(conn); got != netip.MustParseAddr(want) {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
	if got := sourceOf(remote{addr: &net.UnixAddr{Name: "x"}}); got.IsValid() {
		t.Errorf("no IP address: got %s", got)
	}
}

// remote is a connection of which only the other end's address is known.
type remote struct {
	net.Conn
	addr net.Addr
}

func (r remote) RemoteAddr() net.Addr { return r.addr }

// The log hears of a limit when it is near, when it is reached, and when that is
// over; of a flood once a minute, with how many were refused.
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
		limits             ListenerLimits
		from               netip.Addr
		near, reached, key string
	}{
		{"all listeners", 10, ListenerLimits{}, source(1), "max=10 connections=8", "max=10", " limit=limits.max_connections"},
		{"a listener", 0, ListenerLimits{MaxConnections: 10}, source(1), "max=10 connections=8", "max=10", key + "max_connections"},
		{"a source", 0, ListenerLimits{MaxPerSource: 10}, source(1), "source=10.0.0.1 max=10 connections=8", "max=10 source=10.0.0.1", key + "max_per_source"},
		{"rate", 0, ListenerLimits{AcceptRate: 10}, source(1), "max=10", "max=10", key + "accept_rate"},
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
						d.enter(c.from)
					}
				}
				enter(7)
				says("at 70 %")
				enter(1)
				says("at 80 %", near+c.near+c.key)
				enter(2)
				d.admission.settle()
				says("at 100 %")
				enter(1)
				says("above", reached+c.reached+" refused=1"+c.key)
				enter(499)
				says("in a flood")
				rated := c.limits.AcceptRate > 0
				if !rated { // a rate is over by itself
					time.Sleep(alarmInterval) //nolint:forbidigo // the bubble's own time
					enter(1)
					says("a minute later", reached+c.reached+" refused=501"+c.key)
				}
				for range 10 {
					d.leave(c.from)
				}
				time.Sleep(time.Second) //nolint:forbidigo // the bubble's own time
				d.admission.settle()
				refused := 501
				if rated {
					refused = 500
				}
				says("when it is over", fmt.Sprintf("%srefused=%d%s", over, refused, c.key))
				d.admission.settle()
				says("long after")
			})
		})
	}
}

// A count that goes up and down around the limit says so twice a minute at most.
func TestAlarmOfFlappingCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoorway(5, ListenerLimits{})
		for range 3 {
			d.enter(source(1))
		}
		for range 600 {
			for range 5 {
				d.enter(source(1)) // two of them
			}
			d.leave(source(1))
			d.leave(source(1))
			d.admission.settle()
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
		if got := connectionsFor(c.files, c.sockets); got != c.want {
			t.Errorf("%d files, %d sockets: got %d, want %d", c.files, c.sockets, got, c.want)
		}
	}
}

func TestExpiry(t *testing.T) {
	now := time.Now()
	if got := (&Config{MaxAgeJitter: 0.5}).expiry(now); got != mark.Never {
		t.Errorf("without max_age: got %v", got)
	}
	c := &Config{MaxAge: time.Hour, MaxAgeJitter: 0.1}
	seen := map[mark.Mark]bool{}
	for range 1000 {
		got := c.expiry(now)
		if age := -got.Age(now); age < 54*time.Minute || age > time.Hour {
			t.Fatalf("a session may grow %v old", age)
		}
		seen[got] = true
	}
	if len(seen) < 900 {
		t.Errorf("1000 sessions end at %d moments", len(seen))
	}
}
