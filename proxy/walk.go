package proxy

import (
	"kproxy/internal/relay"
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// walk forwards a response whose addresses lie behind its records. A response that fits the
// buffer is held until it is complete, and may change its length. Of a longer one the size is
// sent first, and its addresses are replaced within the bytes that they take.
func (r response) walk() error {
	if r.frame <= relay.BufferSize {
		if _, err := r.down.Peek(r.frame); err != nil {
			return err
		}
		return r.walkWhole()
	}
	if err := r.down.Pass(wire.ResponsePrefixLen); err != nil {
		return err
	}
	return r.walkThrough()
}

// walkWhole walks a response that lies in the buffer.
func (r response) walkWhole() error {
	payload, err := r.peek(0)
	if err != nil {
		return err
	}
	r.pump.walker.Start(r.req.Key, r.req.Version, len(payload))
	at, err := tailIn(payload, &r.pump.walker, BadAnswer)
	if err != nil {
		return err
	}
	rewriter := r.rewriter()
	out, notes, err := rewriter.Tail(r.req.Key, r.req.Version, payload[at:], false)
	if err != nil {
		return end(BadAnswer, err)
	}
	if notes.Named == 0 {
		return r.down.Pass(r.frame)
	}
	if err := r.rewrote(notes); err != nil {
		return err
	}
	return r.replace(len(payload), append(payload[:at:at], out...))
}

// walkThrough walks a response whose prefix has been passed.
func (r response) walkThrough() error {
	r.pump.walker.Start(r.req.Key, r.req.Version, r.frame-wire.ResponsePrefixLen)
	n, err := passToTail(r.down, &r.pump.walker, BadAnswer)
	if err != nil {
		return err
	}
	return r.tail(n)
}

// passToTail forwards the bytes before the tail of the walker's message, and returns how many
// bytes the tail has. A malformed message ends the session for the reason.
func passToTail(p *relay.Stream, w *rewrite.Walker, malformed CloseReason) (tail int, err error) {
	for need := 0; ; {
		b, err := p.Peek(need)
		if err != nil {
			return 0, err
		}
		step, err := w.Next(b)
		switch {
		case err != nil:
			return 0, end(malformed, err)
		case step.Verb == rewrite.Need:
			need = step.N
		case step.Verb == rewrite.Pass:
			need = 0
			if err := p.PassPart(step.N); err != nil {
				return 0, err
			}
		default:
			return step.N, nil
		}
	}
}

// tailIn returns where the tail is in the walker's message, which is whole. A malformed one
// ends the session for the reason.
func tailIn(message []byte, w *rewrite.Walker, malformed CloseReason) (at int, err error) {
	for {
		step, err := w.Next(message[at:])
		if err != nil {
			return 0, end(malformed, err)
		}
		if step.Verb == rewrite.Tail {
			return at, nil
		}
		at += step.N
	}
}

// tail rewrites the last n bytes of a response, in n bytes.
func (r response) tail(n int) error {
	b, err := r.down.Peek(n)
	if err != nil {
		return err
	}
	rewriter := r.rewriter()
	out, notes, err := rewriter.Tail(r.req.Key, r.req.Version, b[:n], true)
	if err != nil {
		return end(BadAnswer, err)
	}
	if notes.Named == 0 {
		return r.down.Pass(n)
	}
	if err := r.rewrote(notes); err != nil {
		return err
	}
	if err := r.down.Write(out); err != nil {
		return err
	}
	return r.down.Drop(n)
}
