//go:build unix

package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// manager is systemd's end of the notifications.
type manager struct{ *net.UnixConn }

func newManager(t *testing.T) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "n") //nolint:usetesting // a unix socket's name has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	address := &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv(notifySocket, address.Name)
	return &manager{conn}
}

func (m *manager) next(t *testing.T) string {
	t.Helper()
	_ = m.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 4096)
	n, err := m.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestNotify(t *testing.T) {
	m := newManager(t)
	n := NewNotifier(slog.New(slog.DiscardHandler))
	for _, tt := range []struct {
		tell func()
		want string
	}{
		{func() { n.Ready("serving") }, `READY=1\nSTATUS=serving`},
		{n.Reloading, `RELOADING=1\nMONOTONIC_USEC=[1-9]\d*`},
		{func() { n.Main(42) }, `MAINPID=42`},
		{func() { n.Status("a\nREADY=1") }, `STATUS=a[^\n]*READY=1`},
		{func() { n.Stopping("draining", 2*time.Minute) }, `STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=120000000`},
	} {
		tt.tell()
		if got := m.next(t); !regexp.MustCompile("^" + tt.want + "$").MatchString(got) {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// Without systemd nothing is told, and without its socket the log has it once.
func TestNotifyNothing(t *testing.T) {
	t.Setenv(notifySocket, "")
	var log strings.Builder
	n := NewNotifier(slog.New(slog.NewTextHandler(&log, nil)))
	n.Ready("serving")
	if log.Len() > 0 {
		t.Errorf("without a socket: %s", &log)
	}
	t.Setenv(notifySocket, filepath.Join(t.TempDir(), "none"))
	n.Ready("serving")
	n.Ready("serving")
	if strings.Count(log.String(), "systemd cannot be notified") != 1 {
		t.Errorf("a socket that is not there: %s", &log)
	}
}

// The watchdog is fed while kproxy is alive, by the process that it is for.
func TestWatchdog(t *testing.T) {
	m := newManager(t)
	n := NewNotifier(slog.New(slog.DiscardHandler))
	t.Setenv(watchdogTime, "30000")
	t.Setenv(watchdogPID, strconv.Itoa(os.Getpid()))
	ctx, cancel := context.WithCancel(t.Context())
	hung, hangs := make(chan struct{}), make(chan struct{})
	times := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Watch(ctx, func() {
			if times++; times == 4 {
				close(hung)
				<-hangs
			}
		})
	}()
	for range 3 {
		if got := m.next(t); got != "WATCHDOG=1" {
			t.Errorf("got %q", got)
		}
	}
	<-hung
	_ = m.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := m.Read(make([]byte, 100)); err == nil {
		t.Errorf("a kproxy that hangs has fed the watchdog: %d bytes", n)
	}
	cancel()
	close(hangs)
	<-done

	t.Setenv(watchdogPID, strconv.Itoa(os.Getppid()))
	n.Watch(t.Context(), func() { t.Error("it feeds the watchdog of another process") })
	t.Setenv(watchdogPID, "")
	t.Setenv(watchdogTime, "")
	n.Watch(t.Context(), func() { t.Error("it feeds a watchdog that is not there") })
}

// A socket that is not read holds nothing up, and costs one goroutine.
func TestNotifierDoesNotWaitForAReader(t *testing.T) {
	hangs, calls := make(chan struct{}), 0
	send := func() error {
		calls++
		<-hangs
		return nil
	}
	for range 3 {
		if err := within(time.Millisecond, "/run/notify", send); !errors.Is(err, errUnread) {
			t.Errorf("got %v", err)
		}
	}
	close(hangs)
	if err := within(10*time.Second, "/run/notify", func() error { return nil }); err != nil {
		t.Error(err)
	}
	if calls != 1 {
		t.Errorf("%d calls wait at the same time", calls)
	}
}
