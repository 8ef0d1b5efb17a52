package wire_test

import (
	"encoding/binary"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// client is a client id as a test case; id is nil where it is null.
type client struct {
	name string
	id   *string
}

// clients are the client ids that a header is tried with. An INT16 length ends
// at 32767.
var clients = []client{
	{"null client id", nil},
	{"empty client id", new("")},
	{"short client id", new("sarama")},
	{"longest client id", new(strings.Repeat("c", 1<<15-1))},
}

// tagSection is the tag section that ends a flexible header (KIP-482).
type tagSection struct {
	name  string
	bytes []byte
}

// tagSections are the possible ends of a header. No client sends tags there today;
// every broker skips those that it does not know.
var tagSections = []tagSection{
	{"no tags", appendTags(nil)},
	{"one tag", appendTags(nil, tag{0, []byte("value")})},
	{"many tags", appendTags(nil, tag{0, nil}, tag{1, make([]byte, 127)}, tag{126, make([]byte, 128)}, tag{1 << 20, make([]byte, 300)})},
}

type tag struct {
	number uint32
	value  []byte
}

func appendTags(dst []byte, tags ...tag) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(tags)))
	for _, t := range tags {
		dst = binary.AppendUvarint(dst, uint64(t.number))
		dst = binary.AppendUvarint(dst, uint64(len(t.value)))
		dst = append(dst, t.value...)
	}
	return dst
}

// request is a frame as kmsg encodes it, with the header tags that kmsg cannot
// write, and the place where kmsg begins the body.
type request struct {
	kmsg.Request
	frame  []byte
	header int
}

const correlationID = -559038737 // any number, with four different bytes

func encode(req kmsg.Request, clientID *string, tags []byte) request {
	var opts []kmsg.RequestFormatterOpt
	if clientID != nil {
		opts = append(opts, kmsg.FormatterClientID(*clientID))
	}
	frame := kmsg.NewRequestFormatter(opts...).AppendRequest(nil, req, correlationID)
	body := len(req.AppendTo(nil))
	if hasNoClientID(req) { // kmsg leaves its size and body out
		frame = req.AppendTo(frame)
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-wire.SizeLen))
	}
	header := len(frame) - body
	if req.IsFlexible() {
		whole := append([]byte(nil), frame[:header-1]...) // without kmsg's own count of no tags
		whole = append(whole, tags...)
		header = len(whole)
		frame = append(whole, frame[len(frame)-body:]...)
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-wire.SizeLen))
	}
	return request{req, frame, header}
}

// hasNoClientID reports whether it is the only header of version 0.
func hasNoClientID(req kmsg.Request) bool {
	return req.Key() == kmsg.ControlledShutdown.Int16() && req.GetVersion() == 0
}

// requests returns one request of every key and version that kmsg knows.
func requests() []kmsg.Request {
	var all []kmsg.Request
	for key := int16(0); key <= kmsg.MaxKey; key++ {
		req := kmsg.RequestForKey(key)
		if req == nil {
			continue
		}
		for v := int16(0); v <= req.MaxVersion(); v++ {
			req := kmsg.RequestForKey(key)
			req.SetVersion(v)
			all = append(all, req)
		}
	}
	return all
}

// truncations returns every length below n that is worth a try: all of them,
// or the ends of a long range and some in between.
func truncations(n int) []int {
	const near, stride = 64, 1021
	var all []int
	for i := range n {
		if i > near && i < n-near && i%stride != 0 {
			continue
		}
		all = append(all, i)
	}
	return all
}
