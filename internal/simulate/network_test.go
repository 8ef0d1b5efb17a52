package simulate

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// stormy delays and cuts everything.
var stormy = Weather{Seed: 1, Delay: time.Second, Piece: 7, Window: 1000}

// pair returns both ends of a connection in memory.
func pair(t *testing.T) (near, far *conn) {
	t.Helper()
	m := NewMemory(stormy)
	l, err := m.Listen(t.Context(), "tcp", "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	dialled, err := m.DialFrom(t.Context(), "127.0.0.2", "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	near, far = dialled.(*conn), accepted.(*conn) //nolint:forcetypeassert // it is Memory's
	t.Cleanup(func() {
		_ = l.Close()
		_ = near.Close()
		_ = far.Close()
		if m.Open() != 0 {
			t.Errorf("%d ends are open", m.Open())
		}
	})
	return near, far
}

// All bytes arrive, in order, and the end behind them.
func TestMemoryKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pair(t)
		sent := recordBytes(1, 50_000)
		go func() {
			_, _ = near.Write(sent)
			_ = near.CloseWrite()
		}()
		got, err := io.ReadAll(far)
		if err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes have arrived, want %d: %v", len(got), len(sent), err)
		}
		if _, err := far.Write([]byte("late")); err != nil {
			t.Errorf("the other direction: %v", err)
		}
	})
}

// A reset overtakes bytes that have not arrived; those that have are read first.
func TestMemoryReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pair(t)
		_, _ = near.Write([]byte("first"))
		wait := time.NewTimer(stormy.Delay)
		<-wait.C
		_, _ = near.Write(bytes.Repeat([]byte("x"), 500))
		_ = near.SetLinger(0)
		_ = near.Close()
		got, err := io.ReadAll(far)
		if !errors.Is(err, syscall.ECONNRESET) || !bytes.HasPrefix(got, []byte("first")) || len(got) > 400 {
			t.Errorf("%d bytes have arrived: %v", len(got), err)
		}
		if _, err := far.Write([]byte("x")); err == nil {
			t.Error("a write to a connection that is reset succeeds")
		}
	})
}

// A connection that is closed before all was read is reset.
func TestMemoryClosedWithUnreadBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pair(t)
		_, _ = near.Write([]byte("unread"))
		wait := time.NewTimer(stormy.Delay)
		<-wait.C
		_ = far.Close()
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v, want a reset", err)
		}
	})
}

// A write waits while the reader has a window of bytes to read, and heeds its deadline.
func TestMemoryWindowAndDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pair(t)
		_ = near.SetWriteDeadline(time.Now().Add(time.Minute))
		n, err := near.Write(make([]byte, 5000))
		if n != stormy.Window || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes were written: %v", n, err)
		}
		_ = near.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		woken := make(chan error)
		go func() {
			_ = near.SetReadDeadline(time.Time{})
			_, err := near.Read(make([]byte, 1))
			woken <- err
		}()
		synctest.Wait()
		_ = near.SetReadDeadline(time.Unix(1, 0))
		if err := <-woken; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a read that waits ends by %v", err)
		}
		if _, err := io.ReadFull(far, make([]byte, n)); err != nil {
			t.Error(err)
		}
	})
}

func TestMemoryDial(t *testing.T) {
	m := NewMemory(stormy)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := m.DialFrom(ctx, "127.0.0.2", "127.0.0.1:1"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
	l, err := m.Listen(ctx, "tcp", "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Listen(ctx, "tcp", "127.0.0.1:1"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
	m.Alias("name.test:9", "127.0.0.1:1")
	c, err := m.DialFrom(ctx, "127.0.0.2", "name.test:9")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that was not accepted ends by %v", err)
	}
	cancel()
	if _, err := m.DialFrom(ctx, "127.0.0.2", "name.test:9"); err == nil {
		t.Error("a dial succeeds whose context has ended")
	}
}
