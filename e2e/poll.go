//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// pollInterval is short against every event waited for and long against what
// one look costs.
const pollInterval = 50 * time.Millisecond

// permanentError ends a poll: looking again cannot help.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

func permanent(err error) error { return permanentError{err} }

// poll looks until cond returns nil, for what only looking can tell: what
// another process has got to. Its error is cond's last one.
func poll(ctx context.Context, timeout time.Duration, cond func() error) error {
	deadline := time.After(timeout)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		if _, ok := errors.AsType[permanentError](err); ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-deadline:
			return fmt.Errorf("after %v: %w", timeout, err)
		case <-tick.C:
		}
	}
}

// eventually fails the test if cond does not return nil within the timeout.
func eventually(t *testing.T, timeout time.Duration, cond func() error) {
	t.Helper()
	if err := poll(t.Context(), timeout, cond); err != nil {
		t.Fatal(err)
	}
}
