package proxy

import (
	"errors"
	"fmt"
	"strings"

	"kproxy/internal/inflight"
	"kproxy/internal/relay"
	"kproxy/internal/wire"
)

// maxSASLToken is the largest raw token, the broker's own default
// (sasl.server.max.receive.size).
const maxSASLToken = 512 << 10

// saslHandshake forwards SaslHandshake v0, after which a connection leaves
// Kafka's framing: if the broker accepts the mechanism, tokens follow as a size
// and opaque bytes, in both directions, until authentication is complete. (From
// v1 on tokens are SaslAuthenticate requests like any other.)
//
// How many tokens there are is the mechanism's matter. Where it is fixed, each
// token is a request of the queue. Elsewhere tokens pass freely until the client
// sends something that cannot be one.
func (p *requestPump) saslHandshake(r inflight.Request, frame int) error {
	if frame > relay.MaxHeader {
		return end(BadRequest, errFrameSize(int32(frame)))
	}
	b, err := p.up.Peek(frame)
	if err != nil {
		return err
	}
	h, err := readHeader(p.up)
	if err != nil {
		return err
	}
	mechanism, err := wire.SASLMechanism(b, h)
	if err != nil {
		return end(BadRequest, err)
	}
	r.Kind = inflight.SASLHandshake
	if err := p.forward(r, frame); err != nil {
		return err
	}
	if err := p.up.Flush(); err != nil {
		return err
	}
	p.queue.WaitDelivered()
	if !p.queue.Handshake() {
		return nil // refused: the client has the broker's response, and the broker closes
	}
	p.inTokens = true
	defer func() { p.inTokens = false }()
	if n := saslTokens(mechanism); n > 0 {
		return p.countedTokens(n)
	}
	return p.freeTokens()
}

// saslTokens returns how many tokens a client sends, each of which the server
// answers with one; 0 where that is not fixed (GSSAPI, or a mechanism of the
// broker's own).
func saslTokens(mechanism string) int {
	switch {
	case mechanism == "PLAIN", mechanism == "OAUTHBEARER":
		return 1
	case strings.HasPrefix(mechanism, "SCRAM-"):
		return 2
	default:
		return 0
	}
}

func (p *requestPump) countedTokens(n int) error {
	for range n {
		frame, err := p.tokenFrame()
		if err != nil {
			return err
		}
		if err := p.forward(inflight.Request{Kind: inflight.SASLToken}, frame); err != nil {
			return err
		}
	}
	return nil
}

// freeTokens passes tokens until a frame is a Kafka request. Every request so
// far begins with a zero byte, the upper half of its API key, and is at least as
// long as its prefix; a GSSAPI token begins with 0x60 or 0x05, or is empty.
func (p *requestPump) freeTokens() error {
	p.queue.SetRawSASL(true)
	defer p.queue.SetRawSASL(false)
	for {
		frame, err := p.tokenFrame()
		if err != nil {
			return err
		}
		if frame >= wire.RequestPrefixLen {
			b, err := p.up.Peek(wire.SizeLen + 1)
			if err != nil {
				return err
			}
			if b[wire.SizeLen] == 0 {
				return nil
			}
		}
		if err := p.up.Pass(frame); err != nil {
			return err
		}
	}
}

// tokenFrame waits for a raw token, and returns its length, size field included.
func (p *requestPump) tokenFrame() (int, error) {
	p.midRequest = false
	n, err := tokenFrame(p.up)
	p.midRequest = err == nil // what has begun passes whole
	return n, err
}

// tokenFrame returns the length of the raw token at the front of the stream, size field
// included.
func tokenFrame(up *relay.Stream) (int, error) {
	b, err := up.Peek(wire.SizeLen)
	if err != nil {
		return 0, err
	}
	size := wire.Size(b)
	if size < 0 || size > maxSASLToken {
		return 0, end(BadRequest, fmt.Errorf("%w of %d bytes", errSASLToken, size))
	}
	return wire.SizeLen + int(size), nil
}

var errSASLToken = errors.New("a SASL token")
