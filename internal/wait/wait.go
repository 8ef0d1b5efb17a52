// Package wait has the two ways in which a goroutine of kproxy waits under a context: for a
// time to pass, and for a connection.
package wait

import (
	"context"
	"net"
	"time"
)

// Past is a deadline that has expired. A read or write under it ends at once.
var Past = time.Unix(1, 0)

// Sleep waits for d, or until ctx ends.
func Sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Bound ends the reads and writes of conn when ctx ends. The caller calls stop when it no
// longer waits for conn; stop returns false if ctx has ended them.
func Bound(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(Past) })
}
