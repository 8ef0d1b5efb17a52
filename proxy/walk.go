package proxy

import (
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// walk forwards an answer whose addresses lie behind its records. One that fits
// the buffer is held until it is whole, and may change its length. Of a longer
// one the size goes ahead, and what the records leave is rewritten in the bytes
// that it came in.
func (a answer) walk() error {
	if a.frame <= bufferSize {
		if _, err := a.down.peek(a.frame); err != nil {
			return err
		}
		return a.walkWhole()
	}
	if err := a.down.pass(wire.ResponsePrefixLen); err != nil {
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
	a.walker.Start(a.key, a.version, len(payload))
	at := 0
	for {
		step, err := a.walker.Next(payload[at:])
		if err != nil {
			return end(BadAnswer, err)
		}
		if step.Verb == rewrite.Tail {
			break
		}
		at += step.N
	}
	r := a.rewriter()
	out, notes, err := r.Tail(a.key, a.version, payload[at:], false)
	if err != nil {
		return end(BadAnswer, err)
	}
	if notes.Named == 0 {
		return a.down.pass(a.frame)
	}
	a.rewrote(a.request, notes)
	return a.replace(len(payload), append(payload[:at:at], out...))
}

// walkThrough walks an answer whose prefix has been passed.
func (a answer) walkThrough() error {
	a.walker.Start(a.key, a.version, a.frame-wire.ResponsePrefixLen)
	for need := 0; ; {
		b, err := a.down.peek(need)
		if err != nil {
			return err
		}
		step, err := a.walker.Next(b)
		switch {
		case err != nil:
			return end(BadAnswer, err)
		case step.Verb == rewrite.Need:
			need = step.N
		case step.Verb == rewrite.Pass:
			need = 0
			if err := a.down.passPart(step.N); err != nil {
				return err
			}
		default:
			return a.tail(step.N)
		}
	}
}

// tail rewrites the last n bytes of an answer, in n bytes.
func (a answer) tail(n int) error {
	b, err := a.down.peek(n)
	if err != nil {
		return err
	}
	r := a.rewriter()
	out, notes, err := r.Tail(a.key, a.version, b[:n], true)
	if err != nil {
		return end(BadAnswer, err)
	}
	if notes.Named == 0 {
		return a.down.pass(n)
	}
	a.rewrote(a.request, notes)
	if err := a.down.write(out); err != nil {
		return err
	}
	return a.down.drop(n)
}
