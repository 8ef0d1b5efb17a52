package rewrite

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// walked are the APIs with treatment Walk, and their first flexible version.
var walked = []struct{ key, first int16 }{
	{kmsg.Produce.Int16(), 9},
	{kmsg.Fetch.Int16(), 12},
	{kmsg.ShareFetch.Int16(), 0},
	{kmsg.ShareAcknowledge.Int16(), 0},
}

// answer is a response of an API in one version.
type answer struct{ key, version int16 }

func (a answer) String() string {
	return fmt.Sprintf("%s v%d", kmsg.NameForKey(a.key), a.version)
}

// walkedResponses are all with treatment Walk.
func walkedResponses() []answer {
	var all []answer
	for _, w := range walked {
		for version := w.first; version <= kmsg.ResponseForKey(w.key).MaxVersion(); version++ {
			all = append(all, answer{w.key, version})
		}
	}
	return all
}

// newResponse returns an empty response.
func newResponse(key, version int16) kmsg.Response {
	resp := kmsg.ResponseForKey(key)
	resp.SetVersion(version)
	reflect.ValueOf(resp).MethodByName("Default").Call(nil)
	return resp
}

// generator fills kmsg's types with anything that a broker might send. The same seed
// gives the same responses.
type generator struct {
	*rand.Rand
	plain bool // no byte above 127, as seeds for fuzzing are to be
}

func newGenerator(seed uint64) generator {
	return generator{Rand: rand.New(rand.NewPCG(seed, 42))}
}

// response returns a random response of up to 5 topics of up to 20 partitions.
func (g generator) response(key, version int16) kmsg.Response {
	resp := newResponse(key, version)
	g.fill(reflect.ValueOf(resp).Elem(), "")
	resp.SetVersion(version)
	return resp
}

// optional are structures in tags, which a broker leaves out unless they are set.
var optional = []string{"DivergingEpoch", "CurrentLeader", "SnapshotID"}

// fill fills v, a field of that name.
func (g generator) fill(v reflect.Value, name string) {
	switch {
	case v.Type() == reflect.TypeFor[kmsg.Tags]():
		v.Set(reflect.ValueOf(g.tags()))
	case v.Type() == reflect.TypeFor[[]byte]():
		if !g.oneIn(8) {
			v.SetBytes(g.records())
		}
	case v.Kind() == reflect.Struct:
		v.Addr().MethodByName("Default").Call(nil)
		if slices.Contains(optional, name) && g.oneIn(2) {
			return
		}
		for i := range v.NumField() {
			g.fill(v.Field(i), v.Type().Field(i).Name)
		}
	case v.Kind() == reflect.Slice:
		if n := g.length(name); n >= 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
		}
		for i := range v.Len() {
			g.fill(v.Index(i), name)
		}
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			g.fill(v.Index(i), name)
		}
	case v.Kind() == reflect.Pointer:
		if !g.oneIn(3) {
			v.Set(reflect.New(v.Type().Elem()))
			g.fill(v.Elem(), name)
		}
	case v.Kind() == reflect.String:
		v.SetString(g.string(name))
	case v.CanInt():
		v.SetInt(g.int())
	case v.CanUint():
		v.SetUint(uint64(g.int()))
	case v.Kind() == reflect.Bool:
		v.SetBool(g.oneIn(2))
	default:
		panic("cannot fill " + v.Type().String())
	}
}

// length returns the length of an array of that name; -1 is null.
func (g generator) length(name string) int {
	switch name {
	case "Topics":
		return g.IntN(6)
	case "Partitions":
		return g.IntN(21)
	default: // aborted transactions, record errors, acquired records, brokers, ...
		return []int{-1, 0, 0, 1, 2, 3, 40}[g.IntN(7)]
	}
}

// records are bytes of any length.
func (g generator) records() []byte {
	if g.oneIn(50) {
		return g.bytes(1 << 16)
	}
	return g.bytes([]int{0, 1, 100, 126, 127, 128, 5000}[g.IntN(7)])
}

func (g generator) bytes(n int) []byte {
	b := make([]byte, n)
	for eight := range slices.Chunk(b, 8) {
		v := g.Uint64()
		if g.plain {
			v &= 0x7f7f7f7f7f7f7f7f
		}
		copy(eight, binary.LittleEndian.AppendUint64(nil, v))
	}
	return b
}

func (g generator) int() int64 {
	if g.plain {
		return g.Int64N(100)
	}
	return []int64{0, 1, 2, 100, -1, int64(g.Uint64())}[g.IntN(6)]
}

func (g generator) string(name string) string {
	if name == "Host" {
		return brokerHost(g.IntN(3))
	}
	b := make([]byte, []int{0, 1, 9, 126, 127, 300}[g.IntN(6)])
	for i := range b {
		b[i] = byte('a' + g.IntN(26))
	}
	return string(b)
}

// tags are unknown tags: Kafka's own are numbered from 0.
func (g generator) tags() kmsg.Tags {
	var tags kmsg.Tags
	if !g.oneIn(6) {
		return tags
	}
	for range g.IntN(4) {
		number := []uint32{20, 21, 125, 126, 127, 128, 16384, 1 << 31}[g.IntN(8)]
		tags.Set(number, g.bytes([]int{0, 1, 127, 128, 300}[g.IntN(5)]))
	}
	return tags
}

func (g generator) oneIn(n int) bool { return g.IntN(n) == 0 }

// brokerHost is the host that a broker advertises.
func brokerHost(n int) string { return fmt.Sprintf("%s%d.vpc.invalid", leaked, n) }

// leaked is a text that no client may get, and that occurs nowhere else in a response.
const leaked = "broker-QQ-"

// setTags sets the unknown tags of a structure.
func setTags(structure any, tags ...tag) {
	unknown := reflect.ValueOf(structure).Elem().FieldByName("UnknownTags").Addr().Interface().(*kmsg.Tags)
	*unknown = kmsg.Tags{}
	for _, t := range tags {
		unknown.Set(t.number, t.value)
	}
}

// topTags returns the unknown tags at the top level of a response.
func topTags(resp kmsg.Response) []tag {
	var all []tag
	unknown := reflect.ValueOf(resp).Elem().FieldByName("UnknownTags").Addr().Interface().(*kmsg.Tags)
	unknown.Each(func(number uint32, value []byte) { all = append(all, tag{number, value}) })
	return all
}

func appendTags(dst []byte, tags ...tag) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(tags)))
	for _, t := range tags {
		dst = appendTag(dst, t)
	}
	return dst
}
