package turns

import (
	"context"
	"testing"
)

// One processor is left to the open sessions, if there is more than one.
func TestPlacesLeaveAProcessor(t *testing.T) {
	for processors, want := range map[int]int{1: 1, 2: 1, 3: 2, 8: 7} {
		if got := placesFor(processors); got != want {
			t.Errorf("%d places on %d processors, want %d", got, processors, want)
		}
	}
}

func TestTurn(t *testing.T) {
	var w Waiters
	p := NewPlaces(1, &w)
	first, second := Turn{Places: p}, Turn{Places: p}
	first.Enter() // takes no turns yet
	if p.Taken() != 0 {
		t.Error("a session that takes no turns has a place")
	}
	first.Begin()
	first.Enter() // has one
	if !first.On() || p.Taken() != 1 || p.TryTake() {
		t.Errorf("%d places are taken, want the only one", p.Taken())
	}
	entered := make(chan struct{})
	go func() {
		defer close(entered)
		second.Begin()
	}()
	for w.Count() == 0 {
		select {
		case <-entered:
			t.Fatal("two sessions have the only place")
		default:
		}
	}
	first.Leave()
	<-entered
	if first.Leave(); p.Taken() != 1 || w.Count() != 0 {
		t.Errorf("%d places are taken and %d sessions wait, want 1 and 0", p.Taken(), w.Count())
	}
	second.End()
	if second.On() || p.Taken() != 0 {
		t.Error("a session that takes no turns any more has a place")
	}
}

// A session that stops waiting gets no place, and does not count as one that waits.
func TestTakeUntilDone(t *testing.T) {
	var w Waiters
	p := NewPlaces(1, &w)
	p.TryTake()
	done := make(chan struct{})
	close(done)
	if p.Take(done) || w.Count() != 0 {
		t.Errorf("it took a place that is taken, or %d wait", w.Count())
	}
}

func TestWaitersAreFull(t *testing.T) {
	var w Waiters
	w.Add(Max - 1)
	if w.IsFull() {
		t.Error("full with one less than Max")
	}
	w.Wait(t.Context()) // returns at once
	w.Add(1)
	if !w.IsFull() {
		t.Error("not full with Max")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.Wait(ctx)
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		w.Wait(context.WithoutCancel(ctx))
	}()
	w.Close()
	<-waited
	if w.IsFull() {
		t.Error("full after Close")
	}
}
