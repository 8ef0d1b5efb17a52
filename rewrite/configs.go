package rewrite

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// addressConfigs are the brokers' settings whose values are addresses of brokers,
// controllers or ZooKeeper, in any release since 2.2. Clients at a listener of the
// proxy's cannot use them, and do not need them.
var addressConfigs = map[string]bool{
	"listeners":                           true,
	"advertised.listeners":                true,
	"controller.quorum.voters":            true,
	"controller.quorum.bootstrap.servers": true,
	// Before KRaft.
	"zookeeper.connect":    true,
	"host.name":            true,
	"port":                 true,
	"advertised.host.name": true,
	"advertised.port":      true,
}

// addressSuffixes end the names of such settings in plugins and in other brokers
// than Apache Kafka: reporters of metrics, tiered storage, REST servers.
var addressSuffixes = []string{".bootstrap.servers", ".advertised.listeners", ".server.listeners", ".zookeeper.connect"}

// listenerPrefix is in front of a setting's name that is for one listener of the
// broker: listener.name.NAME.
const listenerPrefix = "listener.name."

// holdsAddress reports whether the value of a setting with this name is an address.
func holdsAddress(name []byte) bool {
	if rest, ok := bytes.CutPrefix(name, []byte(listenerPrefix)); ok {
		_, name, _ = bytes.Cut(rest, []byte{'.'})
	}
	if addressConfigs[string(name)] {
		return true
	}
	for _, suffix := range addressSuffixes {
		if bytes.HasSuffix(name, []byte(suffix)) {
			return true
		}
	}
	return false
}

// Configs goes through a DescribeConfigs response, and withholds the values of settings
// that hold addresses, as brokers withhold passwords: the entry stays, is marked as
// sensitive, and has no value. The values of its synonyms are withheld, too.
// Documentation stays: it is Kafka's own text.
//
// A response for thousands of topics has many megabytes, and settings of brokers can be
// anywhere in it. So it is read structure by structure:
//
//	c.Start(version, size of the payload, fixed)
//	for !c.Done() {
//		n, out, err := c.Next(bytes from here on)
//		wire.ErrShort: read on
//		out is nil:    forward n bytes
//		out:           send out, and skip n bytes
//	}
//	forward c.Left() bytes
//
// With fixed the response keeps its length, which has been sent ahead: a value is
// then overwritten.
//
// DescribeConfigs v0-4:
//
//	v0  throttle time; resources of error, message, type, name, settings;
//	    settings of name, value, is read-only, is default, is sensitive
//	v1  a source in place of is default; synonyms of name, value, source
//	v3  type and documentation
//	v4  flexible
type Configs struct {
	version   int16
	fixed     bool
	begun     bool
	left      int // bytes of the response that were not taken
	resources int // that were not begun
	settings  int // of the current resource
}

// Start begins a response. payload is how many bytes its frame has behind the
// correlation id.
func (c *Configs) Start(version int16, payload int, fixed bool) {
	*c = Configs{version: version, left: payload, fixed: fixed}
}

// Done reports whether all settings have been taken.
func (c *Configs) Done() bool { return c.begun && c.resources <= 0 && c.settings <= 0 }

// Left is how many bytes of the response have not been taken.
func (c *Configs) Left() int { return c.left }

// withheld overwrites the characters of a value that keeps its length. No address
// has one.
const withheld = '*'

// Next takes the structures at the front of b, the response's bytes from the first that
// was not taken. b may end anywhere, and may reach beyond the response. It returns how
// many bytes they have, and the bytes to send instead; nil: they are unchanged.
// wire.ErrShort asks for more bytes.
func (c *Configs) Next(b []byte) (n int, out []byte, err error) {
	b = b[:min(len(b), c.left)]
	for !c.Done() {
		after := *c
		rd := wire.NewReader(b[n:])
		changed := after.take(&rd, b[n:])
		if err := rd.Err(); err != nil {
			if n == 0 {
				return 0, nil, c.malformedAtEnd(err, len(b))
			}
			break // the next call returns it
		}
		if changed != nil && n > 0 {
			break // unchanged bytes are forwarded first
		}
		*c = after
		c.left -= rd.Offset()
		n += rd.Offset()
		if changed != nil {
			return n, changed, nil
		}
	}
	return n, nil, nil
}

// malformedAtEnd distinguishes a structure that has not arrived from one that never will:
// then have is the whole rest of the response.
func (c *Configs) malformedAtEnd(err error, have int) error {
	if errors.Is(err, wire.ErrShort) && have == c.left {
		err = fmt.Errorf("%w: it ends inside a setting", wire.ErrMalformed)
	}
	return parseError(kmsg.DescribeConfigs.Int16(), c.version, err)
}

// take reads one structure at the start of b: the fields before the resources, or before
// a resource's settings, or a setting. It returns the bytes to send instead.
func (c *Configs) take(rd *wire.Reader, b []byte) (changed []byte) {
	switch {
	case !c.begun:
		c.tags(rd) // of the header
		rd.Int32() // throttle time
		c.resources = rd.ArrayLen(c.flexible())
		c.begun = true
		return nil
	case c.settings > 0:
		changed = c.setting(rd, b)
		c.settings--
	default:
		rd.Int16() // error
		rd.String(c.flexible())
		rd.Int8() // type
		rd.String(c.flexible())
		c.settings = rd.ArrayLen(c.flexible())
		c.resources--
	}
	if end := rd.Offset(); c.settings <= 0 {
		c.tags(rd)
		if changed != nil && rd.Err() == nil {
			changed = append(changed, b[end:rd.Offset()]...)
		}
	}
	return changed
}

func (c *Configs) flexible() bool { return c.version >= 4 }

func (c *Configs) tags(rd *wire.Reader) {
	if c.flexible() {
		rd.SkipTags()
	}
}

// span is the position of a value, its length included.
type span struct{ at, end int }

// setting reads a setting at the start of b, and returns it without its values if
// they are addresses.
func (c *Configs) setting(rd *wire.Reader, b []byte) (changed []byte) {
	var spans []span
	hide := holdsAddress(rd.String(c.flexible()))
	spans = c.value(rd, spans, hide)
	rd.Take(1 + 1) // is read-only, is default or its source
	sensitive := rd.Offset()
	rd.Int8()
	if c.version >= 1 {
		for n := rd.ArrayLen(c.flexible()); n > 0 && rd.Err() == nil; n-- {
			synonym := holdsAddress(rd.String(c.flexible()))
			spans = c.value(rd, spans, hide || synonym)
			rd.Int8() // source
			c.tags(rd)
		}
	}
	if c.version >= 3 {
		rd.Int8() // type
		rd.String(c.flexible())
	}
	c.tags(rd)
	if len(spans) == 0 || rd.Err() != nil {
		return nil
	}
	return c.without(b[:rd.Offset()], spans, sensitive)
}

// value reads a value, and adds it to spans if it is to be hidden and not null.
func (c *Configs) value(rd *wire.Reader, spans []span, hide bool) []span {
	at := rd.Offset()
	if rd.String(c.flexible()) != nil && hide {
		spans = append(spans, span{at, rd.Offset()})
	}
	return spans
}

// without returns a setting without the values in spans, and marked as sensitive.
func (c *Configs) without(b []byte, spans []span, sensitive int) []byte {
	b = bytes.Clone(b)
	b[sensitive] = 1
	if c.fixed {
		for _, s := range spans {
			rd := wire.NewReader(b[s.at:s.end])
			value := rd.String(c.flexible())
			copy(b[s.end-len(value):s.end], bytes.Repeat([]byte{withheld}, len(value)))
		}
		return b
	}
	out, from := b[:0], 0
	for _, s := range spans {
		out = append(out, b[from:s.at]...)
		out = c.appendNull(out)
		from = s.end
	}
	return append(out, b[from:]...)
}

// appendNull appends a string that is null. It is not longer than any string's length
// field.
func (c *Configs) appendNull(dst []byte) []byte {
	if c.flexible() {
		return append(dst, 0)
	}
	return append(dst, 0xff, 0xff)
}

// describeConfigs is Configs for a complete response.
func describeConfigs(version int16, payload []byte) ([]byte, Notes, error) {
	var c Configs
	c.Start(version, len(payload), false)
	var out []byte
	at, kept := 0, 0 // kept is where in payload out ends
	for !c.Done() {
		n, changed, err := c.Next(payload[at:])
		if err != nil {
			return nil, Notes{}, err
		}
		if changed != nil {
			out = append(out, payload[kept:at]...)
			out = append(out, changed...)
			kept = at + n
		}
		at += n
	}
	if out == nil {
		return payload, Notes{}, nil
	}
	return append(out, payload[kept:]...), Notes{}, nil
}
