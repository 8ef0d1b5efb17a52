package auth

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
)

// held is turns whose only place is taken.
func held(t *testing.T) *turns {
	t.Helper()
	all := newTurns(1)
	if err := all.take(t.Context(), claimant{}); err != nil {
		t.Fatal(err)
	}
	return all
}

// wait has a claimant take a place in another goroutine, which gives it back at
// once. The order in which that happens goes to served.
func wait(ctx context.Context, all *turns, c claimant, name string, served *[]string) (err *error) {
	err = new(error)
	go func() {
		if *err = all.take(ctx, c); *err == nil {
			*served = append(*served, name)
			all.release()
		}
	}()
	synctest.Wait()
	return err
}

func TestTurnsGoRoundBySource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := held(t)
		var served []string
		for i := range 3 {
			wait(t.Context(), all, claimant{path: []any{"flood"}}, "flood "+strconv.Itoa(i), &served)
		}
		wait(t.Context(), all, claimant{path: []any{"alice"}}, "alice", &served)
		wait(t.Context(), all, claimant{path: []any{"bob"}}, "bob", &served)
		all.release()
		synctest.Wait()
		if want := []string{"flood 0", "alice", "bob", "flood 1", "flood 2"}; !slices.Equal(served, want) {
			t.Errorf("got %q, want %q", served, want)
		}
	})
}

// A client that tries one user's password again and again delays the other users of
// its address by one computation each, also when too many wait.
func TestTurnsGoRoundByUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := held(t)
		var served []string
		var last *error
		for range maxWaiting - 1 {
			last = wait(t.Context(), all, claimant{path: []any{"nat", "broken"}}, "broken", &served)
		}
		wait(t.Context(), all, claimant{path: []any{"another", "carl"}}, "carl", &served)
		wait(t.Context(), all, claimant{path: []any{"nat", "alice"}}, "alice", &served)
		if !errors.Is(*last, ErrTooMany) {
			t.Errorf("the newest of those that fail: got %v, want %v", *last, ErrTooMany)
		}
		all.release()
		synctest.Wait()
		if a, c := slices.Index(served, "alice"), slices.Index(served, "carl"); a < 0 || a > 3 || c < 0 || c > 3 || len(served) != maxWaiting {
			t.Errorf("%d were served, carl as number %d and alice as number %d", len(served), c, a)
		}
	})
}

func TestLoginsAtBrokersDoNotWaitForClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := held(t)
		var served []string
		for _, source := range []string{"a", "b", "c"} {
			wait(t.Context(), all, claimant{kind: forClients, path: []any{source}}, source, &served)
		}
		wait(t.Context(), all, claimant{kind: forBrokers, path: []any{"orders"}}, "orders", &served)
		all.release()
		synctest.Wait()
		if i := slices.Index(served, "orders"); i < 0 || i > 1 {
			t.Errorf("got %q: the login at a broker waits for all clients", served)
		}
	})
}

func TestNoMoreThanMaxWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := held(t)
		var served []string
		errs := make([]*error, maxWaiting)
		for i := range errs {
			errs[i] = wait(t.Context(), all, claimant{path: []any{"flood"}}, "flood", &served)
		}
		if err := all.take(t.Context(), claimant{path: []any{"flood"}}); !errors.Is(err, ErrTooMany) {
			t.Errorf("one more of the flood: got %v, want %v", err, ErrTooMany)
		}
		wait(t.Context(), all, claimant{path: []any{"alice"}}, "alice", &served)
		if err := *errs[maxWaiting-1]; !errors.Is(err, ErrTooMany) {
			t.Errorf("the flood's newest: got %v, want %v, for it makes room for another source", err, ErrTooMany)
		}
		all.release()
		synctest.Wait()
		if len(served) != maxWaiting || served[1] != "alice" {
			t.Errorf("%d were served, and alice as number %d", len(served), slices.Index(served, "alice"))
		}
		if all.free != 1 || all.lines[forClients].n != 0 || len(all.lines[forClients].below) != 0 {
			t.Errorf("something is left: %+v", all.lines[forClients])
		}
	})
}

// A claimant that leaves loses its turn, whether it is noticed while it waits or
// when the turn comes, and the next one gets it.
func TestClaimantsThatLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := held(t)
		var served []string
		left := errors.New("it has left")
		ctx, cancel := context.WithCancel(t.Context())
		canceled := wait(ctx, all, claimant{path: []any{1}}, "canceled", &served)
		leaver := func() error { return left }
		gone := wait(t.Context(), all, claimant{path: []any{2}, stay: leaver}, "gone", &served)
		wait(t.Context(), all, claimant{path: []any{3}}, "alice", &served)
		cancel()
		all.release() // before anything has looked
		synctest.Wait()
		if !errors.Is(*canceled, context.Canceled) || !errors.Is(*gone, left) || !slices.Equal(served, []string{"alice"}) {
			t.Errorf("got %v and %v, and served %q", *canceled, *gone, served)
		}
		if all.free != 1 {
			t.Errorf("%d places are free, want 1", all.free)
		}
	})
}

func TestClaimantsThatLeaveMakeRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := held(t)
		var served []string
		left := errors.New("it has left")
		gone := wait(t.Context(), all, claimant{stay: func() error { return left }}, "gone", &served)
		pass(2 * lookEvery)
		if !errors.Is(*gone, left) || all.lines[forClients].n != 0 {
			t.Errorf("got %v, and %d wait", *gone, all.lines[forClients].n)
		}
	})
}

// Running work holds its place only: its caller may leave, and the others wait no longer
// than it runs.
func TestComputationsAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := newTurns(1)
		hold := make(chan int)
		ctx, cancel := context.WithCancel(t.Context())
		var err error
		go func() { _, err = compute(ctx, all, claimant{}, func() int { return <-hold }) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's end", err)
		}
		if all.free != 0 {
			t.Error("work that goes on has given up its place")
		}
		hold <- 1
		if n, err := compute(t.Context(), all, claimant{}, func() int { return 7 }); n != 7 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
		synctest.Wait()
	})
}
