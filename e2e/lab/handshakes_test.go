//go:build e2e && linux

package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Connections that are accepted, refused, and dropped because the queue of a socket is full.
func TestHandshakes(t *testing.T) {
	place, err := NewNamespace("lab-syns")
	if err != nil {
		t.Fatal(err)
	}
	defer place.Close()
	const open, full, vacant = 9001, 9002, 9003
	var busy int // a socket that has no room for a second connection, and accepts none
	var server net.Listener
	if err := place.Inside(func() (err error) {
		server, err = new(net.ListenConfig).Listen(t.Context(), "tcp", HostPort("127.0.0.1", open))
		if err != nil {
			return err
		}
		if busy, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
			return err
		}
		return errors.Join(unix.Bind(busy, &unix.SockaddrInet4{Port: full, Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(busy, 0))
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = server.Close(), unix.Close(busy) }()
	w, err := WatchHandshakes(place, func(a netip.AddrPort) bool { return a.Port() >= open && a.Port() <= vacant })
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		conn, err := place.Dial(t.Context(), "tcp", HostPort("127.0.0.1", open))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	for range 2 {
		if conn, err := place.Dial(t.Context(), "tcp", HostPort("127.0.0.1", vacant)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Fatalf("got %v, %v, want that it is refused", conn, err)
		}
	}
	for range 2 { // the first has room
		go func() {
			if conn, err := place.Dial(t.Context(), "tcp", HostPort("127.0.0.1", full)); err == nil {
				defer conn.Close()
				<-t.Context().Done()
			}
		}()
	}
	accepted, err := server.Accept() // a RST of an open connection
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(accepted.(*net.TCPConn).SetLinger(0), accepted.Close()); err != nil {
		t.Fatal(err)
	}
	err = Poll(t.Context(), 20*time.Second, func() error {
		if c := w.Count(); c.Unanswered != 1 || c.Retransmitted == 0 || c.Answered != 4 {
			return fmt.Errorf("got %v", c)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	got, err := w.Stop()
	if err != nil || got.Connections != 7 || got.Refused != 2 || got.Resets != 1 || got.Missed != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}
