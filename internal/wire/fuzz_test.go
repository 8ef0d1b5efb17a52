package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// FuzzReader runs any calls over any bytes. The Reader must not panic, must not take
// bytes beyond the end, and must stay at its first failure.
func FuzzReader(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08"), []byte("\xff\xff\xfe\x00\x00\x00\x02\x85\x00\x00\x02ab\x03cd\x01\x01\x01z"))
	f.Add([]byte("\x08\x03"), []byte("\xff\xff\xff\xff\x0f\x00\x01"))
	f.Add([]byte("\x05\x85"), []byte("\x7f\xff\x01"))
	f.Fuzz(func(t *testing.T, calls, b []byte) {
		checkUvarint(t, b)
		r := wire.NewReader(b)
		for _, call := range calls {
			before := r
			took := runCall(&r, call)
			if r.Offset()+r.Len() != len(b) || r.Len() < 0 || r.Offset() < before.Offset() {
				t.Fatalf("call %d: offset %d and %d left of %d", call, r.Offset(), r.Len(), len(b))
			}
			if !bytes.HasSuffix(b[:r.Offset()], took) {
				t.Fatalf("call %d: took %q, which does not lie before offset %d", call, took, r.Offset())
			}
			if err := r.Err(); err != nil && !errors.Is(err, wire.ErrShort) && !errors.Is(err, wire.ErrMalformed) {
				t.Fatalf("call %d: %v", call, err)
			}
			if before.Err() != nil && (!errors.Is(r.Err(), before.Err()) || r.Offset() != before.Offset() || took != nil) {
				t.Fatalf("call %d after %v: %v at %d, took %q", call, before.Err(), r.Err(), r.Offset(), took)
			}
		}
	})
}

// runCall makes the call that a byte stands for, and returns the bytes that the
// call returned, if it is one that returns bytes.
func runCall(r *wire.Reader, call byte) []byte {
	switch call % 10 {
	case 0:
		r.Int8()
	case 1:
		r.Int16()
	case 2:
		r.Int32()
	case 3:
		r.Uvarint()
	case 4:
		return r.String(false)
	case 5:
		return r.String(true)
	case 6:
		r.ArrayLen(false)
	case 7:
		r.ArrayLen(true)
	case 8:
		r.SkipTags()
	default:
		return r.Take(int(int8(call)))
	}
	return nil
}

// FuzzRequestHeader parses any bytes as a header. An accepted header equals kmsg's
// encoding of the same fields, lies within its frame, and asks for more bytes when it is
// cut anywhere.
func FuzzRequestHeader(f *testing.F) {
	for _, req := range requests() {
		if req.Key()%9 == 0 {
			r := encode(req, clients[2].id, tagSections[1].bytes)
			f.Add(r.frame[:min(len(r.frame), 100)], req.IsFlexible())
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte, flexible bool) {
		h, err := wire.ParseRequestHeader(frame, flexible)
		if err != nil {
			if !errors.Is(err, wire.ErrShort) && !errors.Is(err, wire.ErrMalformed) {
				t.Fatal(err)
			}
			if len(frame) >= wire.RequestPrefixLen && len(frame)-wire.SizeLen >= int(wire.Size(frame)) && !errors.Is(err, wire.ErrMalformed) {
				t.Fatalf("%v on a whole frame, want ErrMalformed", err)
			}
			return
		}
		if h.Len > len(frame) || h.Len-wire.SizeLen > int(h.Size) || h.Len < wire.RequestPrefixLen {
			t.Fatalf("header of %d in %d bytes of a frame of size %d", h.Len, len(frame), h.Size)
		}
		for _, n := range truncations(h.Len) {
			if _, err := wire.ParseRequestHeader(frame[:n:n], flexible); !errors.Is(err, wire.ErrShort) {
				t.Fatalf("%d bytes of a header of %d: %v, want ErrShort", n, h.Len, err)
			}
		}
		if want := encodeHeader(h, frame, flexible); !bytes.Equal(frame[:h.Len], want) {
			t.Fatalf("header\n% x, kmsg writes\n% x", frame[:h.Len], want)
		}
	})
}

// encodeHeader writes h by kmsg, with the tags that frame has.
func encodeHeader(h wire.RequestHeader, frame []byte, flexible bool) []byte {
	// A body that is empty, of an API that has any key and version.
	req := &anyRequest{Request: kmsg.NewPtrListGroupsRequest(), key: h.Key, version: h.Version}
	var opts []kmsg.RequestFormatterOpt
	if h.ClientID != nil {
		opts = append(opts, kmsg.FormatterClientID(string(h.ClientID)))
	}
	want := kmsg.NewRequestFormatter(opts...).AppendRequest(nil, req, h.CorrelationID)
	binary.BigEndian.PutUint32(want, uint32(h.Size))
	if flexible {
		want = append(want, frame[len(want):h.Len]...)
	}
	return want
}

// anyRequest has a key and a version and nothing else.
type anyRequest struct {
	kmsg.Request
	key, version int16
}

func (r *anyRequest) Key() int16                 { return r.key }
func (r *anyRequest) GetVersion() int16          { return r.version }
func (r *anyRequest) IsFlexible() bool           { return false }
func (r *anyRequest) AppendTo(dst []byte) []byte { return dst }

// FuzzProduceAcks looks for acks in any Produce request that kmsg can write.
func FuzzProduceAcks(f *testing.F) {
	f.Add(int16(0), int16(1), "", false, "client", []byte("tag"))
	f.Add(int16(3), int16(-1), "transaction", true, "client", []byte{})
	f.Add(int16(9), int16(0), "transaction", true, "", []byte("tag"))
	f.Add(int16(13), int16(0), "", true, "client", []byte("tag"))
	f.Fuzz(func(t *testing.T, version, acks int16, transactionalID string, transactional bool, clientID string, value []byte) {
		if len(transactionalID) >= 1<<15 || len(clientID) >= 1<<15 {
			t.Skip("no frame can hold it")
		}
		version = int16(uint16(version) % uint16(kmsg.NewPtrProduceRequest().MaxVersion()+1))
		var id *string
		if transactional {
			id = &transactionalID
		}
		req := produce(version, acks, id)
		r := encode(req, &clientID, appendTags(nil, tag{uint32(len(value)), value}))
		checkAcks(t, "fuzzed", r, acks, behindAcks(req))
	})
}

// FuzzClientSoftware looks for the software in any ApiVersions request that kmsg can write, and in
// bytes that are none.
func FuzzClientSoftware(f *testing.F) {
	f.Add("apache-kafka-java", "4.1.0", "client", []byte("tag"), []byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add("", "", "", []byte{}, []byte{0})
	f.Fuzz(func(t *testing.T, name, version, clientID string, value, noise []byte) {
		if len(clientID) >= 1<<15 || len(name)+len(version) > 1<<10 {
			t.Skip("no frame can hold it, or it takes too long")
		}
		r := encode(apiVersions(wire.FirstClientSoftware, name, version), &clientID, appendTags(nil, tag{uint32(len(value)), value}))
		checkSoftware(t, r, [2]string{name, version})
		frame := slices.Concat(r.frame[:r.header], noise)
		h, err := wire.ParseRequestHeader(frame, true)
		if err != nil {
			t.Fatal(err)
		}
		h.Size = int32(len(frame) - wire.SizeLen)
		if gotName, gotVersion, err := wire.ClientSoftware(frame, h); err == nil && len(gotName)+len(gotVersion) > len(noise) {
			t.Fatalf("%d and %d bytes of %d", len(gotName), len(gotVersion), len(noise))
		}
	})
}
