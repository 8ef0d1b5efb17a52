package proxy

import (
	"context"
	"time"
)

// past is a deadline that has expired.
var past = time.Unix(1, 0)

// sleep waits, but not beyond the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
