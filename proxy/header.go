package proxy

import (
	"errors"
	"fmt"

	"kproxy/internal/relay"
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// readHeader reads the header of the request at the front of the stream, and leaves it
// there.
func readHeader(up *relay.Stream) (wire.RequestHeader, error) {
	n := wire.RequestPrefixLen
	for {
		b, err := up.Peek(n)
		if err != nil {
			return wire.RequestHeader{}, err
		}
		prefix := wire.ParseRequestPrefix(b)
		h, err := wire.ParseRequestHeader(b, rewrite.FlexibleRequest(prefix.Key, prefix.Version))
		if n, err = more(b, prefix.Size, err); err != nil {
			return wire.RequestHeader{}, end(BadRequest, err)
		}
		if n == 0 {
			return h, nil
		}
	}
}

// wholeRequest holds the request of frame bytes at the front of the stream until it is
// there. It returns the request, with what may lie behind it, and its header.
func wholeRequest(up *relay.Stream, frame int) (b []byte, h wire.RequestHeader, err error) {
	if b, err = up.Peek(frame); err != nil {
		return nil, wire.RequestHeader{}, err
	}
	h, err = readHeader(up)
	return b, h, err
}

// more returns how many bytes of a request of that size to peek at after parsing b gave err;
// 0: no more are needed. It bounds the bytes that the proxy holds for a request. It doubles
// them, within the request, because b is parsed anew: with one byte more each time, a client
// that sends single bytes of a long header would keep a processor.
func more(b []byte, size int32, err error) (int, error) {
	if errors.Is(err, wire.ErrShort) && len(b) < relay.MaxHeader {
		return max(len(b)+1, min(2*len(b), wire.SizeLen+int(size), relay.MaxHeader)), nil
	}
	return 0, err
}

// sizeLimit is how large a request may be, and what to do about one that is larger.
type sizeLimit struct {
	bytes int
	fix   string
}

// limitOfRequests is the limit for clients that are logged in, or need not be.
func (p *Proxy) limitOfRequests() sizeLimit {
	return sizeLimit{p.conf().MaxRequestBytes, "if the client really sends that much, raise limits.max_request_bytes together with the brokers' socket.request.max.bytes"}
}

// limitOfLogins is the limit for clients that have to log in at kproxy first.
func (p *Proxy) limitOfLogins() sizeLimit {
	return sizeLimit{
		min(p.conf().MaxRequestBytes, p.conf().MaxRequestBytesBeforeLogin),
		"no login needs that much; limits.max_request_bytes_before_login is the limit",
	}
}

// check refuses a frame that cannot be a request.
func (l sizeLimit) check(size int32) error {
	switch {
	case size < wire.MinRequestSize:
		return end(BadRequest, errFrameSize(size))
	case int(size) > l.bytes:
		return &ended{
			reason: RequestTooLarge,
			err:    errFrameSize(size),
			fix:    l.fix,
		}
	default:
		return nil
	}
}

func errFrameSize(size int32) error { return fmt.Errorf("a frame of %d bytes", size) }
