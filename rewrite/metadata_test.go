package rewrite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

const metadataMax = 13

// metadata is a response with n brokers, topics, and tags in every possible place.
func metadata(version int16, n int, rack *string, tags bool) *kmsg.MetadataResponse {
	g := newGenerator(uint64(n))
	resp := g.response(kmsg.Metadata.Int16(), version).(*kmsg.MetadataResponse)
	resp.Brokers = nil
	for i := range n {
		addBroker(resp, Broker{Node: int32(i), Host: brokerHost(i), Port: 9092}, rack)
		if tags {
			setTags(&resp.Brokers[i], tag{9, []byte("of a broker")})
		}
	}
	setTags(resp)
	if tags {
		setTags(resp, tag{7, nil}, tag{300, make([]byte, 300)})
	}
	return resp
}

// behindHead is how many bytes kmsg writes behind the brokers and the cluster id.
func behindHead(resp *kmsg.MetadataResponse) int {
	bare := *resp
	bare.Brokers = nil
	n := len(bare.AppendTo(nil))
	if bare.Version >= 3 {
		n -= 4 // throttle time
	}
	count, length := 4, 2 // of no brokers, and of a cluster id
	if bare.IsFlexible() {
		count, length = 1, 1
	}
	if bare.Version >= 2 {
		if resp.ClusterID != nil {
			n -= len(*resp.ClusterID)
			if bare.IsFlexible() {
				length = wire.UvarintLen(uint32(len(*resp.ClusterID)) + 1)
			}
		}
		n -= length
	}
	return n - count
}

func TestHead(t *testing.T) {
	hosts := map[string]string{
		"shorter": "b",
		"equal":   strings.Repeat("e", len(brokerHost(1))),
		"longer":  strings.Repeat("l", 100),
		"longest": strings.Repeat("m", 255),
	}
	for version := range int16(metadataMax + 1) {
		for _, n := range []int{0, 1, 3, 300} {
			for rackName, rack := range map[string]*string{"null": nil, "empty": new(""), "r": new("r")} {
				for _, tags := range []bool{false, true} {
					for hostName, host := range hosts {
						name := fmt.Sprintf("v%d, %d brokers, rack %s, tags %t, host %s", version, n, rackName, tags, hostName)
						header := []byte{0}
						if tags {
							header = headerTags
						}
						checkHead(t, name, telling(host), metadata(version, n, rack, tags), header)
					}
				}
			}
		}
	}
}

// checkHead compares Head with a response that kmsg decodes, changes and encodes.
func checkHead(t *testing.T, name string, r *Rewriter, resp *kmsg.MetadataResponse, header []byte) {
	t.Helper()
	payload := encode(resp, header)
	rest := payload[len(payload)-behindHead(resp):]
	untouched := bytes.Clone(payload)
	out, n, notes, err := r.Head(3, resp.Version, payload)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if want := (Notes{Named: len(resp.Brokers)}); notes.Named != want.Named || notes.Dropped != 0 {
		t.Fatalf("%s: notes %+v, want %+v", name, notes, want)
	}
	if !bytes.Equal(payload[n:], rest) {
		t.Fatalf("%s: %d bytes are left, want %d", name, len(payload)-n, len(rest))
	}
	if !bytes.Equal(payload, untouched) {
		t.Fatalf("%s: the input was changed", name)
	}
	want := encode(translated(decode(t, 3, resp.Version, payload), r.Translate), header)
	if got := append(bytes.Clone(out), rest...); !bytes.Equal(got, want) {
		t.Fatalf("%s:\ngot  % x\nwant % x", name, head(got), head(want))
	}
}

// A head arrives in pieces: until it is whole, Head asks for more; from there on
// it does not matter how much follows.
func TestHeadInPieces(t *testing.T) {
	for version := range int16(metadataMax + 1) {
		for _, n := range []int{0, 1, 3, 300} {
			resp := metadata(version, n, new("rack"), true)
			payload := encode(resp, headerTags)
			headLen := len(payload) - behindHead(resp)
			want, _, _, err := telling("proxy.example").Head(3, version, payload)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range cuts(headLen) {
				_, _, _, err := untouchable(t).Head(3, version, payload[:i:i])
				if !errors.Is(err, wire.ErrShort) {
					t.Fatalf("v%d, %d brokers, %d of %d bytes: %v, want ErrShort", version, n, i, headLen, err)
				}
			}
			for i := headLen; i <= min(len(payload), headLen+20); i++ {
				got, at, _, err := telling("proxy.example").Head(3, version, payload[:i:i])
				if err != nil || at != headLen || !bytes.Equal(got, want) {
					t.Fatalf("v%d, %d brokers, %d bytes for a head of %d: %d, %v", version, n, i, headLen, at, err)
				}
			}
		}
	}
}

func TestHeadDrops(t *testing.T) {
	for version := range int16(metadataMax + 1) {
		for _, drop := range [][]int32{{0}, {1}, {2}, {0, 2}, {0, 1, 2}} {
			resp := metadata(version, 3, new("rack"), true)
			payload := encode(resp, headerTags)
			r := telling("proxy.example", drop...)
			out, n, notes, err := r.Head(3, version, payload)
			if err != nil || notes.Named != 3 || notes.Dropped != len(drop) {
				t.Fatalf("v%d without %v: notes %+v, %v", version, drop, notes, err)
			}
			got := decode(t, 3, version, append(out, payload[n:]...)).(*kmsg.MetadataResponse)
			bodyEquals(t, got, translated(resp, r.Translate))
			for _, b := range got.Brokers {
				if slices.Contains(drop, b.NodeID) {
					t.Fatalf("v%d without %v: node %d is in the response", version, drop, b.NodeID)
				}
			}
		}
	}
}

// Translate gets all brokers at once, in their order, as the response names them.
func TestHeadTellsTranslate(t *testing.T) {
	want := []Broker{{Node: 7, Host: "b7", Port: 9097}, {Node: -1, Host: "", Port: -1}, {Node: 7, Host: "::1", Port: 65535}}
	for version := range int16(metadataMax + 1) {
		resp := newResponse(3, version)
		for _, b := range want {
			addBroker(resp, b, nil)
		}
		var got [][]Broker
		r := &Rewriter{Translate: func(key int16, brokers Brokers) {
			if key != 3 {
				t.Errorf("key %d, want 3", key)
			}
			got = append(got, slices.Clone(brokers.List))
		}}
		payload := encode(resp, []byte{0})
		out, n, _, err := r.Head(3, version, payload)
		if err != nil || len(got) != 1 || !slices.Equal(got[0], want) {
			t.Fatalf("v%d: Translate heard %v, %v, want %v once", version, got, err, want)
		}
		if !bytes.Equal(out, payload[:n]) {
			t.Errorf("v%d: got % x, want % x: nothing was translated", version, out, payload[:n])
		}
	}
}

// Translate gets the cluster id, from v2 on. The id is not changed.
func TestHeadTellsClusterID(t *testing.T) {
	for version := range int16(metadataMax + 1) {
		for _, id := range []*string{nil, new(""), new("MkU3OEVBNTcwNTJENDM2Qk"), new(strings.Repeat("i", 126)), new(strings.Repeat("i", 127)), new(strings.Repeat("i", 300))} {
			resp := metadata(version, 2, nil, false)
			resp.ClusterID = id
			want := ""
			if id != nil && version >= 2 {
				want = *id
			}
			r := telling("proxy.example")
			tell := r.Translate
			heard := "nothing"
			r.Translate = func(key int16, brokers Brokers) {
				heard = brokers.ClusterID
				tell(key, brokers)
			}
			checkHead(t, fmt.Sprintf("v%d, cluster %q", version, want), &Rewriter{Translate: tell}, resp, []byte{0})
			if _, _, _, err := r.Head(3, version, encode(resp, []byte{0})); err != nil || heard != want {
				t.Errorf("v%d: Translate heard %q, %v, want %q", version, heard, err, want)
			}
		}
	}
}

// A cluster that starts names no broker. Its response passes byte for byte, and a null
// array stays null. Translate gets the cluster's id.
func TestHeadNamesNobody(t *testing.T) {
	for _, c := range []struct {
		name    string
		version int16
		payload string
		n       int
		id      string
	}{
		{"v0 null", 0, "\xff\xff\xff\xff\x00\x00\x00\x00", 4, ""},
		{"v0 empty", 0, "\x00\x00\x00\x00\x00\x00\x00\x00", 4, ""},
		{"v3 null", 3, "\x00\x00\x00\x05\xff\xff\xff\xff\x00\x01irest", 11, "i"},
		{"v3 null, without an id", 3, "\x00\x00\x00\x05\xff\xff\xff\xff\xff\xffrest", 10, ""},
		{"v9 null", 9, "\x00\x00\x00\x00\x05\x00\x02irest", 8, "i"},
		{"v9 empty", 9, "\x00\x00\x00\x00\x05\x01\x02irest", 8, "i"},
		{"v13 empty, written wide", 13, "\x80\x00\x00\x00\x00\x05\x81\x80\x00\x02irest", 11, "i"},
	} {
		t.Run(c.name, func(t *testing.T) {
			heard := ""
			r := &Rewriter{Translate: func(_ int16, brokers Brokers) { heard = brokers.ClusterID }}
			out, n, notes, err := r.Head(3, c.version, []byte(c.payload))
			if err != nil || n != c.n || string(out) != c.payload[:c.n] || notes.Named != 0 || heard != c.id {
				t.Errorf("got %q, %d, %+v, %v, id %q, want %q, %q", out, n, notes, err, heard, c.payload[:c.n], c.id)
			}
		})
	}
}

func TestHeadLies(t *testing.T) {
	for _, c := range []struct {
		name    string
		version int16
		payload string
		want    error // nil: any, which depends on how many bits an int has
	}{
		{"v0 two billion brokers", 0, "\x7f\xff\xff\xff\x00\x00\x00\x01\x00\x01h", wire.ErrTooManyElements},
		{"v1 two billion brokers", 1, "\x7f\xff\xff\xff\x00\x00\x00\x01\x00\x01h", wire.ErrTooManyElements},
		{"v9 two billion brokers", 9, "\x00\x00\x00\x00\x00\x80\x80\x80\x80\x08\x00\x00\x00\x01\x02h", wire.ErrTooManyElements},
		{"v1 ten thousand and one brokers", 1, "\x00\x00\x27\x11\x00\x00\x00\x01\x00\x01h", errTooManyBrokers},
		{"v9 four billion brokers", 9, "\x00\x00\x00\x00\x00\xff\xff\xff\xff\x0f\x00\x00\x00\x01\x02h", nil},
		{"v0 -2 brokers", 0, "\xff\xff\xff\xfe", wire.ErrMalformed},
		{"v0 host of -2 bytes", 0, "\x00\x00\x00\x01\x00\x00\x00\x01\xff\xfe", wire.ErrMalformed},
		{"v9 count in six bytes", 9, "\x00\x00\x00\x00\x00\x80\x80\x80\x80\x80\x00", wire.ErrMalformed},
		{"v9 header tags in six bytes", 9, "\x80\x80\x80\x80\x80\x00", wire.ErrMalformed},
		{"v9 four billion tags of a broker", 9, "\x00\x00\x00\x00\x00\x02\x00\x00\x00\x01\x02h\x00\x00\x00\x01\x00\xff\xff\xff\xff\x0f", wire.ErrTooManyTags},
		{"v9 host of four billion bytes", 9, "\x00\x00\x00\x00\x00\x02\x00\x00\x00\x01\xff\xff\xff\xff\x0f", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, _, err := untouchable(t).Head(3, c.version, []byte(c.payload))
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if got := bytesAllocated(func() { _, _, _, _ = untouchable(t).Head(3, c.version, []byte(c.payload)) }); got > 4096 {
				t.Errorf("%d bytes were allocated for %d that came in", got, len(c.payload))
			}
		})
	}
}

// bytesAllocated returns how much memory a call takes from the heap.
func bytesAllocated(f func()) uint64 {
	const runs = 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / runs
}

// The cost of a large response's head depends on its brokers, not on its topics.
func TestHeadIgnoresTopics(t *testing.T) {
	resp := metadata(12, 3, nil, false)
	resp.Topics = nil
	payload := encode(resp, []byte{0})
	payload = append(payload, make([]byte, 8<<20)...)
	r := telling("proxy.example")
	if got := bytesAllocated(func() { _, _, _, _ = r.Head(3, 12, payload) }); got > 4096 {
		t.Errorf("%d bytes were allocated for 3 brokers in front of 8 MiB", got)
	}
}

// Kafka writes numbers in the shortest form; other brokers need not.
func TestHeadTakesWideNumbers(t *testing.T) {
	payload := []byte{0x80, 0, 0, 0, 0, 0, 0x82, 0x80, 0}              // tags, throttle time, one broker
	payload = binary.BigEndian.AppendUint32(payload, 1)                // its id
	payload = append(payload, 0x83, 0, 'h', 'i', 0, 0, 0x23, 0x84)     // host, port
	payload = append(payload, 0x82, 0, 'r', 0x81, 0, 0x85, 0, 0x80, 0) // rack, one tag of no bytes
	payload = append(payload, 0x82, 0, 'c')                            // cluster id
	out, n, _, err := telling("told").Head(3, 9, payload)
	want := "\x80\x00\x00\x00\x00\x00" + "\x02" + "\x00\x00\x00\x01\x05told\x00\x00\x75\x31" + "\x82\x00r\x81\x00\x85\x00\x80\x00" + "\x82\x00c"
	if err != nil || n != len(payload) || string(out) != want {
		t.Errorf("got %q, %d of %d, %v, want %q", out, n, len(payload), err, want)
	}
}
