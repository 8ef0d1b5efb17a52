package rewrite

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// headerTags is a response header that is not empty.
var headerTags = appendTags(nil, tag{5, []byte("five")}, tag{200, make([]byte, 200)})

// encode returns the payload of resp: its header, if the version has one, and
// its body. A header of ApiVersions is never flexible.
func encode(resp kmsg.Response, header []byte) []byte {
	if !hasHeader(resp) {
		header = nil
	}
	return resp.AppendTo(bytes.Clone(header))
}

func hasHeader(resp kmsg.Response) bool {
	return resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16()
}

// decode decodes a payload as a client does. It reads the header on its own.
func decode(tb testing.TB, key, version int16, payload []byte) kmsg.Response {
	tb.Helper()
	resp, err := tryDecode(key, version, payload)
	if err != nil {
		tb.Fatalf("kmsg cannot decode: %v\n% x", err, head(payload))
	}
	return resp
}

func tryDecode(key, version int16, payload []byte) (kmsg.Response, error) {
	resp := newResponse(key, version)
	if hasHeader(resp) {
		payload = afterHeader(payload)
	}
	return resp, resp.ReadFrom(payload)
}

// afterHeader skips a tag section, the simplest way.
func afterHeader(b []byte) []byte {
	uvarint := func() uint64 {
		v, n := binary.Uvarint(b)
		b = b[max(n, 0):]
		return v
	}
	for range min(uvarint(), uint64(len(b))) {
		uvarint()
		b = b[min(uvarint(), uint64(len(b))):]
	}
	return b
}

// bodyEquals compares two responses in all that their version puts on the wire.
func bodyEquals(tb testing.TB, got, want kmsg.Response) {
	tb.Helper()
	if g, w := got.AppendTo(nil), want.AppendTo(nil); !bytes.Equal(g, w) {
		tb.Fatalf("%s v%d: kmsg decodes\n%s\nwant\n%s", kmsg.NameForKey(got.Key()), got.GetVersion(), show(got), show(want))
	}
}

// brokersField returns the array of brokers of a response.
func brokersField(resp kmsg.Response) reflect.Value {
	v := reflect.ValueOf(resp).Elem()
	for _, name := range []string{"Brokers", "NodeEndpoints", "Coordinators"} {
		if f := v.FieldByName(name); f.IsValid() {
			return f
		}
	}
	panic("no brokers in " + kmsg.NameForKey(resp.Key()))
}

// addBroker adds a broker to a response and returns a pointer to its structure.
func addBroker(resp kmsg.Response, b Broker, rack *string) any {
	list := brokersField(resp)
	list.Set(reflect.Append(list, reflect.Zero(list.Type().Elem())))
	e := list.Index(list.Len() - 1)
	e.FieldByName("NodeID").SetInt(int64(b.Node))
	e.FieldByName("Host").SetString(b.Host)
	e.FieldByName("Port").SetInt(int64(b.Port))
	if f := e.FieldByName("Rack"); f.IsValid() && rack != nil {
		f.Set(reflect.ValueOf(rack))
	}
	return e.Addr().Interface()
}

// brokersOf returns the brokers that a response names.
func brokersOf(resp kmsg.Response) []Broker {
	var all []Broker
	for i, list := 0, brokersField(resp); i < list.Len(); i++ {
		e := list.Index(i)
		all = append(all, Broker{
			Node: int32(e.FieldByName("NodeID").Int()),
			Host: e.FieldByName("Host").String(),
			Port: int32(e.FieldByName("Port").Int()),
		})
	}
	return all
}

// translated changes a decoded response as the rewriter should.
func translated(resp kmsg.Response, translate Translate) kmsg.Response {
	brokers := brokersOf(resp)
	translate(resp.Key(), Brokers{List: brokers})
	list := brokersField(resp)
	kept := reflect.Zero(list.Type())
	for i, b := range brokers {
		if b.Drop {
			continue
		}
		e := list.Index(i)
		e.FieldByName("Host").SetString(b.Host)
		e.FieldByName("Port").SetInt(int64(b.Port))
		kept = reflect.Append(kept, e)
	}
	list.Set(kept)
	return resp
}

// telling advertises every broker as host, on a port of its own, and drops some.
func telling(host string, drop ...int32) *Rewriter {
	return &Rewriter{Translate: func(_ int16, brokers Brokers) {
		for i := range brokers.List {
			b := &brokers.List[i]
			b.Host, b.Port = host, 30000+b.Node%1000
			b.Drop = slices.Contains(drop, b.Node)
		}
	}}
}

// untouchable fails if Translate is called.
func untouchable(tb testing.TB) *Rewriter {
	tb.Helper()
	return &Rewriter{Translate: func(key int16, brokers Brokers) {
		tb.Errorf("Translate(%d, %v), want no call", key, brokers)
	}}
}

// head cuts b for a failure message.
func head(b []byte) []byte { return b[:min(len(b), 300)] }

// show cuts a response for a failure message.
func show(resp kmsg.Response) string {
	b, err := json.Marshal(resp)
	if err != nil {
		return err.Error()
	}
	return string(head(b))
}
