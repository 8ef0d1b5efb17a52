package relay

import "errors"

// maxNoData is how many bytes of TLS without any data a stream reads, before it reads no more.
// TLS keeps the begin of a message of its own until the message is whole, and no account counts
// it. One record has 16 KiB, and a broker's session tickets have a few.
const maxNoData = 32 << 10

// ErrNoData is the error of a read where the peer has sent only TLS without data.
var ErrNoData = errors.New("32 KiB of TLS have come, and no data in them")

// readTLS reads from a TLS connection. Between two frames it waits for the first byte
// alone, without a buffer; the bytes after it are in the connection's own record by then.
// Inside a frame it does not: the first byte would be written by itself, and would fill the
// receive buffer of a slow reader with small packets.
func (p *Stream) readTLS(need int) (n int, err error) {
	if !p.atFrameStart || p.end > 0 {
		n, err = p.readRecord(p.room(need))
	} else {
		p.GiveBack()
		if n, err = p.readRecord(p.first[:]); n > 0 {
			p.atFrameStart = false
			p.room(need)[0] = p.first[0]
		}
	}
	if n > 0 && err == nil && p.over != nil && !p.Exact {
		n += p.readRecords(p.buf[p.end+n:])
	}
	return n, err
}

// readRecord reads the data of one record, or its rest. Every read of a TLS connection is one of
// these, so that its data is noticed.
func (p *Stream) readRecord(b []byte) (n int, err error) {
	if n, err = p.src.Read(b); n > 0 {
		p.over.hasData()
	}
	return n, err
}
