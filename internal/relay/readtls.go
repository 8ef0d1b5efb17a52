package relay

// readTLS reads from a TLS connection. Between two frames it waits for the first byte
// alone, without a buffer; the bytes after it are in the connection's own record by then.
// Inside a frame it does not: the first byte would be written by itself, and would fill the
// receive buffer of a slow reader with small packets.
func (p *Stream) readTLS(need int) (n int, err error) {
	if !p.atFrameStart || p.end > 0 {
		n, err = p.src.Read(p.room(need))
	} else {
		p.GiveBack()
		if n, err = p.src.Read(p.first[:]); n > 0 {
			p.atFrameStart = false
			p.room(need)[0] = p.first[0]
		}
	}
	if n > 0 && err == nil && p.over != nil && !p.Exact {
		n += p.readRecords(p.buf[p.end+n:])
	}
	return n, err
}
