package wait

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		Sleep(t.Context(), time.Minute)
		if passed := time.Since(start); passed != time.Minute {
			t.Errorf("Sleep took %s, want 1m", passed)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		Sleep(ctx, time.Minute)
		if passed := time.Since(start); passed != time.Second {
			t.Errorf("Sleep took %s after the end of its context, want 1s", passed)
		}
	})
}

func TestBound(t *testing.T) {
	conn, far := net.Pipe()
	defer func() { _, _ = conn.Close(), far.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	stop := Bound(ctx, conn)
	cancel()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if stop() {
		t.Error("stop returned true after the end of the context")
	}
}
