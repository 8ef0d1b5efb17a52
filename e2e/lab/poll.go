//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// pollInterval is short compared with every event waited for and long compared with the
// cost of one look.
const pollInterval = 50 * time.Millisecond

// permanentError ends a poll: looking again cannot help.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent makes an error of a condition end its Poll.
func Permanent(err error) error { return permanentError{err} }

// Poll looks until cond returns nil. It is for the progress of other processes, which
// sends no event. Its error is cond's last one.
func Poll(ctx context.Context, timeout time.Duration, cond func() error) error {
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
