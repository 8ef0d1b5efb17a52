package rewrite

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxAhead is how far the Walker may ask beyond the bytes that it was shown: enough for
// two numbers of five bytes.
const maxAhead = 16

// everything and oneByte say how many bytes arrive when the Walker needs more.
func everything() int { return 1 << 30 }
func oneByte() int    { return 1 }

// walk lets a Walker go through the payload that is the first n bytes of stream, as a
// connection does: bytes arrive when it needs some, and bytes that it passes are taken
// from the buffer or, beyond that, from the socket. It returns where the tail begins.
func walk(tb testing.TB, key, version int16, stream []byte, n int, arrive func() int) (tailAt int, err error) {
	tb.Helper()
	var w Walker
	w.Start(key, version, n)
	at, shown := 0, 0
	for range 10*len(stream) + 100 {
		shown = min(max(at, shown, at+arrive()), len(stream))
		step, err := w.Next(stream[at:shown:shown])
		switch {
		case err != nil:
			if step != (Step{}) {
				tb.Fatalf("step %+v with error %v", step, err)
			}
			return at, err
		case step.Verb == Pass:
			if step.N <= 0 || at+step.N > n {
				tb.Fatalf("pass %d at %d of %d", step.N, at, n)
			}
			at += step.N
		case step.Verb == Need:
			have := shown - at
			if step.N <= have || step.N > have+maxAhead || at+step.N > n {
				tb.Fatalf("need %d of %d shown, at %d of %d", step.N, have, at, n)
			}
			shown = at + step.N
		case at+step.N != n:
			tb.Fatalf("a tail of %d at %d of %d", step.N, at, n)
		default:
			return at, nil
		}
	}
	tb.Fatalf("no end after %d steps, at %d of %d", 10*len(stream)+100, at, n)
	return 0, nil
}

// tailOffset says where kmsg begins the leader hints, or the last tags: a
// response that has neither ends in one zero byte for each.
func tailOffset(resp kmsg.Response, header []byte) int {
	bare := reflect.New(reflect.TypeOf(resp).Elem())
	bare.Elem().Set(reflect.ValueOf(resp).Elem())
	bare.Elem().FieldByName("UnknownTags").SetZero()
	brokersField(bare.Interface().(kmsg.Response)).SetZero()
	end := len(encode(bare.Interface().(kmsg.Response), header))
	if isShare(resp.Key()) {
		return end - 2 // an empty array, no tags
	}
	return end - 1 // no tags
}

func isShare(key int16) bool {
	return key == kmsg.ShareFetch.Int16() || key == kmsg.ShareAcknowledge.Int16()
}

// Fed in whatever pieces, the Walker finds the tail where kmsg writes it.
func TestWalkerFindsTheTail(t *testing.T) {
	for _, a := range walkedResponses() {
		t.Run(a.String(), func(t *testing.T) {
			key, version := a.key, a.version
			g := newGenerator(uint64(key)<<8 + uint64(version))
			few := func() int { return g.IntN(40) }
			for i := range 20 {
				resp := g.response(key, version)
				header := [][]byte{{0}, headerTags}[i%2]
				payload := encode(resp, header)
				want := tailOffset(resp, header)
				next := append(bytes.Clone(payload), encode(g.response(key, version), header)...)
				for _, c := range []struct {
					name   string
					stream []byte
					arrive func() int
				}{
					{"whole", payload, everything},
					{"byte by byte", payload, oneByte},
					{"nothing until it asks", payload, func() int { return 0 }},
					{"in pieces", payload, few},
					{"with the next frame behind", next, everything},
					{"in pieces with the next frame behind", next, few},
				} {
					got, err := walk(t, key, version, c.stream, len(payload), c.arrive)
					if err != nil || got != want {
						t.Fatalf("response %d, %s: the tail begins at %d, %v, want %d of %d: %s",
							i, c.name, got, err, want, len(payload), show(resp))
					}
				}
			}
		})
	}
}

// A throttled Fetch response has no partition and may have hints all the same;
// never is the absence of errors a sign that no address follows.
func TestWalkerWithoutPartitions(t *testing.T) {
	for _, a := range walkedResponses() {
		t.Run(a.String(), func(t *testing.T) {
			key, version := a.key, a.version
			for _, topics := range []int{-1, 0, 1, 3} {
				resp := newResponse(key, version)
				if list := reflect.ValueOf(resp).Elem().FieldByName("Topics"); topics >= 0 {
					list.Set(reflect.MakeSlice(list.Type(), topics, topics))
				}
				addBroker(resp, Broker{Node: 1, Host: brokerHost(1), Port: 9092}, nil)
				payload := encode(resp, []byte{0})
				got, err := walk(t, key, version, payload, len(payload), oneByte)
				if want := tailOffset(resp, []byte{0}); err != nil || got != want {
					t.Errorf("%d topics: got %d, %v, want %d", topics, got, err, want)
				}
			}
		})
	}
}

// Padding consists of numbers that are longer than necessary, and a broker may write them
// anywhere.
func TestWalkerTakesWideNumbers(t *testing.T) {
	payload := []byte{
		0x80, 0x00, // no header tags
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // throttle time, error, session id
		0x82, 0x80, 0x00, // one topic
		0x82, 0x00, 't', // its name
		0x81, 0x80, 0x80, 0x80, 0x00, // no partitions
		0x81, 0x00, 0x85, 0x00, 0x81, 0x00, 'v', // one tag
		0x80, 0x80, 0x00, // no tags at the end
	}
	for _, arrive := range []func() int{everything, oneByte} {
		got, err := walk(t, 1, 12, payload, len(payload), arrive)
		if want := len(payload) - 3; err != nil || got != want {
			t.Errorf("got %d, %v, want %d", got, err, want)
		}
	}
}

// A Walker keeps nothing of one response for the next.
func TestWalkerStartsAnew(t *testing.T) {
	var w Walker
	g := newGenerator(1)
	for _, a := range walkedResponses() {
		t.Run(a.String(), func(t *testing.T) {
			key, version := a.key, a.version
			resp := g.response(key, version)
			payload := encode(resp, headerTags)
			want := tailOffset(resp, headerTags)
			w.Start(key, version, len(payload))
			_, _ = w.Next(payload[:len(payload)/2]) // left in the middle of something
			w.Start(key, version, len(payload))
			at := 0
			for {
				step, err := w.Next(payload[at:])
				if err != nil {
					t.Fatal(err)
				}
				if step.Verb == Tail {
					break
				}
				at += step.N
			}
			if at != want {
				t.Errorf("the tail begins at %d, want %d", at, want)
			}
		})
	}
}

func TestWalkerAllocatesNothing(t *testing.T) {
	for _, a := range walkedResponses() {
		t.Run(a.String(), func(t *testing.T) {
			key, version := a.key, a.version
			payload := encode(newGenerator(3).response(key, version), headerTags)
			var w Walker
			for _, piece := range []int{len(payload), 7} {
				if got := testing.AllocsPerRun(20, func() { walkOnly(&w, key, version, payload, piece) }); got != 0 {
					t.Errorf("in pieces of %d: %v allocations, want 0", piece, got)
				}
			}
		})
	}
}

// walkOnly walks a payload that is known to be right, and returns the tail.
func walkOnly(w *Walker, key, version int16, payload []byte, piece int) int {
	w.Start(key, version, len(payload))
	at, need := 0, piece
	for {
		step, err := w.Next(payload[min(at, len(payload)):min(at+need, len(payload))])
		switch {
		case err != nil:
			panic(err)
		case step.Verb == Pass:
			at += step.N
			need = piece
		case step.Verb == Need:
			need = step.N
		default:
			return at
		}
	}
}

// A response cut short contradicts its own lengths; the Walker says so at the
// latest where its bytes end.
func TestWalkerTruncated(t *testing.T) {
	for _, a := range walkedResponses() {
		t.Run(a.String(), func(t *testing.T) {
			key, version := a.key, a.version
			g := newGenerator(uint64(version))
			for range 2 {
				resp := g.response(key, version)
				payload := encode(resp, headerTags)
				tailAt := tailOffset(resp, headerTags)
				for _, n := range cuts(tailAt) {
					for _, arrive := range []func() int{everything, oneByte} {
						at, err := walk(t, key, version, payload, n, arrive)
						if err == nil {
							t.Fatalf("a response of %d bytes, cut at %d before the tail at %d: a tail at %d, want an error",
								len(payload), n, tailAt, at)
						}
					}
				}
			}
		})
	}
}

// cuts returns places below n: all of them, or the ends and some between.
func cuts(n int) []int {
	const near, stride = 200, 997
	var all []int
	for i := range n {
		if i < near || i >= n-near || i%stride == 0 {
			all = append(all, i)
		}
	}
	return all
}

func TestWalkerLies(t *testing.T) {
	const front = "\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // of Fetch: no tags, throttle time, error, session id
	for _, c := range []struct {
		name    string
		payload string
	}{
		{"empty", ""},
		{"header tags without end", "\x80"},
		{"four billion header tags", "\xff\xff\xff\xff\x0f"},
		{"a header tag of four billion bytes", "\x01\x00\xff\xff\xff\xff\x0f"},
		{"a header tag of three billion bytes", "\x01\x00\x80\xfe\xff\xff\x0b"},
		{"a topic's name of three billion bytes", front + "\x02\x80\xfe\xff\xff\x0babc\x01\x00\x00"},
		{"a count in six bytes", "\x80\x80\x80\x80\x80\x00" + front},
		{"a count beyond 32 bits", "\xff\xff\xff\xff\x10" + front},
		{"no topics", front},
		{"four billion topics", front + "\xff\xff\xff\xff\x0f\x00\x00\x00"},
		{"more topics than bytes", front + "\x06\x00\x00\x00"},
		{"a topic's name beyond the end", front + "\x02\x09abc\x01\x00\x00"},
		{"a topic's name of four billion bytes", front + "\x02\xff\xff\xff\xff\x0fabc\x01\x00\x00"},
		{"a topic without partitions", front + "\x02\x02a"},
		{"a topic's tag beyond the end", front + "\x02\x02a\x01\x01\x00\x09abc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, arrive := range []func() int{everything, oneByte} {
				at, err := walk(t, 1, 12, []byte(c.payload), len(c.payload), arrive)
				if err == nil {
					t.Errorf("a tail at %d, want an error", at)
				}
			}
		})
	}
}

// Records may not reach beyond the frame, by one byte or by many.
func TestWalkerRecordsBeyondTheFrame(t *testing.T) {
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = 16
	resp.Topics = make([]kmsg.FetchResponseTopic, 1)
	resp.Topics[0].Partitions = make([]kmsg.FetchResponseTopicPartition, 1)
	resp.Topics[0].Partitions[0].RecordBatches = bytes.Repeat([]byte("r"), 100)
	payload := encode(resp, []byte{0})
	length := bytes.IndexByte(payload, 'r') - 1
	end := len(payload) - length - 1
	for n := 100; n < 127; n++ {
		payload[length] = byte(n + 1)
		at, err := walk(t, 1, 16, payload, len(payload), everything)
		if n > end && err == nil {
			t.Errorf("records of %d in the last %d bytes: a tail at %d, want an error", n, end, at)
		}
	}
}

// The part after the records is held in memory, so it must have a limit.
func TestWalkerLimitsTheTail(t *testing.T) {
	for _, a := range walkedResponses() {
		t.Run(a.String(), func(t *testing.T) {
			key, version := a.key, a.version
			for _, c := range []struct {
				size int
				ok   bool
			}{{1, true}, {MaxTail - 1, true}, {MaxTail, true}, {MaxTail + 1, false}, {10 * MaxTail, false}} {
				resp := newResponse(key, version)
				front := tailOffset(resp, []byte{0})
				payload := slices.Concat(encode(resp, []byte{0})[:front], make([]byte, c.size))
				at, err := walk(t, key, version, payload, len(payload), oneByte)
				if (err == nil) != c.ok || at != front {
					t.Errorf("a tail of %d: at %d, %v, want it at %d, accepted: %t", c.size, at, err, front, c.ok)
				}
			}
		})
	}
}

func TestWalkerErrorsNameTheAnswer(t *testing.T) {
	_, err := walk(t, 1, 12, []byte{0x80}, 1, everything)
	if want := "parse Fetch v12 response: frame ends inside a field"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if errors.Unwrap(err) == nil {
		t.Errorf("%v wraps nothing", err)
	}
	_, err = walk(t, 0, 9, []byte{0, 9, 0}, 3, everything)
	if want := fmt.Sprintf("parse Produce v9 response: an array of %d in %d bytes", 8, 2); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
