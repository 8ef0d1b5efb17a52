package relay

// Pass sends the next n bytes to dst unchanged. Bytes that have not been read go through as
// they come; there is no limit of n.
func (p *Stream) Pass(n int) error {
	if err := p.PassPart(n); err != nil || !p.holds() {
		return err
	}
	return p.Flush()
}

// PassPart is Pass for a part of a frame whose rest follows at once. Bytes in a kernel pipe
// may stay there until the next call, but never while the stream waits for a peer.
func (p *Stream) PassPart(n int) error {
	if have := min(n, p.Buffered()); have > 0 {
		p.next += have
		n -= have
	}
	for n > 0 {
		if n >= minSplice && p.canSplice() {
			n += p.unpeek()
			moved, err := p.passSpliced(n)
			if err != nil {
				return err
			}
			if n -= moved; moved > 0 {
				continue
			}
		}
		if err := p.Flush(); err != nil {
			return err
		}
		if err := p.read(n); err != nil {
			return err
		}
		have := min(n, p.Buffered())
		p.next += have
		n -= have
	}
	return nil
}

// passSpliced passes up to n bytes through a kernel pipe, after all that was passed before.
// The last of them stay in the pipe if nothing else has to leave before them.
func (p *Stream) passSpliced(n int) (moved int, err error) {
	if p.holds() {
		if err := p.Flush(); err != nil {
			return 0, err
		}
	}
	moved, err = p.splice(n)
	if moved > 0 && (moved < n || p.sent < p.next) {
		err = p.drainAfterPassed()
	}
	return moved, err
}

// unpeek forgets bytes that were only peeked at and then passed. It returns how many they
// are: they are still in the socket and have to be passed again.
func (p *Stream) unpeek() int {
	if p.peeked == 0 {
		return 0
	}
	n := p.next - p.sent
	p.sent, p.next, p.end, p.peeked = 0, 0, 0, 0
	return n
}

// consumePeeked removes peeked bytes from the socket.
func (p *Stream) consumePeeked() error {
	if p.peeked == 0 {
		return nil
	}
	n := p.peeked
	p.peeked = 0
	if err := p.in.discard(n); err != nil {
		return &SideError{Reading: true, Err: err}
	}
	return nil
}

// Drop discards the next n bytes.
func (p *Stream) Drop(n int) error {
	for {
		if err := p.Flush(); err != nil {
			return err
		}
		if err := p.consumePeeked(); err != nil {
			return err
		}
		have := min(n, p.Buffered())
		p.next += have
		p.sent = p.next
		if n -= have; n == 0 {
			return nil
		}
		if _, err := p.Peek(1); err != nil {
			return err
		}
	}
}

// Write writes the passed bytes, and then b. With Drop it replaces bytes.
func (p *Stream) Write(b []byte) error {
	if err := p.Flush(); err != nil {
		return err
	}
	return p.Put(b)
}
