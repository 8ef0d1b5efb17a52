package rewrite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// told is the advertised host in fuzz tests.
const told = "told.example"

// pick chooses one of the responses with treatment Walk.
func pick(n uint8) (key, version int16) {
	all := walkedResponses()
	chosen := all[int(n)%len(all)]
	return chosen.key, chosen.version
}

// tooWide reports whether b has bytes that kmsg may take for a count of
// many thousands, over which it loops even without bytes left (see intact).
func tooWide(b []byte) bool {
	const wide = 2
	run := 0
	for _, c := range b {
		if run++; c < 0x80 {
			run = 0
		}
		if run == wide {
			return true
		}
	}
	return false
}

// canonical decodes a payload by kmsg, and reports whether kmsg would have
// written it so. Such a payload must be understood; any other may be refused.
func canonical(key, version int16, payload []byte) (resp kmsg.Response, ok bool) {
	if tooWide(payload) {
		return nil, false
	}
	resp, err := tryDecode(key, version, payload)
	if err != nil {
		return nil, false
	}
	var header []byte
	if hasHeader(resp) {
		header = payload[:len(payload)-len(afterHeader(payload))]
	}
	return resp, canonicalTags(header) && bytes.Equal(encode(resp, header), payload)
}

// canonicalTags reports whether a header's tags are written in the shortest form.
func canonicalTags(header []byte) bool {
	b, small := header, true
	uvarint := func() uint64 {
		v, n := binary.Uvarint(b)
		b = b[max(n, 0):]
		small = small && v <= math.MaxUint32
		return v
	}
	var tags []tag
	if len(header) == 0 {
		return true
	}
	for n := uvarint(); n > 0 && len(b) > 0; n-- {
		number := uvarint()
		value := b[:min(uvarint(), uint64(len(b)))]
		b = b[len(value):]
		tags = append(tags, tag{uint32(number), value})
	}
	return small && bytes.Equal(appendTags(nil, tags...), header)
}

// FuzzWalker walks any bytes. Pieces make no difference, responses that kmsg writes are
// accepted, and kmsg finds no broker's address in the rewritten tail.
func FuzzWalker(f *testing.F) {
	g := newGenerator(5)
	g.plain = true
	for i := range uint8(18) {
		key, version := pick(i)
		for seeds := 0; seeds < 3; {
			payload := encode(g.response(key, version), appendTags(nil, tag{5, []byte("five")}))
			if len(payload) < 1000 && !tooWide(payload) {
				f.Add(i, uint64(i), payload)
				seeds++
			}
		}
		f.Add(i, uint64(i), encode(hinted(key, version, 2, 10, tag{5, []byte("five")}), []byte{0}))
	}
	f.Fuzz(func(t *testing.T, which uint8, seed uint64, payload []byte) {
		key, version := pick(which)
		at, err := walk(t, key, version, payload, len(payload), everything)
		g := newGenerator(seed)
		next := append(bytes.Clone(payload), payload...)
		for _, arrive := range []func() int{oneByte, func() int { return g.IntN(9) }, func() int { return g.IntN(200) }} {
			gotAt, gotErr := walk(t, key, version, next, len(payload), arrive)
			if (gotErr == nil) != (err == nil) || err == nil && gotAt != at {
				t.Fatalf("whole: a tail at %d, %v; in pieces: at %d, %v", at, err, gotAt, gotErr)
			}
		}
		resp, ok := canonical(key, version, payload)
		if ok && len(payload)-tailOffset(resp, payload[:len(payload)-len(afterHeader(payload))]) <= MaxTail {
			header := payload[:len(payload)-len(afterHeader(payload))]
			if want := tailOffset(resp, header); err != nil || at != want {
				t.Fatalf("a tail at %d, %v, kmsg has it at %d", at, err, want)
			}
		}
		if err == nil {
			checkFuzzedTail(t, payload, at, key, version, told, true, 0, ok)
			checkFuzzedTail(t, payload, at, key, version, told, false, 1, ok)
		}
	})
}

// checkFuzzedTail rewrites the tail at payload[at:], and compares with kmsg.
func checkFuzzedTail(t *testing.T, payload []byte, at int, key, version int16, host string, fixed bool, drop int32, must bool) {
	t.Helper()
	r := telling(host, drop)
	in := payload[at:]
	out, notes, err := r.Tail(key, version, in, fixed)
	switch {
	case err != nil && must:
		t.Fatalf("kmsg writes % x, got %v", in, err)
	case err != nil:
		return
	case fixed && len(out) != len(in):
		t.Fatalf("%d bytes for %d", len(out), len(in))
	case notes.Named == 0 && !same(out, in):
		t.Fatalf("no hints, got % x for % x", out, in)
	}
	if tooWide(payload) {
		return
	}
	before, err := tryDecode(key, version, payload)
	if err != nil {
		return // kmsg refuses more than the Walker in front of the tail: a null name, for instance
	}
	after := decode(t, key, version, append(payload[:at:at], out...))
	checkPadding(t, "fuzzed", rawTags(t, key, out), rawTags(t, key, in))
	setTags(after, topTags(before)...)
	translate := r.Translate
	if notes.Neutralised {
		translate = dropAll
	}
	bodyEquals(t, after, translated(before, translate))
}

// FuzzTail rewrites any tail, for hosts of any length.
func FuzzTail(f *testing.F) {
	for i := range uint8(18) {
		key, version := pick(i)
		for n, tags := range tailTags {
			_, in := parts(hinted(key, version, n%4, 20, tags.tags...))
			f.Add(i, in, uint16(19+i%3), i%2 == 0, int32(i%3))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, in []byte, host uint16, fixed bool, drop int32) {
		key, version := pick(which)
		front, _ := parts(newResponse(key, version))
		payload := slices.Concat(front, in)
		_, ok := canonical(key, version, payload)
		checkFuzzedTail(t, payload, len(front), key, version, string(bytes.Repeat([]byte("h"), int(host)%1000)), fixed, drop, ok)
	})
}

// FuzzHead rewrites the brokers in front of any bytes.
func FuzzHead(f *testing.F) {
	for version := range int16(metadataMax + 1) {
		for n := range 3 {
			resp := metadata(version, n, new("rack"), true)
			payload := encode(resp, headerTags)
			f.Add(version, payload[:min(len(payload), 1000)], int32(1))
			resp.Topics = nil
			f.Add(version, encode(resp, []byte{0}), int32(5))
		}
	}
	f.Fuzz(func(t *testing.T, version int16, payload []byte, drop int32) {
		version = int16(uint16(version) % (metadataMax + 1))
		r := telling(told, drop)
		out, n, notes, err := r.Head(3, version, payload)
		resp, ok := canonical(3, version, payload)
		if err != nil {
			if ok {
				t.Fatalf("kmsg writes % x, got %v", payload, err)
			}
			return
		}
		for _, i := range cuts(n) {
			if _, _, _, err := r.Head(3, version, payload[:i:i]); !errors.Is(err, wire.ErrShort) {
				t.Fatalf("%d bytes of a head of %d: %v, want ErrShort", i, n, err)
			}
		}
		again, m, _, err := r.Head(3, version, payload[:n:n])
		if err != nil || m != n || !bytes.Equal(again, out) {
			t.Fatalf("the head alone: %d, %v, % x, want %d, % x", m, err, again, n, out)
		}
		if !ok {
			return
		}
		if notes.Named != len(brokersOf(resp)) {
			t.Fatalf("notes %+v for %d brokers", notes, len(brokersOf(resp)))
		}
		bodyEquals(t, decode(t, 3, version, append(bytes.Clone(out), payload[n:]...)), translated(resp, r.Translate))
	})
}

// FuzzWhole rewrites any response that is decoded whole.
func FuzzWhole(f *testing.F) {
	g := newGenerator(9)
	g.plain = true
	for _, key := range []int16{10, 18, 60} {
		limit, _ := MaxVersion(key)
		for version := range limit + 1 {
			f.Add(key, version, encode(g.response(key, version), []byte{0}), int32(1), version%2 == 0)
		}
	}
	f.Add(int16(10), int16(4), []byte("\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff\x0f"), int32(1), false)
	f.Add(int16(18), int16(3), apiResponse(3, api{0, 0, 14}, api{3, 0, 13}, api{10001, 0, 0}).AppendTo(nil), int32(1), false)
	f.Fuzz(func(t *testing.T, key, version int16, payload []byte, drop int32, unknown bool) {
		key = []int16{10, 18, 60}[uint16(key)%3]
		limit, _ := MaxVersion(key)
		version = int16(uint16(version) % uint16(limit+1))
		r := telling(told, drop)
		r.UnknownAPIs = unknown
		untouched := bytes.Clone(payload)
		out, notes, err := r.Whole(key, version, payload)
		if !bytes.Equal(payload, untouched) {
			t.Fatal("the input was changed")
		}
		_, ok := canonical(key, version, payload)
		switch {
		case err != nil && ok:
			t.Fatalf("kmsg writes % x, got %v", payload, err)
		case err != nil:
		case key == kmsg.ApiVersions.Int16():
			checkFuzzedAPIs(t, version, payload, out, ok, unknown)
		default:
			checkFuzzedBrokers(t, decode(t, key, version, out), notes, drop)
		}
	})
}

// checkFuzzedBrokers looks for brokers that do not come from Translate.
func checkFuzzedBrokers(t *testing.T, got kmsg.Response, notes Notes, drop int32) {
	t.Helper()
	brokers := brokersOfAny(got)
	for _, b := range brokers {
		nobody := b.Node < 0 && b.Host == ""
		if !nobody && (b.Host != told || b.Node == drop) {
			t.Fatalf("%+v is in the response, %+v", b, notes)
		}
	}
}

// brokersOfAny is brokersOf, for versions of FindCoordinator before v4 too.
func brokersOfAny(resp kmsg.Response) []Broker {
	if c, ok := resp.(*kmsg.FindCoordinatorResponse); ok && c.Version < 4 {
		return []Broker{{Node: c.NodeID, Host: c.Host, Port: c.Port}}
	}
	return brokersOf(resp)
}

// checkFuzzedAPIs compares with the list that kmsg decodes.
func checkFuzzedAPIs(t *testing.T, version int16, in, out []byte, ok, unknown bool) {
	t.Helper()
	if unsupported := bytes.HasPrefix(in, []byte{0, 35}); unsupported {
		if !same(out, in) {
			t.Fatalf("got % x, want % x: the layout of v0", out, in)
		}
		return
	}
	if !ok {
		return
	}
	want := decode(t, 18, version, in).(*kmsg.ApiVersionsResponse)
	want.ApiKeys = slices.DeleteFunc(want.ApiKeys, func(e kmsg.ApiVersionsResponseApiKey) bool {
		limit, parsed := MaxVersion(e.ApiKey)
		return parsed && e.MinVersion > limit || !parsed && !unknown && kmsg.RequestForKey(e.ApiKey) == nil
	})
	for i := range want.ApiKeys {
		if limit, parsed := MaxVersion(want.ApiKeys[i].ApiKey); parsed {
			want.ApiKeys[i].MaxVersion = min(want.ApiKeys[i].MaxVersion, limit)
		}
	}
	if got, want := out, want.AppendTo(nil); !bytes.Equal(got, want) {
		t.Fatalf("got\n% x\nwant\n% x", got, want)
	}
}
