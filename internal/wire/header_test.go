package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// forEachHeader runs f for every key, version, client id and header tags.
func forEachHeader(f func(name string, r request, c client)) {
	for _, req := range requests() {
		sections := tagSections
		if !req.IsFlexible() {
			sections = sections[:1]
		}
		for _, c := range clients {
			for _, tags := range sections {
				name := fmt.Sprintf("%s v%d, %s, %s", kmsg.NameForKey(req.Key()), req.GetVersion(), c.name, tags.name)
				f(name, encode(req, c.id, tags.bytes), c)
			}
		}
	}
}

func TestRequestHeaderEqualsKmsg(t *testing.T) {
	forEachHeader(func(name string, r request, c client) {
		// The bytes after the header do not matter: the body, a
		// following frame, or nothing that has arrived yet.
		next := append(bytes.Clone(r.frame), r.frame...)
		for _, b := range [][]byte{r.frame[:r.header], r.frame, next} {
			h, err := wire.ParseRequestHeader(b, r.IsFlexible())
			if err != nil {
				t.Fatalf("%s, %d bytes of %d: %v", name, len(b), len(r.frame), err)
			}
			if h.Len != r.header {
				t.Fatalf("%s: the body begins at %d, want %d", name, h.Len, r.header)
			}
			if got, want := h.RequestPrefix, wire.ParseRequestPrefix(r.frame); got != want {
				t.Fatalf("%s: prefix %+v, want %+v", name, got, want)
			}
			checkClientID(t, name, h.ClientID, c.id, r.Request)
		}
	})
}

func checkClientID(t *testing.T, name string, got []byte, want *string, req kmsg.Request) {
	t.Helper()
	if hasNoClientID(req) {
		want = nil
	}
	switch {
	case want == nil && got != nil:
		t.Fatalf("%s: client id %q, want null", name, got)
	case want != nil && (got == nil || string(got) != *want):
		t.Fatalf("%s: client id %q (null: %t), want %q", name, got, got == nil, *want)
	}
}

// An incomplete header asks for more, wherever it is cut.
func TestRequestHeaderTruncated(t *testing.T) {
	forEachHeader(func(name string, r request, _ client) {
		for _, n := range truncations(r.header) {
			if _, err := wire.ParseRequestHeader(r.frame[:n:n], r.IsFlexible()); !errors.Is(err, wire.ErrShort) {
				t.Fatalf("%s, %d bytes of a header of %d: got %v, want ErrShort", name, n, r.header, err)
			}
		}
	})
}

// A header that does not end within its frame is malformed, even if bytes of the
// following frame lie behind it.
func TestRequestHeaderBeyondItsFrame(t *testing.T) {
	forEachHeader(func(name string, r request, _ client) {
		frame := r.frame
		for _, size := range truncations(r.header - wire.SizeLen) {
			binary.BigEndian.PutUint32(frame, uint32(size))
			if _, err := wire.ParseRequestHeader(frame, r.IsFlexible()); !errors.Is(err, wire.ErrMalformed) {
				t.Fatalf("%s, size %d, header %d: got %v, want ErrMalformed", name, size, r.header, err)
			}
			whole := max(wire.SizeLen+size, wire.RequestPrefixLen)
			if _, err := wire.ParseRequestHeader(frame[:whole:whole], r.IsFlexible()); !errors.Is(err, wire.ErrMalformed) {
				t.Fatalf("%s, size %d and no more bytes: got %v, want ErrMalformed", name, size, err)
			}
		}
	})
}

func TestRequestHeaderLies(t *testing.T) {
	const prefix = "\x00\x03\x00\x09\x00\x00\x00\x01" // Metadata v9
	for _, c := range []struct {
		name   string
		size   int32 // 0: as many bytes as there are
		behind string
		want   error
	}{
		{"client id of -2 bytes", 0, "\xff\xfe\x00", wire.ErrMalformed},
		{"client id of -32768 bytes", 0, "\x80\x00\x00", wire.ErrMalformed},
		{"client id one byte longer than the frame", 0, "\x00\x03ab", wire.ErrMalformed},
		{"client id as long as can be", 0, "\x7f\xffab", wire.ErrMalformed},
		{"no count of tags", 0, "\x00\x02ab", wire.ErrMalformed},
		{"a count of tags without tags", 0, "\x00\x00\x01", wire.ErrMalformed},
		{"four billion tags", 0, "\x00\x00\xff\xff\xff\xff\x0f\x00\x00", wire.ErrMalformed},
		{"a tag longer than the frame", 0, "\x00\x00\x01\x00\x02a", wire.ErrMalformed},
		{"a tag of four billion bytes", 0, "\x00\x00\x01\x00\xff\xff\xff\xff\x0f", wire.ErrMalformed},
		{"a count of tags in six bytes", 0, "\x00\x00\x80\x80\x80\x80\x80\x00", wire.ErrMalformed},
		{"a count of tags in six bytes, more to come", 1000, "\x00\x00\x80\x80\x80\x80\x80\x00", wire.ErrMalformed},
		{"a count of tags beyond 32 bits", 1000, "\x00\x00\xff\xff\xff\xff\x10", wire.ErrMalformed},
		{"negative size", -1, "\x00\x00\x00", wire.ErrMalformed},
		{"most negative size", -1 << 31, "\x00\x00\x00", wire.ErrMalformed},
		{"largest size, all of it still to come", 1<<31 - 1, "\x00\x03ab", wire.ErrShort},
		{"client id longer than the frame, which is still arriving", 14, "\x7f\xffab", wire.ErrShort},
		{"a long tag that is still arriving", 1000, "\x00\x00\x01\x00\x7fa", wire.ErrShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			frame := make([]byte, wire.SizeLen, 64)
			frame = append(append(frame, prefix...), c.behind...)
			size := c.size
			if size == 0 {
				size = int32(len(frame) - wire.SizeLen)
			}
			binary.BigEndian.PutUint32(frame, uint32(size))
			if _, err := wire.ParseRequestHeader(frame, true); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// An unknown API has a header, too.
func TestRequestHeaderOfUnknownKey(t *testing.T) {
	for _, flexible := range []bool{false, true} {
		frame := []byte("\x00\x00\x00\x00\x27\x11\x00\x00\x00\x00\x00\x07\x00\x02me")
		if flexible {
			frame = appendTags(frame, tag{3, []byte("x")})
		}
		header := len(frame)
		frame = append(frame, "body"...)
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-wire.SizeLen))
		h, err := wire.ParseRequestHeader(frame, flexible)
		if err != nil || h.Key != 10001 || h.CorrelationID != 7 || string(h.ClientID) != "me" || h.Len != header {
			t.Errorf("flexible %t: got %+v, %v, want the body at %d", flexible, h, err, header)
		}
	}
}
