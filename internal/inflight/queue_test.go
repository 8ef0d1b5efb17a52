package inflight

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kproxy/internal/racelab"
)

func newQueue() *Queue {
	q := &Queue{}
	q.Init()
	return q
}

// pushed pushes requests with these correlation ids.
func pushed(t *testing.T, ids ...int32) *Queue {
	t.Helper()
	q := newQueue()
	for _, id := range ids {
		if full, mine := q.Push(Request{CorrelationID: id}); full || mine {
			t.Fatalf("push %d: full %t, mine %t", id, full, mine)
		}
	}
	return q
}

// takes fails the test unless the next frames respond to these correlation ids.
func takes(t *testing.T, q *Queue, ids ...int32) {
	t.Helper()
	for _, want := range ids {
		if r, ok := q.Take(); !ok || r.CorrelationID != want {
			t.Fatalf("take: got %d (%t), want %d", r.CorrelationID, ok, want)
		}
	}
}

func wantOwed(t *testing.T, q *Queue, want int) {
	t.Helper()
	if got := q.Owed(); got != want {
		t.Errorf("%d requests are owed a response, want %d", got, want)
	}
}

func TestQueueGrowsAroundItsEnd(t *testing.T) {
	q := pushed(t, 0, 1, 2, 3, 4, 5) // of 8 places
	takes(t, q, 0, 1, 2, 3)
	q.Settle()
	for id := range int32(100) { // around the end, and beyond it
		q.Push(Request{CorrelationID: id + 6})
	}
	for id := range int32(102) {
		takes(t, q, id+4)
	}
	if _, ok := q.Take(); ok {
		t.Error("an empty queue gave a request")
	}
}

func TestQueueIsBounded(t *testing.T) {
	q := newQueue()
	for id := range int32(maxInflight) {
		q.Push(Request{CorrelationID: id})
	}
	if full, _ := q.Push(Request{CorrelationID: maxInflight}); !full {
		t.Fatal("it takes more than it should")
	}
	if full, _ := q.Push(Request{Kind: OwnResponse}); !full {
		t.Error("a response of the proxy's own overtakes")
	}
	takes(t, q, 0)
	if full, _ := q.Push(Request{}); !full {
		t.Error("a response that has begun makes room before it is delivered")
	}
	q.Settle()
	if full, _ := q.Push(Request{CorrelationID: maxInflight}); full {
		t.Error("a delivered response makes no room")
	}
	for id := range int32(maxInflight) {
		takes(t, q, id+1)
	}
}

// The proxy's own responses are given out by settle, each when nothing in front of
// it is owed.
func TestQueueOwnAnswers(t *testing.T) {
	own := func(s string) Request { return Request{Kind: OwnResponse, Own: []byte(s)} }
	q := newQueue()
	if _, mine := q.Push(own("a")); !mine {
		t.Error("with nothing owed the caller delivers its own response")
	}
	wantOwed(t, q, 0)

	q = pushed(t, 1)
	for _, s := range []string{"b", "c"} {
		if _, mine := q.Push(own(s)); mine {
			t.Error("a response overtakes one that is owed")
		}
	}
	q.Push(Request{CorrelationID: 2})
	if got := q.Settle(); got != nil {
		t.Errorf("settle gave %q before its turn", got)
	}
	takes(t, q, 1)
	if r, ok := q.Take(); !ok || r.Kind != OwnResponse {
		t.Errorf("take: got %+v, want a sign that a response of the proxy's own comes first", r)
	}
	var got []string
	for s := q.Settle(); s != nil; s = q.Settle() {
		got = append(got, string(s))
	}
	if !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("settle gave %q, want b and c", got)
	}
	takes(t, q, 2)
	wantOwed(t, q, 1)
	q.Settle()
	wantOwed(t, q, 0)
}

func TestQueueUnpush(t *testing.T) {
	q := pushed(t, 1, 2)
	q.Unpush()
	wantOwed(t, q, 1)
	takes(t, q, 1)
	q.Unpush() // its response has begun all the same: the broker responds before it has all
	wantOwed(t, q, 1)
	q.Settle()
	wantOwed(t, q, 0)
	q.Unpush()
	wantOwed(t, q, 0)
	q.Push(Request{CorrelationID: 3})
	takes(t, q, 3)
}

// Of the responses that have begun, all but the last are whole.
func TestQueueOwed(t *testing.T) {
	q := pushed(t, 1, 2, 3)
	wantOwed(t, q, 3)
	takes(t, q, 1)
	wantOwed(t, q, 3)
	takes(t, q, 2)
	wantOwed(t, q, 2)
	q.Settle()
	wantOwed(t, q, 1)
}

func TestQueueTokens(t *testing.T) {
	q := pushed(t, 1)
	q.SetRawSASL(true)
	takes(t, q, 1)
	if r, ok := q.Take(); !ok || r.Kind != SASLToken {
		t.Errorf("take: got %+v, want a token", r)
	}
	q.SetRawSASL(false)
	if _, ok := q.Take(); ok {
		t.Error("take gave a token where none is expected")
	}
}

// A waiting goroutine is woken by its event, and by the end.
func TestQueueWaits(t *testing.T) {
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
		done := waiting(t, q.WaitDelivered)
		takes(t, q, 1)
		q.Settle()
		takes(t, q, 2)
		if done() {
			t.Error("waitDelivered returns while a response is owed")
		}
		q.Settle()
		if !done() {
			t.Error("waitDelivered waits for nothing")
		}

		for range maxInflight {
			q.Push(Request{})
		}
		done = waiting(t, q.WaitRoom)
		if done() {
			t.Error("waitRoom returns without room")
		}
		q.Take()
		q.Settle()
		if !done() {
			t.Error("waitRoom waits although there is room")
		}

		done = waiting(t, q.WaitDelivered)
		q.Close()
		if !done() || !q.IsClosed() {
			t.Error("the end does not wake the waiting goroutine")
		}
		wantOwed(t, q, maxInflight-1)
	})
}

// Every request that is pushed comes out once, in order.
func TestQueueAgainstAModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	q := newQueue()
	var model []int32 // not taken yet
	next, taken := int32(0), 0
	for range 100_000 {
		switch random.IntN(5) {
		case 0, 1:
			full, mine := q.Push(Request{CorrelationID: next})
			if mine || full != (len(model)+taken == maxInflight) {
				t.Fatalf("push: full %t, mine %t with %d in it", full, mine, len(model)+taken)
			}
			if !full {
				model = append(model, next)
				next++
			}
		case 2, 3:
			r, ok := q.Take()
			if ok != (len(model) > 0) || ok && r.CorrelationID != model[0] {
				t.Fatalf("take: got %d (%t), want the first of %v", r.CorrelationID, ok, model)
			}
			if ok {
				model, taken = model[1:], taken+1
			}
		case 4:
			if own := q.Settle(); own != nil {
				t.Fatalf("settle gave %q", own)
			}
			taken = 0
		}
	}
}

// A request's way through the queue, with the requests and the responses in one
// goroutine: its cost without waiting.
func BenchmarkInflight(b *testing.B) {
	q := newQueue()
	b.ReportAllocs()
	for b.Loop() {
		q.Push(Request{})
		q.Take()
		q.Settle()
	}
}

// A response of the proxy's own that is pushed while the pump of responses is about to wait is
// delivered by exactly one of the two pumps, whatever is pushed behind it.
func TestQueueOwnAnswerIsSomebodys(t *testing.T) {
	q := newQueue()
	var mine bool
	var given []byte
	racelab.Together(500_000, func() {
		q.Push(Request{CorrelationID: 1})
		q.Take()
	}, func() {
		_, mine = q.Push(Request{Kind: OwnResponse, Own: []byte("x")})
		q.Push(Request{CorrelationID: 2})
	}, func() {
		given = q.Settle()
	}, func(round int) {
		if theirs := given != nil; mine == theirs {
			t.Errorf("round %d: mine %t, given by settle %t", round, mine, theirs)
		}
		q.Settle()
		if r, ok := q.Take(); !ok || r.CorrelationID != 2 {
			t.Errorf("round %d: next is %d (%t), want 2", round, r.CorrelationID, ok)
		}
		for q.Settle() != nil {
		}
		if got := q.Owed(); got != 0 || q.own.Load() != 0 {
			t.Errorf("round %d: %d owed, %d bytes", round, got, q.own.Load())
		}
	})
}

// A response of the proxy's own that was given out is garbage: its bytes are no longer counted.
func TestQueueKeepsNoOwnAnswer(t *testing.T) {
	q := pushed(t, 1)
	freed := make(chan bool, 1)
	deliver := func() {
		own := make([]byte, 100_000)
		runtime.AddCleanup(&own[0], func(freed chan bool) { freed <- true }, freed)
		q.Push(Request{Kind: OwnResponse, Own: own})
		takes(t, q, 1)
		if given := q.Settle(); &given[0] != &own[0] {
			t.Fatal("another frame")
		}
	}
	deliver()
	for range 1000 {
		runtime.GC()
		select {
		case <-freed:
			runtime.KeepAlive(q)
			return
		case <-time.After(time.Millisecond):
		}
	}
	t.Error("the queue keeps the frame")
	runtime.KeepAlive(q)
}

// The proxy's own responses wait up to a number of bytes, whatever their number.
func TestQueueOwnAnswersAreBounded(t *testing.T) {
	q := pushed(t, 1)
	half := Request{Kind: OwnResponse, Own: make([]byte, maxOwn/2)}
	for n := range 3 {
		if full, mine := q.Push(half); full != (n == 2) || mine {
			t.Fatalf("response %d: full %t, mine %t", n, full, mine)
		}
	}
	takes(t, q, 1)
	q.Settle()
	if full, _ := q.Push(half); full {
		t.Error("one that was given makes no room")
	}
}

// A raw token is owed until it is delivered, also after the client has gone back to requests. A
// response of the proxy's own waits for it.
func TestRawTokenIsOwed(t *testing.T) {
	q := newQueue()
	q.SetRawSASL(true)
	for range 3 { // not delivered yet
		if r, ok := q.Take(); !ok || r.Kind != SASLToken {
			t.Fatalf("take: got %d (%t), want a token", r.Kind, ok)
		}
	}
	wantOwed(t, q, 1)
	q.SetRawSASL(false)
	if full, mine := q.Push(Request{Kind: OwnResponse, Own: []byte("own")}); full || mine {
		t.Fatalf("push beside a token: full %t, mine %t", full, mine)
	}
	q.Push(Request{CorrelationID: 7})
	if own := q.Settle(); string(own) != "own" {
		t.Errorf("behind the token: got %q", own)
	}
	takes(t, q, 7)
	q.Settle()
	wantOwed(t, q, 0)
	if _, ok := q.Take(); ok {
		t.Error("a token was taken after raw SASL")
	}

	q.SetRawSASL(true)
	q.Take()
	q.Settle()
	q.SetRawSASL(false)
	if _, mine := q.Push(Request{Kind: OwnResponse}); !mine {
		t.Error("a token that was delivered is still owed")
	}
}

// The pump of requests leaves raw SASL while tokens are taken. One of the two pumps has the
// client's connection at any time.
func TestRawTokensAndOwnResponses(*testing.T) {
	rounds := 2000
	if racelab.Enabled {
		rounds = 500
	}
	for range rounds {
		q := newQueue()
		q.SetRawSASL(true)
		var writing int // guarded by the queue: the race detector sees if not
		var responses sync.WaitGroup
		responses.Go(func() {
			for {
				r, ok := q.Take()
				if !ok {
					return
				}
				if r.Kind == SASLToken {
					writing++
				}
				for own := q.Settle(); own != nil; own = q.Settle() {
					writing++
				}
			}
		})
		q.SetRawSASL(false)
		if _, mine := q.Push(Request{Kind: OwnResponse, Own: []byte("own")}); mine {
			writing++
		}
		responses.Wait()
	}
}
