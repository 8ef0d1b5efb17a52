//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

// longRequest has a header that takes minutes at a byte a second.
func longRequest() []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID(strings.Repeat("x", 200))).AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 0)
}

// dawdler is a connection that kproxy must end.
type dawdler struct {
	conn  net.Conn
	began time.Time
	lived time.Duration // until kproxy ended it; read it after all have ended
	err   error         // it was not ended
}

// gone waits until kproxy ends the connection.
func (d *dawdler) gone() {
	if err := d.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		d.err = err
		return
	}
	_, err := io.Copy(io.Discard, d.conn)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		d.err = fmt.Errorf("a client that dawdles is not ended after %v", patience)
	}
	d.lived = time.Since(d.began)
	reset(d.conn)
}

// dawdlers connects them, each of which begins with greet.
func (st *stage) dawdlers(ctx context.Context, to door, greet func(conn net.Conn) error) ([]*dawdler, error) {
	all := make([]*dawdler, st.Dawdlers)
	raw := door{Address: to.Address}
	began := time.Now()
	var group errgroup.Group
	group.SetLimit(200)
	for i := range all {
		group.Go(func() error {
			conn, err := raw.dial(ctx)
			if err != nil {
				return err
			}
			all[i] = &dawdler{conn: conn, began: began}
			return greet(conn)
		})
	}
	return all, group.Wait()
}

// dawdle makes clients send a byte every second, until kproxy has ended them all.
func (st *stage) dawdle(ctx context.Context, to door, bytes []byte, reason string) error {
	all, err := st.dawdlers(ctx, to, func(conn net.Conn) error {
		_, err := conn.Write(bytes[:1])
		return err
	})
	if err != nil {
		return err
	}
	ctx, ended := context.WithCancel(ctx)
	defer ended()
	var writing sync.WaitGroup
	writing.Go(func() { trickle(ctx, all, bytes[1:]) })
	err = st.outlive(ctx, all, reason)
	ended()
	writing.Wait()
	return err
}

// trickle sends each a byte a second, until ctx ends. The reader of a connection sees its
// end.
func trickle(ctx context.Context, all []*dawdler, bytes []byte) {
	const parts = 20 // of a second
	tick := time.NewTicker(time.Second / parts)
	defer tick.Stop()
	for n := range parts * len(bytes) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for i := n % parts; i < len(all); i += parts {
			_, _ = all[i].conn.Write(bytes[n/parts : n/parts+1])
		}
	}
}

// halfShake makes clients stop in the middle of the handshake.
func (st *stage) halfShake(ctx context.Context) error {
	greeting := hello(ctx)
	all, err := st.dawdlers(ctx, st.kproxy.tls, func(conn net.Conn) error {
		if _, err := conn.Write(greeting); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, make([]byte, 1)) // kproxy has responded, and signed
		return err
	})
	if err != nil {
		return err
	}
	return st.outlive(ctx, all, "tls_timeout")
}

// outlive waits until kproxy has ended all of them, each for the same reason.
func (st *stage) outlive(ctx context.Context, all []*dawdler, reason string) error {
	var ends sync.WaitGroup
	for _, d := range all {
		ends.Go(d.gone)
	}
	err := st.atHeight(ctx, len(all))
	ends.Wait()
	if err != nil {
		return err
	}
	f, err := st.kproxy.settle(ctx, st.untouched())
	if err != nil {
		return err
	}
	st.closedAs(f, reason, len(all))
	for _, d := range all {
		if d.err != nil {
			st.fail("%v", d.err)
			break
		}
		if d.lived < dawdling {
			st.fail("a client was ended after %v, before the limit of %v", d.lived, dawdling)
			break
		}
	}
	by := func(a, b *dawdler) int { return int(a.lived - b.lived) }
	st.note("With a limit of %v they lived between %.2f s and %.2f s", dawdling,
		slices.MinFunc(all, by).lived.Seconds(), slices.MaxFunc(all, by).lived.Seconds())
	return nil
}
