package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// systemd is systemd's end of the notifications, with the process of each.
type systemd struct {
	*net.UnixConn

	t *testing.T
}

func newSystemd(t *testing.T) *systemd {
	t.Helper()
	dir, err := os.MkdirTemp("", "n") //nolint:usetesting // a unix socket's name has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	control := func(_, _ string, c syscall.RawConn) (err error) {
		_ = c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
		return err
	}
	conn, err := (&net.ListenConfig{Control: control}).ListenPacket(t.Context(), "unixgram", filepath.Join(dir, "notify"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &systemd{conn.(*net.UnixConn), t}
}

// next returns the next notification, and the process that it is from.
func (s *systemd) next() (text string, pid int) {
	s.t.Helper()
	_ = s.SetReadDeadline(time.Now().Add(20 * time.Second))
	b, control := make([]byte, 4096), make([]byte, 256)
	n, controls, _, _, err := s.ReadMsgUnix(b, control)
	if err != nil {
		s.t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:controls])
	if err != nil || len(messages) != 1 {
		s.t.Fatalf("%d control messages, %v", len(messages), err)
	}
	from, err := unix.ParseUnixCredentials(&messages[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b[:n]), int(from.Pid)
}

// want waits for a notification of a process that begins with text. Those of the watchdog come in
// between.
func (s *systemd) want(pid int, text string) {
	s.t.Helper()
	got, from := s.next()
	for got == "WATCHDOG=1" && text != "WATCHDOG=1" {
		got, from = s.next()
	}
	if !strings.HasPrefix(got, text) || from != pid {
		s.t.Fatalf("got %q from %d, want %q from %d", got, from, text, pid)
	}
}

// systemd hears of the start, of reloads, of the new main process before that is ready, and of the
// end. The new process feeds the watchdog of the old one.
func TestServeNotifies(t *testing.T) {
	s := newSystemd(t)
	t.Setenv("NOTIFY_SOCKET", s.LocalAddr().String())
	t.Setenv("WATCHDOG_USEC", "600000")
	bootstrap := oneBroker(t)
	c := startChain(t, bootstrap)
	s.want(c.pid, "READY=1")
	s.want(c.pid, "WATCHDOG=1")
	if err := syscall.Kill(c.pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.want(c.pid, "RELOADING=1\nMONOTONIC_USEC=")
	s.want(c.pid, "READY=1")

	old := c.pid
	c.upgraded()
	s.want(old, fmt.Sprintf("MAINPID=%d", c.pid))
	s.want(c.pid, "READY=1")
	for {
		if text, from := s.next(); text == "WATCHDOG=1" && from == c.pid {
			break
		}
	}
	if err := syscall.Kill(c.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.want(c.pid, "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=")
	_ = syscall.Kill(c.pid, syscall.SIGTERM) // without the delay
}

// systemd hears nothing of a new process that ends before it serves.
func TestServeNotifiesOfAFailure(t *testing.T) {
	s := newSystemd(t)
	t.Setenv("NOTIFY_SOCKET", s.LocalAddr().String())
	bootstrap := oneBroker(t)
	c := startChain(t, bootstrap)
	s.want(c.pid, "READY=1")
	c.configure(silentBroker(t), "")
	result := make(chan error, 1)
	go func() {
		_, err := (&adminClient{}).upgradeAt(context.Background(), c.host+":9400", testToken)
		result <- err
	}()
	c.want("brokers remembered", 1)
	if err := syscall.Kill(c.child(c.pid), syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := <-result; err == nil {
		t.Error("the hand-over has succeeded")
	}
	// Nothing was told: the new process was not ready.
	_ = s.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := s.Read(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes were told", n)
	}
}
