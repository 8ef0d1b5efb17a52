package netlab_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kproxy/internal/netlab"
)

// kinds are the kinds of networks; the value reports whether it is in memory.
var kinds = map[string]bool{"tcp": false, "memory": true}

func listen(t *testing.T, n *netlab.Network, address string) net.Listener {
	t.Helper()
	l, err := n.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// connect returns both ends of a connection to address, which l accepts.
func connect(t *testing.T, n *netlab.Network, l net.Listener, address string) (near, far net.Conn) {
	t.Helper()
	taken := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		taken <- conn
	}()
	near, err := n.Dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	far = <-taken
	t.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
	})
	return near, far
}

func TestDialReachesWhatWasListenedOn(t *testing.T) {
	for name, inMemory := range kinds {
		t.Run(name, func(t *testing.T) {
			n := &netlab.Network{InMemory: inMemory}
			l := listen(t, n, "broker.vpc.invalid:9092")
			n.Alias("other.invalid:1", "BROKER.vpc.invalid:9092")
			n.Alias("third.invalid:1", l.Addr().String())
			for _, address := range []string{"broker.vpc.invalid:9092", "Broker.VPC.invalid:9092", "other.invalid:1", "third.invalid:1"} {
				near, far := connect(t, n, l, address)
				go func() { _, _ = near.Write([]byte("hello")) }()
				got := make([]byte, 5)
				if _, err := io.ReadFull(far, got); err != nil || string(got) != "hello" {
					t.Errorf("%s: got %q, %v", address, got, err)
				}
			}
			if got := n.Accepted(); got != 4 {
				t.Errorf("accepted %d, want 4", got)
			}
			if got := n.Refused(); got != 0 {
				t.Errorf("refused %d, want 0", got)
			}
		})
	}
}

// Nothing else is reached, real addresses included.
func TestDialRefusesWhatIsNotThere(t *testing.T) {
	for name, inMemory := range kinds {
		t.Run(name, func(t *testing.T) {
			n := &netlab.Network{InMemory: inMemory}
			l := listen(t, n, "broker.vpc.invalid:9092")
			n.Remove("Broker.vpc.invalid:9092")
			for i, address := range []string{"broker.vpc.invalid:9092", "nobody.invalid:9092", l.Addr().String(), "127.0.0.1:1"} {
				if conn, err := n.Dial(t.Context(), "tcp", address); err == nil {
					_ = conn.Close()
					t.Errorf("%s was reached", address)
				}
				if got := n.Refused(); got != i+1 {
					t.Errorf("refused %d, want %d", got, i+1)
				}
			}
			if got := n.Accepted(); got != 0 {
				t.Errorf("accepted %d, want 0", got)
			}
		})
	}
}

func TestListenerThatIsClosed(t *testing.T) {
	for name, inMemory := range kinds {
		t.Run(name, func(t *testing.T) {
			n := &netlab.Network{InMemory: inMemory}
			l := listen(t, n, "broker.vpc.invalid:9092")
			_ = l.Close()
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept: %v, want %v", err, net.ErrClosed)
			}
			if !inMemory { // another socket may have the port by now
				if other, err := new(net.ListenConfig).Listen(t.Context(), "tcp", l.Addr().String()); err == nil {
					defer other.Close()
				}
			}
			if conn, err := n.Dial(t.Context(), "tcp", "broker.vpc.invalid:9092"); err == nil {
				_ = conn.Close()
				t.Error("a closed listener was reached")
			} else if !inMemory && !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("got %v, want that the connection is refused", err)
			}
			if got := n.Refused(); got != 0 {
				t.Errorf("refused %d, want 0: the address is on the network", got)
			}
		})
	}
}

func TestListenAsSaysItsName(t *testing.T) {
	for name, inMemory := range kinds {
		t.Run(name, func(t *testing.T) {
			n := &netlab.Network{InMemory: inMemory}
			l, err := n.ListenAs(t.Context(), "broker.vpc.invalid:9092")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			if got := l.Addr().String(); got != "broker.vpc.invalid:9092" {
				t.Errorf("got %s", got)
			}
			connect(t, n, l, "broker.vpc.invalid:9092")
		})
	}
}

// The directions of a connection end one by one.
func TestHalfClose(t *testing.T) {
	for name, inMemory := range kinds {
		t.Run(name, func(t *testing.T) {
			n := &netlab.Network{InMemory: inMemory}
			near, far := connect(t, n, listen(t, n, "a.invalid:1"), "a.invalid:1")
			if err := near.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("Read: %v, want EOF", err)
			}
			go func() {
				_, _ = far.Write([]byte("late"))
				_ = far.Close()
			}()
			if got, err := io.ReadAll(near); string(got) != "late" || err != nil {
				t.Errorf("the other direction: got %q, %v", got, err)
			}
		})
	}
}

func TestDeadlines(t *testing.T) {
	for name, inMemory := range kinds {
		t.Run(name, func(t *testing.T) {
			n := &netlab.Network{InMemory: inMemory}
			near, far := connect(t, n, listen(t, n, "a.invalid:1"), "a.invalid:1")
			for name, set := range map[string]func(time.Time) error{"read": near.SetReadDeadline, "both": near.SetDeadline} {
				if err := set(time.Now().Add(time.Millisecond)); err != nil {
					t.Fatal(err)
				}
				var timeout net.Error
				if _, err := near.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
					t.Errorf("%s: %v, want a timeout", name, err)
				}
				_ = set(time.Time{})
			}
			for name, set := range map[string]func(time.Time) error{"write": near.SetWriteDeadline, "both": near.SetDeadline} {
				if err := set(time.Unix(1, 0)); err != nil {
					t.Fatal(err)
				}
				var timeout net.Error
				if _, err := near.Write([]byte("x")); !errors.As(err, &timeout) || !timeout.Timeout() {
					t.Errorf("%s: %v, want a timeout", name, err)
				}
				_ = set(time.Time{})
			}
			go func() { _, _ = near.Write([]byte("x")) }()
			if _, err := far.Read(make([]byte, 1)); err != nil {
				t.Errorf("a deadline that was taken back: %v", err)
			}
		})
	}
}

// A dial in memory waits for an accept, but not for ever.
func TestDialEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &netlab.Network{InMemory: true}
		listen(t, n, "a.invalid:1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := n.Dial(ctx, "tcp", "a.invalid:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial: %v, want %v", err, context.DeadlineExceeded)
		}
	})
}
