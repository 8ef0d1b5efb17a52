//go:build e2e && handovers

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// askVersions sends an ApiVersions request, and reads its response.
func askVersions(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 1)); err != nil {
		return err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(size[:])))
	return errors.Join(err, conn.SetDeadline(time.Time{}))
}

// storm is clients that connect, ask once, and connect again.
type storm struct {
	stop context.CancelFunc
	all  sync.WaitGroup

	mu     sync.Mutex // guards the following
	asked  int
	failed map[string]int // by error
}

func startStorm(t *testing.T, clients int, address string) *storm {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &storm{stop: cancel, failed: map[string]int{}}
	for range clients {
		s.all.Go(func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				s.once(ctx, address)
			}
		})
	}
	return s
}

func (s *storm) once(ctx context.Context, address string) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err == nil {
		err = askVersions(conn)
		_ = conn.Close()
	}
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if err != nil {
		text := err.Error()
		s.failed[text[strings.LastIndex(text, ": ")+1:]]++
	}
}

// counts returns how many connections there were, and how many of them had no response.
func (s *storm) counts() (asked, failed int, how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.failed {
		failed += n
	}
	return s.asked, failed, fmt.Sprint(s.failed)
}

func (s *storm) end() {
	s.stop()
	s.all.Wait()
}

// herd is clients in TLS that stay, and connect again at once when their connection ends.
type herd struct {
	began time.Time
	stop  context.CancelFunc
	all   sync.WaitGroup

	mu         sync.Mutex // guards the following
	open       map[net.Conn]bool
	handshakes []time.Duration // since began
	longest    time.Duration   // from the end of a connection to a response on the next one
	errs       []error
}

func startHerd(t *testing.T, clients int, address string, conf *tls.Config) *herd {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	h := &herd{began: time.Now(), stop: cancel, open: map[net.Conn]bool{}}
	for range clients {
		h.all.Go(func() {
			var ended time.Time
			for ctx.Err() == nil {
				ended = h.once(ctx, address, conf, ended)
			}
		})
	}
	h.awaitAll(t, clients)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs = nil // that all came at once may have been too much for the machine
	return h
}

// awaitAll waits until all clients are connected.
func (h *herd) awaitAll(t *testing.T, clients int) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		if n := h.connected(); n < clients {
			return fmt.Errorf("%d of %d clients are connected", n, clients)
		}
		return nil
	})
}

// once connects, and returns when the connection has ended.
func (h *herd) once(ctx context.Context, address string, conf *tls.Config, before time.Time) (ended time.Time) {
	dialer := tls.Dialer{Config: conf}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	at := time.Now()
	if err == nil {
		err = askVersions(conn)
	}
	h.mu.Lock()
	switch {
	case err != nil && ctx.Err() == nil:
		h.errs = append(h.errs, err)
	case err == nil:
		h.open[conn] = true
		h.handshakes = append(h.handshakes, at.Sub(h.began))
		if !before.IsZero() {
			h.longest = max(h.longest, time.Since(before))
		}
	}
	h.mu.Unlock()
	if conn == nil {
		return before
	}
	defer conn.Close()
	if err == nil && ctx.Err() == nil {
		_, _ = io.Copy(io.Discard, conn) // until its end
	}
	h.mu.Lock()
	delete(h.open, conn)
	h.mu.Unlock()
	return time.Now()
}

func (h *herd) connected() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// since returns how many handshakes there were in each second behind a moment.
func (h *herd) since(moment time.Duration) (each []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, at := range h.handshakes {
		second := int((at - moment) / time.Second)
		if at < moment {
			continue
		}
		for len(each) <= second {
			each = append(each, 0)
		}
		each[second]++
	}
	return each
}

func (h *herd) end() {
	h.stop()
	h.mu.Lock()
	for conn := range h.open {
		_ = conn.Close()
	}
	h.mu.Unlock()
	h.all.Wait()
}
