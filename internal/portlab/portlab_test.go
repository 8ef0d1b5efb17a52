package portlab_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"kproxy/internal/portlab"
)

func TestClosed(t *testing.T) {
	address := portlab.Closed(t)
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, %v, want that the connection is refused", conn, err)
	}
	if l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address); err == nil {
		l.Close()
		t.Error("another test can listen there")
	}
}

func TestHost(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		host := portlab.Host(t)
		if l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(host, "9092")); err != nil {
			t.Error(err)
		} else {
			defer l.Close()
		}
		if seen[host] {
			t.Errorf("%s is there twice", host)
		}
		seen[host] = true
	}
}
