package auth

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// good is a valid token, or credentials.
type good[T any] struct {
	value T
	renew time.Time // the time of the background fetch of the next; never before its first use
	until time.Time // the time after which no login uses it; zero: no limit
}

// keeper gives logins the result of one fetch, and fetches again in time:
//
//	fetched ──────────▶ renew ─────────────▶ until
//	  given at once       given at once,       logins wait for a fetch
//	                      fetched beside
//
// One fetch runs at a time, and serves all waiting logins. A login waits for as
// long as its context allows; the fetch has a deadline of its own.
type keeper[T any] struct {
	missing string // names the missing result to callers that wait in vain
	fetch   func(ctx context.Context) (*good[T], error)
	timeout time.Duration // of a fetch

	ctx      context.Context // of all fetches
	cancel   context.CancelFunc
	fetching sync.WaitGroup // started under mu

	mu     sync.Mutex // guards the following
	held   *good[T]   // nil: none
	now    *fetched[T]
	again  time.Time // no background fetch starts before
	forgot time.Time // when one was last forgotten
	closed bool
}

// fetched is a running fetch, or its result. done is closed when there is one.
type fetched[T any] struct {
	done chan struct{}
	got  *good[T]
	err  error
}

const (
	// retryFetch is the pause after a background fetch has failed. The kept result is
	// valid meanwhile.
	retryFetch = 5 * time.Second
	// forgetPause is the least time between two results that are dropped because brokers
	// refuse them. A broker that refuses all logins causes one fetch in that time.
	forgetPause = 5 * time.Second
)

func newKeeper[T any](missing string, timeout time.Duration, fetch func(context.Context) (*good[T], error)) *keeper[T] {
	k := &keeper[T]{missing: missing, fetch: fetch, timeout: timeout}
	k.ctx, k.cancel = context.WithCancel(context.Background()) //nolint:gosec // close cancels it
	return k
}

// get returns the kept result, or waits for one.
func (k *keeper[T]) get(ctx context.Context) (*good[T], error) {
	k.mu.Lock()
	now := time.Now()
	if h := k.held; h != nil && (h.until.IsZero() || now.Before(h.until)) {
		if k.now == nil && now.After(h.renew) && now.After(k.again) {
			k.start()
		}
		k.mu.Unlock()
		return h, nil
	}
	f := k.now
	if f == nil {
		f = k.start()
	}
	k.mu.Unlock()
	select {
	case <-f.done:
		return f.got, f.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", k.missing, ctx.Err())
	}
}

// start begins a fetch. The caller holds mu.
func (k *keeper[T]) start() *fetched[T] {
	f := &fetched[T]{done: make(chan struct{})}
	if k.closed {
		f.err = context.Canceled
		close(f.done)
		return f
	}
	k.now = f
	k.fetching.Go(func() {
		ctx, cancel := context.WithTimeout(k.ctx, k.timeout)
		defer cancel()
		f.got, f.err = k.fetch(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.now = nil; f.err == nil {
			k.held = f.got
		} else {
			k.again = time.Now().Add(retryFetch)
		}
		close(f.done)
	})
	return f
}

// forget drops a result that a broker has refused, so that the next login waits for
// another.
func (k *keeper[T]) forget(refused *good[T]) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); k.held == refused && now.Sub(k.forgot) >= forgetPause {
		k.held, k.forgot = nil, now
	}
}

// close cancels a running fetch and waits for its end.
func (k *keeper[T]) close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.cancel()
	k.fetching.Wait()
}
