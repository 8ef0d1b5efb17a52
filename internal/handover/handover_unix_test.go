//go:build unix

package handover

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rig is a Plan whose new process is a goroutine of the test.
type rig struct {
	*Plan

	mu    sync.Mutex
	calls []string
}

// newRig returns a rig. new is the new process, which ends when it returns.
func newRig(t *testing.T, sockets int, newProcess func(p *Predecessor)) *rig {
	t.Helper()
	r := &rig{}
	r.Plan = &Plan{
		Timeout: 10 * time.Second, Drain: time.Minute, IDsAbove: 2_000_000,
		Release: func(context.Context) error { r.called("release"); return nil },
		Retake:  func() { r.called("retake") },
	}
	for range sockets {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		r.Sockets = append(r.Sockets, Socket{l.Addr().String(), l})
	}
	r.start = func() (*net.UnixConn, *child, error) {
		old, next := ends(t)
		c := &child{pid: 42, kill: func() { _ = next.Close() }, ended: make(chan struct{}), how: errors.New("exit status 3")}
		go func() {
			defer close(c.ended)
			defer next.Close()
			newProcess(newPredecessor(next))
		}()
		return old, c, nil
	}
	return r
}

func ends(t *testing.T) (old, next *net.UnixConn) {
	t.Helper()
	old, f, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = old.Close()
		_ = conn.Close()
	})
	return old, conn.(*net.UnixConn)
}

func (r *rig) called(call string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
}

func (r *rig) wantCalls(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.calls, want) {
		t.Errorf("calls: got %q, want %q", r.calls, want)
	}
}

// steps are those of a new process, in order.
var steps = []func(ctx context.Context, p *Predecessor) error{
	func(ctx context.Context, p *Predecessor) error { return p.Receive(ctx) },
	func(ctx context.Context, p *Predecessor) error { return p.AwaitState(ctx) },
	func(ctx context.Context, p *Predecessor) error { return p.AwaitTurn(ctx, "v9") },
}

// eventually waits until is returns true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(what)
		}
	}
}

// The new process gets every socket, and serves when the old one has closed its own. It follows the
// old one until its end.
func TestHandOver(t *testing.T) {
	took := make(chan *Predecessor, 1)
	ends := make(chan struct{})
	r := newRig(t, 2*maxBatch+1, func(p *Predecessor) {
		for _, step := range steps {
			if err := step(t.Context(), p); err != nil {
				t.Error(err)
			}
		}
		p.Serving()
		if got := p.IDsAbove(); got != 2_000_000 {
			t.Errorf("ids above %d", got)
		}
		took <- p
		<-ends
	})
	defer close(ends)
	s, err := r.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.PID != 42 || s.Version != "v9" {
		t.Errorf("got process %d of version %q", s.PID, s.Version)
	}
	r.wantCalls(t, "release")
	p := <-took
	for _, old := range r.Sockets {
		_ = old.Listener.Close()
	}
	for _, old := range r.Sockets[1:] {
		socket := p.Sockets.Take(old.Address)
		if socket == nil {
			t.Fatalf("there is no socket %s", old.Address)
		}
		client, err := new(net.Dialer).DialContext(t.Context(), "tcp", old.Address)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := socket.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _, _ = conn.Close(), client.Close(), socket.Close()
	}
	if p.Sockets.Take(r.Sockets[1].Address) != nil {
		t.Error("a socket was taken twice")
	}
	if left := p.Sockets.Close(); len(left) != 1 || left[0] != r.Sockets[0].Address {
		t.Errorf("left over: %v", left)
	}
	if _, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.Sockets[0].Address); err == nil {
		t.Error("a socket that is left over accepts connections")
	}

	if left, ok := func() (time.Duration, bool) { now := p.Report(); return now.Draining(time.Now()) }(); !ok || left <= 0 || left > time.Minute {
		t.Errorf("the old process drains: got %v, %v", left, ok)
	}
	select {
	case <-p.named:
		t.Error("the new process takes itself for named")
	default:
	}
	s.Sessions(7)
	p.AwaitNamed(t.Context())
	eventually(t, "the number of sessions has not come", func() bool { return p.Report().Sessions == 7 })
	s.Close()
	eventually(t, "the end has not come", func() bool { return !p.Report().Ended.IsZero() })
	now := p.Report()
	if _, ok := now.Draining(time.Now()); ok || now.Sessions != 0 {
		t.Errorf("after the end: %+v", now)
	}
}

// A new process that ends at any step changes nothing.
func TestHandOverEndsAtEachStep(t *testing.T) {
	undone := [][]string{
		nil,
		nil,
		{"release", "retake"},
		{"release", "retake"},
	}
	for done, want := range undone {
		t.Run(fmt.Sprint(done), func(t *testing.T) {
			r := newRig(t, 1, func(p *Predecessor) {
				for _, step := range steps[:done] {
					if err := step(t.Context(), p); err != nil {
						t.Error(err)
					}
				}
			})
			_, err := r.Run(t.Context())
			if _, ok := errors.AsType[*FailedError](err); !ok || !strings.Contains(err.Error(), "exit status 3") {
				t.Errorf("got %v", err)
			}
			r.wantCalls(t, want...)
			if r.Sockets[0].Listener.(*net.TCPListener).SetDeadline(time.Now()) != nil {
				t.Error("the socket is closed")
			}
		})
	}
}

// The reasons of the new process come out clean, and bounded.
func TestHandOverFails(t *testing.T) {
	r := newRig(t, 0, func(p *Predecessor) {
		if err := p.Receive(t.Context()); err != nil {
			t.Error(err)
		}
		p.Fail(errors.New("first\nsecond \x1b[31m" + strings.Repeat("\nmore", 200)))
	})
	_, err := r.Run(t.Context())
	failed, ok := errors.AsType[*FailedError](err)
	if !ok || len(failed.Reasons) != maxLines || failed.Reasons[0] != "first" || strings.Contains(failed.Reasons[1], "\x1b") ||
		failed.Reasons[maxLines-1] != "103 more lines" {
		t.Errorf("got %q", err)
	}
	r.wantCalls(t)
}

// A new process that does not become ready is ended, and its last status is the reason.
func TestHandOverIsLate(t *testing.T) {
	r := newRig(t, 1, func(p *Predecessor) {
		for _, step := range steps[:2] {
			if err := step(t.Context(), p); err != nil {
				t.Error(err)
			}
		}
		if err := p.Status(t.Context(), "no cluster has answered"); err != nil {
			t.Error(err)
		}
		_, _ = p.link.receive() // until it is ended
	})
	r.Timeout = 100 * time.Millisecond
	_, err := r.Run(t.Context())
	if err == nil || err.Error() != "the new process was not ready after 100ms: no cluster has answered" {
		t.Errorf("got %v", err)
	}
	r.wantCalls(t, "release", "retake")

	silent := newRig(t, 1, func(p *Predecessor) { _, _ = p.link.conn.Read(make([]byte, 1<<20)); <-silentUntil(p) })
	silent.Timeout = 100 * time.Millisecond
	if _, err := silent.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "gave no reason") {
		t.Errorf("got %v", err)
	}
}

// silentUntil is closed when the connection is.
func silentUntil(p *Predecessor) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := p.link.conn.Read(make([]byte, 4096)); err != nil {
				return
			}
		}
	}()
	return done
}

// The end of the context ends the new process.
func TestHandOverIsStopped(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stopping := errors.New("kproxy is stopping")
	r := newRig(t, 1, func(p *Predecessor) {
		if err := p.Receive(t.Context()); err != nil {
			t.Error(err)
		}
		cancel(stopping)
		_, _ = p.link.receive()
	})
	if _, err := r.Run(ctx); !errors.Is(err, stopping) {
		t.Errorf("got %v", err)
	}
}

// State that cannot be given up fails the hand-over.
func TestHandOverWithoutRelease(t *testing.T) {
	r := newRig(t, 1, func(p *Predecessor) {
		for _, step := range steps[:2] {
			_ = step(t.Context(), p)
		}
	})
	r.Release = func(context.Context) error { return errors.New("the disk is full") }
	if _, err := r.Run(t.Context()); err == nil || err.Error() != "the disk is full" {
		t.Errorf("got %v", err)
	}
	r.wantCalls(t, "retake")
}

// A new process whose predecessor ends goes on alone, at every step.
func TestPredecessorEnds(t *testing.T) {
	for done := range steps {
		t.Run(fmt.Sprint(done), func(t *testing.T) {
			old, next := ends(t)
			p := newPredecessor(next)
			looks := 0
			p.ended = func() bool { looks++; return looks > 3 }
			l := &link{conn: old}
			send := []func() error{
				func() error { return l.send(kindHello, helloBody{protocol, 0, time.Minute, time.Minute, 0}) },
				func() error { return l.send(kindReleased, nil) },
			}
			for _, f := range send[:min(done, len(send))] {
				if err := f(); err != nil {
					t.Fatal(err)
				}
			}
			for _, step := range steps[:done] {
				if err := step(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
			_ = old.Close()
			for _, step := range steps[done:] {
				if err := step(t.Context(), p); err != nil {
					t.Errorf("got %v", err)
				}
			}
			p.Serving()
			if now := p.Report(); !p.IsLost() || !now.Took.IsZero() || looks != 4 {
				t.Errorf("lost %v, report %+v, %d looks", p.IsLost(), now, looks)
			}
		})
	}
}

// A process without a predecessor goes through the same steps.
func TestNoPredecessor(t *testing.T) {
	p, err := Inherit()
	if p != nil || err != nil {
		t.Fatalf("got %v, %v", p, err)
	}
	for _, step := range steps {
		if err := step(t.Context(), p); err != nil {
			t.Error(err)
		}
	}
	if err := p.Status(t.Context(), "x"); err != nil {
		t.Error(err)
	}
	p.Serving()
	p.Fail(errors.New("x"))
	if p.IsLost() || p.Report() != (Report{}) || p.PID() != 0 {
		t.Error("there is a predecessor")
	}
}

func TestInheritRefuses(t *testing.T) {
	for _, value := range []string{"x", "-1", "2", "99999"} {
		t.Setenv(Variable, value)
		if _, err := Inherit(); err == nil || !strings.Contains(err.Error(), "unset it") {
			t.Errorf("%s: got %v", value, err)
		}
		if _, is := os.LookupEnv(Variable); is {
			t.Error("the variable is left")
		}
	}
}

// Messages that no kproxy sends are errors, and descriptors that came with them are closed.
func TestHostileMessages(t *testing.T) {
	frame := func(k kind, files byte, length uint32, body string) string {
		return string(binary.BigEndian.AppendUint32([]byte{'k', 'h', byte(k), files}, length)) + body
	}
	for _, tt := range []struct {
		name, bytes string
		files       int
		want        string
	}{
		{"another protocol", "GET / HT", 0, "does not speak"},
		{"kind 0", frame(0, 0, 0, ""), 0, "unknown kind 0"},
		{"another kind", frame(kinds, 0, 0, ""), 0, "unknown kind"},
		{"too long", frame(kindHello, 0, maxPayload+1, ""), 0, "are the most"},
		{"cut", frame(kindHello, 0, 10, "12345"), 0, "EOF"},
		{"half a header", "kh", 0, "EOF"},
		{"descriptors that it does not name", frame(kindSockets, 0, 0, ""), 2, "came with 2 descriptors"},
		{"names that have no descriptor", frame(kindSockets, 2, 0, ""), 1, "names 2"},
		{"descriptors of another kind", frame(kindBound, 1, 0, ""), 1, "came with descriptors"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			old, next := ends(t)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			files := slices.Repeat([]int{int(w.Fd())}, tt.files)
			if _, _, err := old.WriteMsgUnix([]byte(tt.bytes), rights(files), nil); err != nil {
				t.Fatal(err)
			}
			_ = w.Close()
			_ = old.Close()
			m, err := (&link{conn: next}).receive()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %+v, %v", m, err)
			}
			_ = r.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := r.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
				t.Errorf("a descriptor is open: %v", err)
			}
		})
	}
}

// A hello and sockets that cannot be are refused.
func TestHostilePredecessor(t *testing.T) {
	good := helloBody{protocol, 1, time.Minute, time.Minute, 0}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tests := map[string]struct {
		hello     any
		addresses []string
		files     int
	}{
		"another version":    {helloBody{protocol + 1, 0, time.Minute, time.Minute, 0}, nil, 0},
		"less than none":     {helloBody{protocol, -1, time.Minute, time.Minute, 0}, nil, 0},
		"too many":           {helloBody{protocol, maxSockets + 1, time.Minute, time.Minute, 0}, nil, 0},
		"no time":            {helloBody{protocol, 1, 0, time.Minute, 0}, nil, 0},
		"ids without end":    {helloBody{protocol, 0, time.Minute, time.Minute, maxID + 1}, nil, 0},
		"not an object":      {"hello", nil, 0},
		"no socket":          {good, []string{}, 0},
		"more than it says":  {good, []string{l.Addr().String(), "127.0.0.1:1"}, 2},
		"a wrong port":       {good, []string{"127.0.0.1:1"}, 1},
		"no port":            {good, []string{"127.0.0.1"}, 1},
		"fewer addresses":    {good, nil, 1},
		"the same twice":     {helloBody{protocol, 2, time.Minute, time.Minute, 0}, []string{l.Addr().String(), l.Addr().String()}, 2},
		"more than it holds": {good, []string{l.Addr().String(), l.Addr().String()}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			old, next := ends(t)
			from := &link{conn: old}
			if err := from.send(kindHello, tt.hello); err != nil {
				t.Fatal(err)
			}
			if tt.hello == any(good) || name == "the same twice" {
				var files []int
				for range tt.files {
					f, err := duplicate(l)
					if err != nil {
						t.Fatal(err)
					}
					files = append(files, f)
				}
				defer closeAll(files)
				if err := from.send(kindSockets, socketsBody{tt.addresses}, files...); err != nil {
					t.Fatal(err)
				}
			}
			p := newPredecessor(next)
			p.ended = func() bool { return false }
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := p.Receive(ctx)
			p.Sockets.Close()
			if err == nil || ctx.Err() != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A message of the new process that is not its turn fails the hand-over.
func TestHandOverOutOfTurn(t *testing.T) {
	for _, k := range []kind{kindReady, kindServing, kindHello, kindCommit} {
		r := newRig(t, 0, func(p *Predecessor) {
			_ = p.Receive(t.Context())
			_ = p.link.send(k, struct{}{})
			_, _ = p.link.receive()
		})
		if _, err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "not its turn") {
			t.Errorf("%v: got %v", k, err)
		}
		r.wantCalls(t)
	}
}

func TestEnoughFiles(t *testing.T) {
	for _, tt := range []struct {
		sockets, limit, open int
		want                 string
	}{
		{10, 1024, 100, ""},
		{10_000, 20_000, 10_200, ""},
		{950, 1024, 970, "the new process needs 1078 files for 950 listening sockets, and may have 1024 open"},
		{500, 1024, 1000, "the hand-over needs 72 files, and 1000 of 1024 are open"},
	} {
		p := &Plan{Sockets: make([]Socket, tt.sockets)}
		err := p.fits(tt.limit, tt.open)
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v: got %v", tt, err)
		}
	}
	r := newRig(t, 0, func(*Predecessor) { t.Error("a process was started") })
	r.Sockets = make([]Socket, 1<<21)
	if _, _, known := fileUse(); !known {
		return
	}
	if _, err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "LimitNOFILE=") {
		t.Errorf("got %v", err)
	}
}

// mode is the variable that makes this test a new process.
const mode = "KPROXY_TEST_MODE"

func TestMain(m *testing.M) {
	switch os.Getenv(mode) {
	case "":
		os.Exit(m.Run()) //nolint:forbidigo // this is main
	case "exit":
		os.Exit(3) //nolint:forbidigo // this is main
	case "hang":
		<-time.After(time.Hour) // select{} is a deadlock, which ends a process without cgo
	}
	p, err := Inherit()
	if err != nil {
		panic(err)
	}
	for _, step := range steps {
		if err := step(context.Background(), p); err != nil {
			panic(err)
		}
	}
	p.Serving()
	for p.Report().Ended.IsZero() { // greet clients until the old process has ended
		for _, address := range addressesOf(p) {
			socket := p.Sockets.Take(address)
			conn, err := socket.Accept()
			if err != nil {
				panic(err)
			}
			_, _ = fmt.Fprintf(conn, "%d", os.Getpid())
			_ = conn.Close()
		}
	}
}

func addressesOf(p *Predecessor) (all []string) {
	p.Sockets.mu.Lock()
	defer p.Sockets.mu.Unlock()
	for address := range p.Sockets.all {
		all = append(all, address)
	}
	return all
}

// A new process gets the sockets and nothing else: its environment has no other variable, and it
// has no other descriptor.
func TestProcess(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plan := func(m string) *rig {
		r := newRig(t, 1, nil)
		r.Path, r.Args, r.Env, r.start = self, []string{"kproxy"}, []string{mode + "=" + m, "GORACE=atexit_sleep_ms=0"}, nil
		return r
	}

	r := plan("serve")
	s, err := r.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Sockets[0].Listener.Close()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.Sockets[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := make([]byte, 20)
	n, _ := conn.Read(got)
	if want := fmt.Sprint(s.PID); string(got[:n]) != want || s.PID == os.Getpid() {
		t.Errorf("process %q serves, want %s", got[:n], want)
	}
	s.Close()
	eventually(t, "the new process has not ended", func() bool { return errors.Is(unix.Kill(s.PID, 0), unix.ESRCH) })

	if _, err := plan("exit").Run(t.Context()); err == nil || !strings.Contains(err.Error(), "ended before it was ready: exit status 3") {
		t.Errorf("a process that exits: %v", err)
	}
	late := plan("hang")
	late.Timeout = 200 * time.Millisecond
	if _, err := late.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "was not ready after") {
		t.Errorf("a process that hangs: %v", err)
	}
	nowhere := plan("serve")
	nowhere.Path = t.TempDir() + "/none"
	if _, err := nowhere.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot start") {
		t.Errorf("no program: %v", err)
	}
}
