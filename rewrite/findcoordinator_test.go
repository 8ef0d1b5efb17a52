package rewrite

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const findCoordinatorMax = 6

// coordinatorResponse is a response about one key, in the shape of any version.
func coordinatorResponse(version int16, b Broker, code int16) *kmsg.FindCoordinatorResponse {
	resp := newResponse(10, version).(*kmsg.FindCoordinatorResponse)
	resp.ThrottleMillis = 5
	resp.ErrorCode = code
	resp.ErrorMessage = new("message")
	resp.NodeID, resp.Host, resp.Port = b.Node, b.Host, b.Port
	if version >= 4 {
		addCoordinator(resp, "key", b, code)
	}
	setTags(resp, tag{4, []byte("four")})
	return resp
}

func addCoordinator(resp *kmsg.FindCoordinatorResponse, key string, b Broker, code int16) {
	addBroker(resp, b, nil)
	c := &resp.Coordinators[len(resp.Coordinators)-1]
	c.Key, c.ErrorCode, c.ErrorMessage = key, code, new("message of "+key)
	setTags(c, tag{8, []byte("eight")})
}

// none is Kafka's value for no coordinator.
var none = Broker{Node: -1, Host: "", Port: -1}

func TestFindCoordinator(t *testing.T) {
	for version := range int16(findCoordinatorMax + 1) {
		for _, host := range []string{"b", "proxy.example", string(bytes.Repeat([]byte("l"), 255))} {
			payload := encode(coordinatorResponse(version, Broker{Node: 2, Host: brokerHost(2), Port: 9092}, 0), headerTags)
			out, notes, err := telling(host).Whole(10, version, payload)
			if err != nil || notes.Named != 1 || notes.Dropped != 0 {
				t.Fatalf("v%d: notes %+v, %v", version, notes, err)
			}
			want := encode(coordinatorResponse(version, Broker{Node: 2, Host: host, Port: 30002}, 0), headerTags)
			if !bytes.Equal(out, want) {
				t.Errorf("v%d: got %q, want %q", version, out, want)
			}
		}
	}
}

// A response with an error names no coordinator, and passes byte for byte, whatever else
// is in it.
func TestFindCoordinatorError(t *testing.T) {
	for version := range int16(findCoordinatorMax + 1) {
		for _, code := range []int16{kerr.CoordinatorNotAvailable.Code, kerr.GroupAuthorizationFailed.Code, -1} {
			payload := encode(coordinatorResponse(version, none, code), headerTags)
			out, notes, err := untouchable(t).Whole(10, version, payload)
			if err != nil || notes.Named != 0 || !same(out, payload) {
				t.Errorf("v%d: got %q, %+v, %v, want the input", version, out, notes, err)
			}
		}
	}
}

// From v4 on each key stands for itself.
func TestFindCoordinatorOfThreeKeys(t *testing.T) {
	for version := int16(4); version <= findCoordinatorMax; version++ {
		answer := func(first, last Broker) *kmsg.FindCoordinatorResponse {
			resp := newResponse(10, version).(*kmsg.FindCoordinatorResponse)
			addCoordinator(resp, "first", first, 0)
			addCoordinator(resp, "middle", none, kerr.CoordinatorNotAvailable.Code)
			addCoordinator(resp, "last", last, 0)
			return resp
		}
		payload := encode(answer(Broker{Node: 1, Host: brokerHost(1), Port: 1}, Broker{Node: 2, Host: brokerHost(2), Port: 2}), []byte{0})
		out, notes, err := telling("told").Whole(10, version, payload)
		if err != nil || notes.Named != 2 || notes.Dropped != 0 {
			t.Fatalf("v%d: notes %+v, %v", version, notes, err)
		}
		want := answer(Broker{Node: 1, Host: "told", Port: 30001}, Broker{Node: 2, Host: "told", Port: 30002})
		bodyEquals(t, decode(t, 10, version, out), want)
	}
}

// A coordinator without an endpoint is not left out but reported as unavailable:
// clients wait for a response to each key, and ask again.
func TestFindCoordinatorDropped(t *testing.T) {
	for version := range int16(findCoordinatorMax + 1) {
		payload := encode(coordinatorResponse(version, Broker{Node: 2, Host: brokerHost(2), Port: 9092}, 0), headerTags)
		out, notes, err := telling("told", 2).Whole(10, version, payload)
		if err != nil || notes.Named != 1 || notes.Dropped != 1 {
			t.Fatalf("v%d: notes %+v, %v", version, notes, err)
		}
		want := encode(coordinatorResponse(version, none, kerr.CoordinatorNotAvailable.Code), headerTags)
		if !bytes.Equal(out, want) {
			t.Errorf("v%d: got %q, want %q", version, out, want)
		}
	}
}

// A name without an id, or an id without a name, is translated, so that it does not leak.
func TestFindCoordinatorHalfNamed(t *testing.T) {
	for _, b := range []Broker{{Node: -1, Host: brokerHost(1), Port: 9092}, {Node: 0, Host: "", Port: 0}} {
		for version := range int16(findCoordinatorMax + 1) {
			payload := encode(coordinatorResponse(version, b, 0), headerTags)
			out, notes, err := telling("told").Whole(10, version, payload)
			if err != nil || notes.Named != 1 || bytes.Contains(out, []byte(leaked)) {
				t.Errorf("v%d, %+v: got %q, %+v, %v", version, b, out, notes, err)
			}
		}
	}
}

func TestFindCoordinatorNoKeys(t *testing.T) {
	for version := int16(4); version <= findCoordinatorMax; version++ {
		for _, array := range []string{"\x00", "\x01"} {
			payload := []byte("\x00\x00\x00\x00\x00" + array + "\x00")
			out, _, err := untouchable(t).Whole(10, version, payload)
			if err != nil || !same(out, payload) {
				t.Errorf("v%d: got %q, %v, want the input", version, out, err)
			}
		}
	}
}

// same reports whether got is b itself, not a copy of it.
func same(got, b []byte) bool { return len(got) == len(b) && &got[0] == &b[0] }

// A response that is decoded whole is malformed if it is cut.
func TestWholeTruncated(t *testing.T) {
	g := newGenerator(11)
	for _, key := range []int16{10, 60} {
		limit, _ := MaxVersion(key)
		for version := range limit + 1 {
			payload := encode(g.response(key, version), headerTags)
			for _, n := range cuts(len(payload)) {
				if out, _, err := untouchable(t).Whole(key, version, payload[:n:n]); err == nil {
					t.Fatalf("%s v%d, %d bytes of %d: got %d bytes, want an error", kmsg.NameForKey(key), version, n, len(payload), len(out))
				}
			}
		}
	}
}

// kmsg trusts counts. Neither time nor memory may depend on them.
func TestWholeLies(t *testing.T) {
	const many, most = "\xff\xff\xff\xff\x0f", "\xff\xff\xff\x07"
	megabyte := string(make([]byte, 1<<20))
	for _, c := range []struct {
		name         string
		key, version int16
		payload      string
	}{
		{"coordinator, four billion header tags", 10, 3, many},
		{"coordinator, four billion tags", 10, 3, "\x00" + "\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x02h\x00\x00\x00\x01" + many},
		{"coordinators, four billion tags", 10, 4, "\x00" + "\x00\x00\x00\x00" + "\x01" + many},
		{"coordinators, four billion tags of one", 10, 6, "\x00" + "\x00\x00\x00\x00" + "\x02\x02k\x00\x00\x00\x01\x02h\x00\x00\x00\x01\x00\x00\x00" + many},
		{"coordinators, four billion", 10, 4, "\x00" + "\x00\x00\x00\x00" + many},
		{"coordinators, a million", 10, 4, "\x00" + "\x00\x00\x00\x00" + "\x81\x80\x40" + megabyte},
		{"coordinator, null host", 10, 3, "\x00" + "\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x01\x00"},
		{"cluster, null host", 60, 0, "\x00" + "\x00\x00\x00\x00\x00\x00\x00\x02c\x00\x00\x00\x01\x02\x00\x00\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"},
		{"cluster, four billion tags", 60, 0, "\x00" + "\x00\x00\x00\x00\x00\x00\x00\x02c\x00\x00\x00\x01\x01\x00\x00\x00\x00" + many},
		{"cluster, a million brokers", 60, 0, "\x00" + "\x00\x00\x00\x00\x00\x00\x00\x02c\x00\x00\x00\x01\x81\x80\x40" + megabyte[:1<<20-8]},
		{"cluster, bytes behind its end", 60, 0, "\x00" + "\x00\x00\x00\x00\x00\x00\x00\x02c\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00" + "\x00"},
		{"APIs, four billion", 18, 3, "\x00\x00" + many + "\x00\x12\x00\x00\x00\x03\x00"},
		{"APIs, two billion", 18, 0, "\x00\x00\x7f\xff\xff\xff\x00\x12\x00\x00\x00\x03"},
		{"APIs, four billion tags of one", 18, 3, "\x00\x00\x02\x00\x12\x00\x00\x00\x03" + many},
		{"APIs, most tags of one", 18, 3, "\x00\x00\x02\x00\x12\x00\x00\x00\x03" + most},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := telling("told")
			var err error
			got := bytesAllocated(func() { _, _, err = r.Whole(c.key, c.version, []byte(c.payload)) })
			if err == nil {
				t.Error("got no error")
			}
			if want := uint64(3*len(c.payload) + 4096); got > want {
				t.Errorf("%d bytes were allocated for %d that came in", got, len(c.payload))
			}
		})
	}
}

func TestWholeOfOtherKeys(t *testing.T) {
	for _, key := range []int16{0, 1, 3, 78, 10001} {
		if _, _, err := untouchable(t).Whole(key, 0, []byte{0, 0, 0, 0}); err == nil {
			t.Errorf("key %d: got no error", key)
		}
	}
	_, _, err := untouchable(t).Whole(10, 0, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "parse FindCoordinator v0 response: ") {
		t.Errorf("got %v, want it to name the part that could not be parsed", err)
	}
}

// A client chooses the number of keys. Each broker is translated once, and no more than a response may name.
func TestFindCoordinatorOfManyKeys(t *testing.T) {
	const keys = 2 * MaxBrokers
	for version := int16(4); version <= findCoordinatorMax; version++ {
		few, many := coordinatorResponse(version, Broker{Node: 0, Host: brokerHost(0), Port: 9092}, 0), coordinatorResponse(version, none, 0)
		for n := range keys {
			addCoordinator(few, "k", Broker{Node: int32(n % 3), Host: brokerHost(n % 3), Port: 9092}, 0)
			addCoordinator(many, "k", Broker{Node: int32(n), Host: brokerHost(n), Port: 9092}, 0)
		}
		got := 0
		r := &Rewriter{Translate: func(_ int16, brokers Brokers) {
			got = len(brokers.List)
			for i := range brokers.List {
				brokers.List[i].Host = "proxy.example"
			}
		}}
		out, _, err := r.Whole(10, version, encode(few, headerTags))
		if err != nil || got != 3 {
			t.Fatalf("v%d: %d brokers are translated, %v", version, got, err)
		}
		for _, c := range decode(t, 10, version, out).(*kmsg.FindCoordinatorResponse).Coordinators {
			if c.Host != "proxy.example" {
				t.Fatalf("v%d: a coordinator is told as %s", version, c.Host)
			}
		}
		if _, _, err := r.Whole(10, version, encode(many, headerTags)); !errors.Is(err, errTooManyBrokers) {
			t.Errorf("v%d: %d brokers: got %v", version, keys, err)
		}
	}
}
