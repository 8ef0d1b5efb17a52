package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/inflight"
	"kproxy/internal/relay"
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// maxRefused bounds the bytes that are held of a request that is refused by a response, which
// repeats names from the request. A longer request ends the session. The records of a Produce
// request are not held.
const maxRefused = 256 << 10

// refuse answers a request that the listener does not allow, as a broker answers a request
// that its ACLs do not allow. A request without such a response ends the session.
func (p *requestPump) refuse(r inflight.Request, frame int) error {
	refusal := &ended{
		reason: APIRefused,
		err:    fmt.Errorf("%s v%d is not allowed on this listener", kmsg.NameForKey(r.Key), r.Version),
		fix:    refusalFix,
	}
	if r.Key == kmsg.Produce.Int16() {
		return p.refuseProduce(r, frame, refusal)
	}
	if frame > maxRefused {
		return refusal
	}
	b, h, err := wholeRequest(p.up, frame)
	if err != nil {
		return err
	}
	if h.Len > frame {
		return end(BadRequest, wire.ErrMalformed)
	}
	return p.respondRefused(r, frame, b[h.Len:frame], refusal)
}

// respondRefused answers a refused request with this body, of which frame bytes are
// at the front of the pipe.
func (p *requestPump) respondRefused(r inflight.Request, frame int, body []byte, refusal *ended) error {
	payload, err := rewrite.Refusal(r.Key, r.Version, body)
	switch {
	case errors.Is(err, wire.ErrShort), errors.Is(err, wire.ErrMalformed):
		return end(BadRequest, err)
	case err != nil:
		return refusal
	}
	return p.respond(r, frame, payload)
}

// refuseProduce refuses a Produce request, whose records are dropped as they come.
func (p *requestPump) refuseProduce(r inflight.Request, frame int, refusal *ended) error {
	h, err := readHeader(p.up)
	if err != nil {
		return err
	}
	if h.Len > frame {
		return end(BadRequest, wire.ErrMalformed)
	}
	if err := p.up.Drop(h.Len); err != nil {
		return err
	}
	stripper := produceStripper{up: p.up, left: frame - h.Len, flexible: rewrite.FlexibleRequest(r.Key, r.Version), version: r.Version}
	stripper.holding = relay.Holding{Account: &p.s.account, Limit: p.s.proxy.conf().FirstRequestTimeout, Source: p.s.client.conn}
	defer stripper.holding.Clear()
	p.up.Keeper.Turn.Begin()
	defer p.up.Keeper.Turn.End()
	switch err := stripper.strip(); {
	case errors.Is(err, errStripTooLong):
		return refusal
	case errors.Is(err, wire.ErrMalformed):
		return end(BadRequest, err)
	case err != nil:
		return err
	case stripper.acks == 0:
		return refusal // acks=0 has no response; a broker closes the connection then, too
	}
	if err := p.up.Drop(stripper.left); err != nil { // what lies behind its end
		return err
	}
	return p.respondRefused(r, 0, stripper.body, refusal)
}

// produceStripper reads a Produce request's body and keeps it without records and tags: a
// refusal repeats names, ids and partitions only.
type produceStripper struct {
	up       *relay.Stream
	version  int16
	flexible bool
	left     int    // bytes of the frame that were not read
	body     []byte // the kept bytes
	acks     int16
	holding  relay.Holding // of body, beyond what any session may hold
}

var errStripTooLong = errors.New("the request names too much")

func (p *produceStripper) strip() error {
	if p.version >= 3 {
		if err := p.text(); err != nil { // transactional id
			return err
		}
	}
	head, err := p.keep(2 + 4) // acks, timeout
	if err != nil {
		return err
	}
	if p.acks = int16(binary.BigEndian.Uint16(head)); p.acks == 0 {
		return nil
	}
	return p.each(p.topic)
}

func (p *produceStripper) topic() error {
	name := p.text
	if p.version >= 13 {
		name = func() error { _, err := p.keep(16); return err }
	}
	if err := name(); err != nil {
		return err
	}
	if err := p.each(p.partition); err != nil {
		return err
	}
	return p.tags()
}

func (p *produceStripper) partition() error {
	if _, err := p.keep(4); err != nil {
		return err
	}
	n, err := p.length(false)
	if err != nil {
		return err
	}
	if p.flexible { // null records
		p.body = append(p.body, 0)
	} else {
		p.body = append(p.body, 0xff, 0xff, 0xff, 0xff)
	}
	if err := p.skip(max(n, 0)); err != nil {
		return err
	}
	return p.tags()
}

// each calls read for every element of the array that comes next.
func (p *produceStripper) each(read func() error) error {
	n, err := p.length(true)
	if err != nil {
		return err
	}
	if n > wire.MaxElements {
		return wire.ErrTooManyElements
	}
	for ; n > 0; n-- {
		if err := read(); err != nil {
			return err
		}
	}
	return nil
}

// text keeps a string.
func (p *produceStripper) text() error {
	if p.flexible {
		n, err := p.length(true)
		if err == nil {
			_, err = p.keep(max(n, 0))
		}
		return err
	}
	b, err := p.keep(2)
	if err != nil {
		return err
	}
	_, err = p.keep(max(int(int16(binary.BigEndian.Uint16(b))), 0))
	return err
}

// length reads the length of an array, of bytes, or of a compact string; null is
// -1. kept has it stay in the body.
func (p *produceStripper) length(kept bool) (n int, err error) {
	if !p.flexible {
		b, err := p.peekWithin(4)
		if err != nil {
			return 0, err
		}
		return int(int32(binary.BigEndian.Uint32(b))), p.take(4, kept)
	}
	v, size, err := p.uvarint()
	if err != nil {
		return 0, err
	}
	return int(v) - 1, p.take(size, kept)
}

// tags drops a tag section, and keeps an empty one.
func (p *produceStripper) tags() error {
	if !p.flexible {
		return nil
	}
	count, size, err := p.uvarint()
	if err != nil {
		return err
	}
	if count > wire.MaxTags {
		return wire.ErrTooManyTags
	}
	p.body = append(p.body, 0)
	if err := p.skip(size); err != nil {
		return err
	}
	for ; count > 0; count-- {
		_, numberLen, err := p.uvarint()
		if err != nil {
			return err
		}
		if err := p.skip(numberLen); err != nil {
			return err
		}
		value, valueLen, err := p.uvarint()
		if err != nil {
			return err
		}
		if err := p.skip(valueLen + int(value)); err != nil {
			return err
		}
	}
	return nil
}

// uvarint looks at an UNSIGNED_VARINT.
func (p *produceStripper) uvarint() (v uint32, size int, err error) {
	for n := 1; ; n++ {
		b, err := p.peekWithin(n)
		if err != nil {
			return 0, 0, err
		}
		if v, size, err = wire.Uvarint(b); !errors.Is(err, wire.ErrShort) {
			return v, size, err
		}
	}
}

// peekWithin looks at the next n bytes, or more, of the frame alone.
func (p *produceStripper) peekWithin(n int) ([]byte, error) {
	if n < 0 || n > p.left {
		return nil, wire.ErrMalformed
	}
	b, err := p.up.Peek(n)
	return b[:min(len(b), p.left)], err
}

// keep takes the next n bytes into the body and returns them.
func (p *produceStripper) keep(n int) ([]byte, error) {
	if n > p.left {
		return nil, wire.ErrMalformed
	}
	if len(p.body)+n > maxRefused {
		return nil, errStripTooLong
	}
	start := len(p.body)
	err := p.take(n, true)
	return p.body[start:], err
}

func (p *produceStripper) take(n int, kept bool) error {
	b, err := p.peekWithin(n)
	if err != nil {
		return err
	}
	if kept {
		if len(p.body)+n > cap(p.body) {
			p.up.Keeper.Turn.Leave()
			if err := p.holding.Set(int64(2 * (len(p.body) + n))); err != nil {
				return err
			}
			p.up.Keeper.Turn.Enter()
		}
		p.body = append(p.body, b[:n]...)
	}
	return p.skip(n)
}

// skip drops the next n bytes.
func (p *produceStripper) skip(n int) error {
	if n < 0 || n > p.left {
		return wire.ErrMalformed
	}
	p.left -= n
	return p.up.Drop(n)
}

// refuseLogin answers a client's SaslHandshake or SaslAuthenticate if the proxy has logged in
// for it. The broker must not receive it, because it would take it for another login on the
// connection (KIP-368). The response is that of a broker on a listener without SASL: the
// client should be configured for such a listener.
func (p *requestPump) refuseLogin(r inflight.Request, frame int) error {
	payload, err := rewrite.IllegalSASLState(r.Key, r.Version)
	if err != nil {
		return &ended{reason: UnsupportedVersion, err: err, fix: "kproxy logs in for its clients here; take SASL out of the client's configuration"}
	}
	return p.respond(r, frame, payload)
}

// refuseRawTokens answers SaslHandshake v0 where requests are filtered: what
// would follow it are frames that kproxy cannot look into.
func (p *requestPump) refuseRawTokens(r inflight.Request, frame int) error {
	payload, err := rewrite.UnsupportedVersion(r.Key, r.Version)
	if err != nil {
		return end(APIRefused, err)
	}
	return p.respond(r, frame, payload)
}

// isLogin reports whether a request is part of a client's login.
func isLogin(key int16) bool {
	return key == kmsg.SASLHandshake.Int16() || key == kmsg.SASLAuthenticate.Int16()
}
