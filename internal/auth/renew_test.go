package auth

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// source is the source of a keeper: increasing numbers.
type source struct {
	fetches int
	life    time.Duration
	err     error
	hang    bool
}

func (s *source) fetch(ctx context.Context) (*good[int], error) {
	s.fetches++
	n := s.fetches
	if s.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if s.err != nil {
		return nil, s.err
	}
	now := time.Now()
	return &good[int]{value: n, renew: now.Add(s.life / 2), until: now.Add(s.life)}, nil
}

// pass advances the time in the bubble, and waits for its effects.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func want(t *testing.T, k *keeper[int], value int) *good[int] {
	t.Helper()
	g, err := k.get(t.Context())
	if err != nil || g.value != value {
		t.Fatalf("got %+v, %v, want %d", g, err, value)
	}
	return g
}

func TestOneFetchServesAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper("nothing came", 10*time.Second, (&source{life: time.Hour}).fetch)
		defer k.close()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { want(t, k, 1) })
		}
		all.Wait()
	})
}

// While the kept result is valid, a source that hangs or fails delays no caller, and is
// asked at intervals only.
func TestAGoodOneIsGivenAtOnce(t *testing.T) {
	t.Parallel()
	s := &source{life: time.Hour}
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper("nothing came", 10*time.Second, s.fetch)
		defer k.close()
		want(t, k, 1)
		pass(s.life/2 + time.Second)
		s.hang = true
		for range 100 {
			before := time.Now()
			want(t, k, 1)
			if time.Since(before) > 0 {
				t.Fatal("a login waited though there is a good one")
			}
			pass(100 * time.Millisecond)
		}
		if s.fetches > 2 {
			t.Errorf("%d fetches, want one beside", s.fetches)
		}
		pass(10 * time.Second)
		s.hang, s.err = false, errors.New("down")
		for range 1000 {
			want(t, k, 1)
			pass(10 * time.Millisecond)
			synctest.Wait()
		}
		if s.fetches > 5 {
			t.Errorf("%d fetches within 10 s of failures, want a pause between them", s.fetches)
		}
		s.err = nil
		pass(retryFetch + time.Second)
		n := s.fetches
		want(t, k, 1)
		synctest.Wait()
		want(t, k, n+1)
	})
}

// Without a kept result, a login waits as long as its context allows, and the fetch as
// long as its own limit.
func TestWaitingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	s := &source{hang: true}
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper("nothing came", 10*time.Second, s.fetch)
		defer k.close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		before := time.Now()
		if _, err := k.get(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(before) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(before))
		}
		if _, err := k.get(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(before) != 10*time.Second {
			t.Errorf("got %v after %s, want the end of the fetch that goes on", err, time.Since(before))
		}
		if s.fetches != 1 {
			t.Errorf("%d fetches, want one for both", s.fetches)
		}
	})
}

// A result that brokers refuse is forgotten, but only once per pause.
func TestWhatIsRefusedIsForgotten(t *testing.T) {
	t.Parallel()
	s := &source{life: time.Hour}
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper("nothing came", 10*time.Second, s.fetch)
		defer k.close()
		pass(time.Hour) // the clock of the bubble begins at its own epoch
		first := want(t, k, 1)
		k.forget(first)
		second := want(t, k, 2)
		k.forget(first) // by a login that began before
		k.forget(second)
		want(t, k, 2)
		pass(forgetPause)
		k.forget(second)
		want(t, k, 3)
	})
}

func TestCloseWaitsForNoSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper("nothing came", time.Hour, (&source{hang: true}).fetch)
		go func() { _, _ = k.get(t.Context()) }()
		synctest.Wait()
		before := time.Now()
		k.close()
		if time.Since(before) > 0 {
			t.Error("it waited")
		}
		if _, err := k.get(t.Context()); !errors.Is(err, context.Canceled) {
			t.Errorf("afterwards: got %v", err)
		}
	})
}
