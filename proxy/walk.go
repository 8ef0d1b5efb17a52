package proxy

import (
	"kproxy/internal/relay"
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// walk forwards an answer whose addresses lie behind its records. One that fits
// the buffer is held until it is whole, and may change its length. Of a longer
// one the size goes ahead, and what the records leave is rewritten in the bytes
// that it came in.
func (a answer) walk() error {
	if a.frame <= relay.BufferSize {
		if _, err := a.down.Peek(a.frame); err != nil {
			return err
		}
		return a.walkWhole()
	}
	if err := a.down.Pass(wire.ResponsePrefixLen); err != nil {
		return err
	}
	return a.walkThrough()
}

// walkWhole walks an answer that lies in the buffer.
func (a answer) walkWhole() error {
	payload, err := a.peek(0)
	if err != nil {
		return err
	}
	a.walker.Start(a.req.Key, a.req.Version, len(payload))
	at, err := tailIn(payload, &a.walker, BadAnswer)
	if err != nil {
		return err
	}
	r := a.rewriter()
	out, notes, err := r.Tail(a.req.Key, a.req.Version, payload[at:], false)
	if err != nil {
		return end(BadAnswer, err)
	}
	if notes.Named == 0 {
		return a.down.Pass(a.frame)
	}
	a.rewrote(a.req, notes)
	return a.replace(len(payload), append(payload[:at:at], out...))
}

// walkThrough walks an answer whose prefix has been passed.
func (a answer) walkThrough() error {
	a.walker.Start(a.req.Key, a.req.Version, a.frame-wire.ResponsePrefixLen)
	n, err := passToTail(&a.down, &a.walker, BadAnswer)
	if err != nil {
		return err
	}
	return a.tail(n)
}

// passToTail forwards what is in front of the tail of the walker's message, and
// returns how many bytes the tail has. A malformed message ends the session for the
// reason.
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

// tail rewrites the last n bytes of an answer, in n bytes.
func (a answer) tail(n int) error {
	b, err := a.down.Peek(n)
	if err != nil {
		return err
	}
	r := a.rewriter()
	out, notes, err := r.Tail(a.req.Key, a.req.Version, b[:n], true)
	if err != nil {
		return end(BadAnswer, err)
	}
	if notes.Named == 0 {
		return a.down.Pass(n)
	}
	a.rewrote(a.req, notes)
	if err := a.down.Write(out); err != nil {
		return err
	}
	return a.down.Drop(n)
}
