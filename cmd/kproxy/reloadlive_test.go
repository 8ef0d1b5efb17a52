package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kproxy/internal/admin"
	"kproxy/proxy/config"
)

// stop ends a trial, whose configuration is not applied.
func TestStopEndsATrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReloading(t, "")
		trying := make(chan struct{})
		r.try = func(ctx context.Context, _ *nextConfig) error {
			close(trying)
			select {
			case <-ctx.Done():
			case <-time.After(liveTimeout):
				t.Error("the trial was not ended")
			}
			return nil
		}
		r.write("log: {level: debug}")
		done := make(chan error, 1)
		go func() {
			_, err := r.reload(t.Context(), trigger{by: byAdmin, live: true})
			done <- err
		}()
		<-trying
		r.stop()()
		if err := <-done; !errors.Is(err, admin.ErrStopping) {
			t.Errorf("got %v", err)
		}
		r.wantCalls("prepare discard")
		r.wantLogged()
	})
}

// A trial that takes too long applies nothing, though it has found no fault.
func TestATrialIsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReloading(t, "")
		r.try = func(ctx context.Context, _ *nextConfig) error {
			<-ctx.Done()
			return nil
		}
		r.write("log: {level: debug}")
		if _, err := r.reload(t.Context(), trigger{by: byAdmin, live: true}); err == nil || !strings.Contains(err.Error(), "was not complete after 1m30s") {
			t.Errorf("got %v", err)
		}
		r.wantCalls("prepare discard")
	})
}

// The watch does not apply a configuration that a trial has refused.
func TestWatchLeavesWhatATrialRefused(t *testing.T) {
	watching(t, "", func(t *testing.T, r *reloading) {
		t.Helper()
		r.try = func(context.Context, *nextConfig) error {
			return &config.Error{Key: "clusters", Problem: "p", Fix: "f"}
		}
		r.write("log: {level: debug}")
		if _, err := r.reload(t.Context(), trigger{by: byAdmin, live: true}); err == nil {
			t.Error("the trial has refused nothing")
		}
		r.wantCalls("prepare discard")
		poll()
		r.wantCalls("")
	})
}
