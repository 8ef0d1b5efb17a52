package rewrite

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// tailTags are tags around the hints. NodeEndpoints has the number 0, so that
// all others follow it.
var tailTags = []struct {
	name string
	tags []tag
}{
	{"no tags", nil},
	{"a small tag", []tag{{1, []byte("one")}}},
	{"the padding's tag", []tag{{firstPadTag, []byte("126")}}},
	{"the padding's next", []tag{{firstPadTag, nil}, {firstPadTag + 1, []byte("127")}}},
	{"a vendor's tag", []tag{{3, nil}, {10000, bytes.Repeat([]byte("v"), 200)}}},
	{"the highest tag", []tag{{firstPadTag, nil}, {1<<32 - 1, []byte("max")}}},
}

// hinted is a response without topics that names brokers whose host is as long
// as host, on node ids from 0.
func hinted(key, version int16, brokers, host int, tags ...tag) kmsg.Response {
	resp := newResponse(key, version)
	for i := range brokers {
		b := Broker{Node: int32(i), Host: strings.Repeat("Q", host), Port: 9092}
		broker := addBroker(resp, b, []*string{nil, new(""), new("rack")}[i%3])
		if i == 1 {
			setTags(broker, tag{2, []byte("of a broker")})
		}
	}
	setTags(resp, tags...)
	return resp
}

// parts encodes a response and divides it where its tail begins.
func parts(resp kmsg.Response) (front, tail []byte) {
	payload := encode(resp, []byte{0})
	at := tailOffset(resp, []byte{0})
	return payload[:at:at], payload[at:]
}

// Where the frame's size is still to be sent, a tail equals kmsg's encoding.
func TestTailOfAnyLength(t *testing.T) {
	for _, a := range walkedResponses() {
		t.Run(a.String(), func(t *testing.T) {
			key, version := a.key, a.version
			for _, tags := range tailTags {
				for _, brokers := range []int{1, 3, 200} {
					for _, host := range []string{"b", strings.Repeat("e", 40), strings.Repeat("l", 255)} {
						for _, drop := range [][]int32{nil, {0}, {1, 2}, {0, 1, 2}} {
							if brokers > 3 && (tags.tags != nil || drop != nil) {
								continue
							}
							resp := hinted(key, version, brokers, 40, tags.tags...)
							r := telling(host, drop...)
							_, in := parts(resp)
							untouched := bytes.Clone(in)
							out, notes, err := r.Tail(key, version, in, false)
							if err != nil || notes.Named != brokers || notes.Neutralised {
								t.Fatalf("%s, %d brokers: notes %+v, %v", tags.name, brokers, notes, err)
							}
							want := translated(resp, r.Translate)
							if got := brokers - notes.Dropped; got != len(brokersOf(want)) {
								t.Fatalf("%s, %d brokers without %v: notes %+v", tags.name, brokers, drop, notes)
							}
							if _, want := parts(want); !bytes.Equal(out, want) {
								t.Fatalf("%s, %d brokers without %v:\ngot  % x\nwant % x", tags.name, brokers, drop, head(out), head(want))
							}
							if !bytes.Equal(in, untouched) {
								t.Fatalf("%s: the input was changed", tags.name)
							}
						}
					}
				}
			}
		})
	}
}

// A tail without hints goes as it came, however it is written.
func TestTailWithoutHints(t *testing.T) {
	for _, a := range walkedResponses() {
		t.Run(a.String(), func(t *testing.T) {
			key, version := a.key, a.version
			tails := []string{"\x00", "\x80\x80\x00", "\x01\x05\x03abc", "\x02\x09\x00\x05\x81\x00x", "\x02\x05\x01a\x05\x01b"}
			if isShare(key) {
				for i := range tails {
					tails[i] = []string{"\x00", "\x01", "\x81\x00"}[i%3] + tails[i]
				}
				tails = append(tails, "\x01\x01\x00\x01\x01") // tag 0 means nothing here
			} else {
				tails = append(tails, "\x01\x00\x01\x00", "\x01\x00\x01\x01", "\x01\x80\x00\x81\x00\x01") // null, empty
			}
			for _, in := range tails {
				for _, fixed := range []bool{false, true} {
					b := []byte(in)
					out, notes, err := untouchable(t).Tail(key, version, b, fixed)
					if err != nil || notes.Named != 0 || notes.Neutralised || !same(out, b) {
						t.Errorf("%q: got %q, %+v, %v, want the input", in, out, notes, err)
					}
				}
			}
		})
	}
}

func TestTailTellsTranslate(t *testing.T) {
	for _, a := range walkedResponses() {
		t.Run(a.String(), func(t *testing.T) {
			key, version := a.key, a.version
			resp := newResponse(key, version)
			want := []Broker{{Node: 5, Host: "b5", Port: 9095}, {Node: -3, Host: "", Port: -1}, {Node: 1 << 30, Host: "fe80::1", Port: 65536}}
			for _, b := range want {
				addBroker(resp, b, new("r"))
			}
			_, in := parts(resp)
			for _, fixed := range []bool{false, true} {
				calls := 0
				r := &Rewriter{Translate: func(gotKey int16, told Brokers) {
					calls++
					got := told.List
					for i := range got {
						if gotKey != key || got[i] != want[i] {
							t.Errorf("Translate(%d) hears %+v, want %+v", gotKey, got[i], want[i])
						}
					}
				}}
				out, notes, err := r.Tail(key, version, in, fixed)
				if err != nil || calls != 1 || notes.Named != len(want) || !bytes.Equal(out, in) {
					t.Errorf("%d calls, %+v, %v, got % x, want % x: nothing was translated", calls, notes, err, out, in)
				}
			}
		})
	}
}

// element is a broker in hints, as every flexible version writes it.
const element = "\x00\x00\x00\x07" + "\x03QQ" + "\x00\x00\x23\x84" + "\x00" + "\x00"

// A tail that cannot be read is an error: after the frame's end it could not be stopped
// any more.
func TestTailLies(t *testing.T) {
	const many = "\xff\xff\xff\xff\x0f"
	tagged := []string{
		"", "\x80", "\x01", "\x01\x05", "\x01\x05\x01", "\x01\x05\x02a", many, "\x01\x05" + many, "\x01" + many + "\x01",
		"\x00\x00",                            // a byte behind the end
		"\x80\x80\x80\x80\x80\x00",            // six bytes
		"\x01\x00\x00",                        // hints of no bytes
		"\x01\x00\x02\x01\x00",                // a byte behind the hints
		"\x01\x00\x01\x02",                    // one broker, no bytes
		"\x01\x00\x05" + many,                 // four billion brokers
		"\x01\x00\x0d\x02" + element[:12],     // a broker one byte short
		"\x01\x00\x0f\x02" + element + "\x00", // a byte behind the broker, within the size
		"\x01\x00\x0d\x02" + element,          // a broker that reaches beyond the size
		"\x02\x00\x0e\x02" + element + "\x00\x0e\x02" + element, // hints twice
		"\x02\x00\x01\x01\x00\x0e\x02" + element,                // hints twice, the first ones empty
	}
	mandatory := []string{
		"", "\x01", "\x80\x00", many + "\x00", "\x02\x00", "\x02" + element[:12] + "\x00", "\x02" + element, "\x03" + element + "\x00",
		"\x02" + element + "\x00\x00", "\x01\x01\x05\x02a", "\x01" + many, "\x80\x80\x80\x80\x80\x00\x00",
	}
	if _, _, err := telling("told").Tail(1, 13, []byte("\x01\x00\x0e\x02"+element), true); err != nil {
		t.Fatalf("the tail that all others differ from: %v", err)
	}
	for _, key := range []int16{0, 1, 78, 79} {
		tails, version := tagged, int16(13)
		if isShare(key) {
			tails, version = mandatory, 2
		}
		for _, in := range tails {
			for _, fixed := range []bool{false, true} {
				var out []byte
				var err error
				allocated := bytesAllocated(func() { out, _, err = untouchable(t).Tail(key, version, []byte(in), fixed) })
				if err == nil {
					t.Errorf("key %d, tail %q: got %q, want an error", key, in, out)
				}
				if allocated > 4096 {
					t.Errorf("key %d, tail %q: %d bytes were allocated", key, in, allocated)
				}
			}
		}
	}
}

func TestTailTruncated(t *testing.T) {
	for _, a := range walkedResponses() {
		t.Run(a.String(), func(t *testing.T) {
			key, version := a.key, a.version
			for _, tags := range tailTags {
				_, in := parts(hinted(key, version, 3, 10, tags.tags...))
				for n := range in {
					if out, _, err := untouchable(t).Tail(key, version, in[:n:n], true); err == nil {
						t.Fatalf("%s, %d bytes of %d: got %q, want an error", tags.name, n, len(in), out)
					}
				}
				if out, _, err := untouchable(t).Tail(key, version, append(in, 0), true); err == nil {
					t.Fatalf("%s, a byte too many: got %q, want an error", tags.name, out)
				}
			}
		})
	}
}

// rawTags reads the tags of a tail on its own.
func rawTags(tb testing.TB, key int16, b []byte) []tag {
	tb.Helper()
	uvarint := func() int {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			tb.Fatalf("no number at % x", head(b))
		}
		b = b[n:]
		return int(v)
	}
	if isShare(key) {
		for range uvarint() - 1 {
			b = b[4:]
			b = b[uvarint()-1+4:]
			b = b[max(uvarint()-1, 0):]
			for range uvarint() {
				uvarint()
				b = b[uvarint():]
			}
		}
	}
	var all []tag
	for range uvarint() {
		number := uvarint()
		size := uvarint()
		all = append(all, tag{uint32(number), b[:size]})
		b = b[size:]
	}
	if len(b) > 0 {
		tb.Fatalf("% x behind the tags", b)
	}
	return all
}
