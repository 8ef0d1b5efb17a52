package proxy

import (
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func newInflight() *inflight {
	q := &inflight{}
	q.init()
	return q
}

// pushed pushes requests with these correlation ids.
func pushed(t *testing.T, ids ...int32) *inflight {
	t.Helper()
	q := newInflight()
	for _, id := range ids {
		if full, mine := q.push(request{correlationID: id}); full || mine {
			t.Fatalf("push %d: full %t, mine %t", id, full, mine)
		}
	}
	return q
}

// takes fails the test unless the next frames answer these correlation ids.
func takes(t *testing.T, q *inflight, ids ...int32) {
	t.Helper()
	for _, want := range ids {
		if r, ok := q.take(); !ok || r.correlationID != want {
			t.Fatalf("take: got %d (%t), want %d", r.correlationID, ok, want)
		}
	}
}

func wantOwed(t *testing.T, q *inflight, want int) {
	t.Helper()
	if got := q.owed(); got != want {
		t.Errorf("%d requests are owed an answer, want %d", got, want)
	}
}

func TestInflightGrowsAroundItsEnd(t *testing.T) {
	q := pushed(t, 0, 1, 2, 3, 4, 5) // of 8 places
	takes(t, q, 0, 1, 2, 3)
	q.settle()
	for id := range int32(100) { // around the end, and beyond what there is
		q.push(request{correlationID: id + 6})
	}
	for id := range int32(102) {
		takes(t, q, id+4)
	}
	if _, ok := q.take(); ok {
		t.Error("an empty queue gave a request")
	}
}

func TestInflightIsBounded(t *testing.T) {
	q := newInflight()
	for id := range int32(maxInflight) {
		q.push(request{correlationID: id})
	}
	if full, _ := q.push(request{correlationID: maxInflight}); !full {
		t.Fatal("it takes more than it should")
	}
	if full, _ := q.push(request{kind: ownAnswer}); !full {
		t.Error("an answer of the proxy's own overtakes")
	}
	takes(t, q, 0)
	if full, _ := q.push(request{}); !full {
		t.Error("an answer that has begun makes room before it is delivered")
	}
	q.settle()
	if full, _ := q.push(request{correlationID: maxInflight}); full {
		t.Error("a delivered answer makes no room")
	}
	for id := range int32(maxInflight) {
		takes(t, q, id+1)
	}
}

// The proxy's own answers are given out by settle, each when nothing in front of
// it is owed.
func TestInflightOwnAnswers(t *testing.T) {
	own := func(s string) request { return request{kind: ownAnswer, own: []byte(s)} }
	q := newInflight()
	if _, mine := q.push(own("a")); !mine {
		t.Error("with nothing owed the caller delivers its own answer")
	}
	wantOwed(t, q, 0)

	q = pushed(t, 1)
	for _, s := range []string{"b", "c"} {
		if _, mine := q.push(own(s)); mine {
			t.Error("an answer overtakes one that is owed")
		}
	}
	q.push(request{correlationID: 2})
	if got := q.settle(); got != nil {
		t.Errorf("settle gave %q before its turn", got)
	}
	takes(t, q, 1)
	if r, ok := q.take(); !ok || r.kind != ownAnswer {
		t.Errorf("take: got %+v, want a sign that an answer of the proxy's own comes first", r)
	}
	var got []string
	for s := q.settle(); s != nil; s = q.settle() {
		got = append(got, string(s))
	}
	if !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("settle gave %q, want b and c", got)
	}
	takes(t, q, 2)
	wantOwed(t, q, 1)
	q.settle()
	wantOwed(t, q, 0)
}

func TestInflightUnpush(t *testing.T) {
	q := pushed(t, 1, 2)
	q.unpush()
	wantOwed(t, q, 1)
	takes(t, q, 1)
	q.unpush() // its answer has begun all the same: the broker answers before it has all
	wantOwed(t, q, 1)
	q.settle()
	wantOwed(t, q, 0)
	q.unpush()
	wantOwed(t, q, 0)
	q.push(request{correlationID: 3})
	takes(t, q, 3)
}

// Of the answers that have begun, all but the last are whole.
func TestInflightOwed(t *testing.T) {
	q := pushed(t, 1, 2, 3)
	wantOwed(t, q, 3)
	takes(t, q, 1)
	wantOwed(t, q, 3)
	takes(t, q, 2)
	wantOwed(t, q, 2)
	q.settle()
	wantOwed(t, q, 1)
}

func TestInflightTokens(t *testing.T) {
	q := pushed(t, 1)
	q.setRawSASL(true)
	takes(t, q, 1)
	if r, ok := q.take(); !ok || r.kind != saslToken {
		t.Errorf("take: got %+v, want a token", r)
	}
	q.setRawSASL(false)
	if _, ok := q.take(); ok {
		t.Error("take gave a token where none is expected")
	}
}

// Who waits is woken by what it waits for, and by the end.
func TestInflightWaits(t *testing.T) {
	waiting := func(t *testing.T, wait func()) (done func() bool) {
		t.Helper()
		returned := make(chan struct{})
		go func() {
			wait()
			close(returned)
		}()
		return func() bool {
			synctest.Wait()
			select {
			case <-returned:
				return true
			default:
				return false
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		q := pushed(t, 1, 2)
		done := waiting(t, q.waitDelivered)
		takes(t, q, 1)
		q.settle()
		takes(t, q, 2)
		if done() {
			t.Error("waitDelivered returns while an answer is owed")
		}
		q.settle()
		if !done() {
			t.Error("waitDelivered waits for nothing")
		}

		for range maxInflight {
			q.push(request{})
		}
		done = waiting(t, q.waitRoom)
		if done() {
			t.Error("waitRoom returns without room")
		}
		q.take()
		q.settle()
		if !done() {
			t.Error("waitRoom waits although there is room")
		}

		done = waiting(t, q.waitDelivered)
		q.close()
		if !done() || !q.isClosed() {
			t.Error("the end wakes nobody")
		}
		wantOwed(t, q, maxInflight-1)
	})
}

// Whatever is pushed comes out in order, once.
func TestInflightAgainstAModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	q := newInflight()
	var model []int32 // not taken yet
	next, taken := int32(0), 0
	for range 100_000 {
		switch random.IntN(5) {
		case 0, 1:
			full, mine := q.push(request{correlationID: next})
			if mine || full != (len(model)+taken == maxInflight) {
				t.Fatalf("push: full %t, mine %t with %d in it", full, mine, len(model)+taken)
			}
			if !full {
				model = append(model, next)
				next++
			}
		case 2, 3:
			r, ok := q.take()
			if ok != (len(model) > 0) || ok && r.correlationID != model[0] {
				t.Fatalf("take: got %d (%t), want the first of %v", r.correlationID, ok, model)
			}
			if ok {
				model, taken = model[1:], taken+1
			}
		case 4:
			if own := q.settle(); own != nil {
				t.Fatalf("settle gave %q", own)
			}
			taken = 0
		}
	}
}

// A request's way through the queue, with the requests and the answers in one
// goroutine: what it costs where nobody waits.
func BenchmarkInflight(b *testing.B) {
	q := newInflight()
	b.ReportAllocs()
	for b.Loop() {
		q.push(request{})
		q.take()
		q.settle()
	}
}

// together runs two functions at the same moment, rounds times, the one a little later or
// earlier than the other each time. before and after each round it runs those.
func together(rounds int, before func(), one, other func(), after func(round int)) {
	var begun, done atomic.Int64
	const widest = 64 // steps
	wait := func(steps int) {
		for range steps {
			_ = begun.Load()
		}
	}
	var running sync.WaitGroup
	running.Go(func() {
		for round := range rounds {
			for begun.Load() <= int64(round) {
				runtime.Gosched()
			}
			wait(round % widest)
			other()
			done.Store(int64(round) + 1)
		}
	})
	for round := range rounds {
		before()
		begun.Store(int64(round) + 1)
		wait(widest / 2)
		one()
		for done.Load() <= int64(round) {
			runtime.Gosched()
		}
		after(round)
	}
	running.Wait()
}

// An answer of the proxy's own that is pushed while the pump of answers is about to wait is
// one of either's: nobody else would come for it.
func TestInflightOwnAnswerIsSomebodys(t *testing.T) {
	q := newInflight()
	var mine bool
	var given []byte
	together(500_000, func() {
		q.push(request{correlationID: 1})
		q.take()
	}, func() {
		_, mine = q.push(request{kind: ownAnswer, own: []byte("x")})
	}, func() {
		given = q.settle()
	}, func(round int) {
		if theirs := given != nil; mine == theirs {
			t.Errorf("round %d: mine %t, given by settle %t", round, mine, theirs)
		}
		for q.settle() != nil {
		}
		if got := q.owed(); got != 0 || q.own.Load() != 0 {
			t.Errorf("round %d: %d owed, %d bytes", round, got, q.own.Load())
		}
	})
}

// The proxy's own answers wait up to a number of bytes, whatever their number.
func TestInflightOwnAnswersAreBounded(t *testing.T) {
	q := pushed(t, 1)
	half := request{kind: ownAnswer, own: make([]byte, maxOwn/2)}
	for n := range 3 {
		if full, mine := q.push(half); full != (n == 2) || mine {
			t.Fatalf("answer %d: full %t, mine %t", n, full, mine)
		}
	}
	takes(t, q, 1)
	q.settle()
	if full, _ := q.push(half); full {
		t.Error("one that was given makes no room")
	}
}

// Whatever else happens to a login that is due, who asks a session to leave is heard.
func TestLeaveBesideALogin(t *testing.T) {
	const rounds = 300_000
	client, peer := net.Pipe()
	defer client.Close()
	defer peer.Close()
	s := &session{client: client, proxy: &Proxy{}}
	together(rounds, func() {
		s.leaving.Store(errLoginDue)
	}, func() {
		s.leave(Drained)
	}, func() {
		s.leaving.CompareAndSwap(errLoginDue, nil)
	}, func(round int) {
		if s.asked() == nil {
			t.Errorf("round %d: it was not", round)
		}
	})
}
