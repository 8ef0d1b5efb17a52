package wire_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// The twelve bytes in front mean the same in every header version, so that a
// request can be matched to its response without knowing its API.
func TestRequestPrefixEqualsKmsg(t *testing.T) {
	for _, req := range requests() {
		for _, c := range clients {
			for _, tags := range tagSections {
				r := encode(req, c.id, tags.bytes)
				got := wire.ParseRequestPrefix(r.frame[:wire.RequestPrefixLen])
				want := wire.RequestPrefix{
					Size:          int32(len(r.frame) - 4),
					Key:           req.Key(),
					Version:       req.GetVersion(),
					CorrelationID: correlationID,
				}
				if got != want {
					t.Fatalf("%s v%d, %s, %s: got %+v, want %+v",
						kmsg.NameForKey(req.Key()), req.GetVersion(), c.name, tags.name, got, want)
				}
			}
		}
	}
}

func TestRequestPrefixOfOtherKeys(t *testing.T) {
	frame := []byte{0x80, 0, 0, 1, 0x27, 0x11, 0xff, 0xff, 0x80, 0, 0, 0}
	got := wire.ParseRequestPrefix(frame)
	want := wire.RequestPrefix{Size: math.MinInt32 + 1, Key: 10001, Version: -1, CorrelationID: math.MinInt32}
	if got != want {
		t.Errorf("got %+v, want %+v: the fields are signed, and no key is too high", got, want)
	}
}

func TestSize(t *testing.T) {
	for _, c := range []struct {
		bytes string
		want  int32
	}{
		{"\x00\x00\x00\x00", 0},
		{"\x00\x00\x00\x08behind", 8},
		{"\x06\x40\x00\x00", 100 << 20},
		{"\x7f\xff\xff\xff", math.MaxInt32},
		{"\xff\xff\xff\xff", -1},
		{"\x80\x00\x00\x00", math.MinInt32},
	} {
		if got := wire.Size([]byte(c.bytes)); got != c.want {
			t.Errorf("Size(%q): got %d, want %d", c.bytes, got, c.want)
		}
	}
}

func TestResponsePrefix(t *testing.T) {
	for _, id := range []int32{0, 1, -1, math.MaxInt32, math.MinInt32, correlationID} {
		payload := []byte("header tags and body")
		frame := wire.AppendResponsePrefix([]byte("before"), id, len(payload))
		frame = append(frame, payload...)
		if !bytes.HasPrefix(frame, []byte("before")) {
			t.Fatalf("got %q: the content of dst is lost", frame)
		}
		frame = bytes.TrimPrefix(frame, []byte("before"))
		if got, want := int(wire.Size(frame)), len(frame)-wire.SizeLen; got != want {
			t.Errorf("size: got %d, want %d", got, want)
		}
		if got := wire.CorrelationID(frame); got != id {
			t.Errorf("correlation id: got %d, want %d", got, id)
		}
		if got, want := frame[wire.ResponsePrefixLen:], payload; !bytes.Equal(got, want) {
			t.Errorf("behind the prefix: got %q, want %q", got, want)
		}
	}
}

func TestSmallestSizes(t *testing.T) {
	// ControlledShutdown v0 has the only header without a client id; a
	// body of no bytes is the least that can follow.
	shutdown := kmsg.RequestForKey(kmsg.ControlledShutdown.Int16())
	shutdown.SetVersion(0)
	r := encode(shutdown, nil, nil)
	if got, want := r.header-wire.SizeLen, wire.MinRequestSize; got != want {
		t.Errorf("shortest request header: got %d, want %d", got, want)
	}
	if got, want := int(wire.Size(wire.AppendResponsePrefix(nil, 1, 0))), wire.MinResponseSize; got != want {
		t.Errorf("shortest response: got %d, want %d", got, want)
	}
}
