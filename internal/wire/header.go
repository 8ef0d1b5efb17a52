package wire

import "errors"

// RequestHeader is a request's whole header.
type RequestHeader struct {
	RequestPrefix
	ClientID []byte // nil where null, or where the header version has none
	Len      int    // bytes of the frame up to the body, size field included
}

// controlledShutdown is the one API with a header that lacks the client id,
// in its version 0 (removed in Kafka 4.0).
const controlledShutdown = 7

// ParseRequestHeader reads the header at the start of frame, which may be incomplete:
// ErrShort asks for more. flexible says whether this version of the API ends its header
// in a tag section. The client id is never compact, so that a broker can read it before
// it knows the version.
func ParseRequestHeader(frame []byte, flexible bool) (RequestHeader, error) {
	if len(frame) < RequestPrefixLen {
		return RequestHeader{}, ErrShort
	}
	h := RequestHeader{RequestPrefix: ParseRequestPrefix(frame)}
	r := NewReader(frame)
	r.Take(RequestPrefixLen)
	if h.Key != controlledShutdown || h.Version != 0 {
		h.ClientID = r.String(false)
	}
	if flexible {
		r.SkipTags()
	}
	h.Len = r.Offset()
	return h, withinFrame(&r, h.Size)
}

// produceTransactionalID is the version of Produce that put a transactional id
// in front of acks.
const produceTransactionalID = 3

// ProduceAcks reads acks from a Produce request, whose header h was parsed from
// the same frame. A request with acks 0 gets no response. ErrShort asks for
// more of the frame.
func ProduceAcks(frame []byte, h RequestHeader, flexible bool) (int16, error) {
	r := NewReader(frame)
	r.Take(h.Len)
	if h.Version >= produceTransactionalID {
		r.String(flexible)
	}
	acks := r.Int16()
	return acks, withinFrame(&r, h.Size)
}

// FirstClientSoftware is the version of ApiVersions that put the client's software into the request
// (KIP-511).
const FirstClientSoftware = 3

// ClientSoftware reads the name and the version of the client's software from an ApiVersions request
// of FirstClientSoftware or later, whose header h was parsed from the same frame. Both are parts of the
// frame. ErrShort asks for more of it.
func ClientSoftware(frame []byte, h RequestHeader) (name, version []byte, err error) {
	r := NewReader(frame)
	r.Take(h.Len)
	name, version = r.String(true), r.String(true)
	return name, version, withinFrame(&r, h.Size)
}

// SASLMechanism reads the mechanism from a SaslHandshake request, whose header
// h was parsed from the same frame. No version of it is flexible.
func SASLMechanism(frame []byte, h RequestHeader) (string, error) {
	r := NewReader(frame)
	r.Take(h.Len)
	mechanism := r.String(false)
	return string(mechanism), withinFrame(&r, h.Size)
}

// SASLToken reads the token from a SaslAuthenticate request, whose header h was
// parsed from the same frame.
func SASLToken(frame []byte, h RequestHeader, flexible bool) ([]byte, error) {
	r := NewReader(frame)
	r.Take(h.Len)
	token := r.Bytes(flexible)
	return token, withinFrame(&r, h.Size)
}

// withinFrame returns r's error, or ErrMalformed where the bytes that r took, or would
// have to take, lie outside the frame of that size.
func withinFrame(r *Reader, size int32) error {
	n := int(size)
	if r.off-SizeLen > n || (errors.Is(r.err, ErrShort) && len(r.b)-SizeLen >= n) {
		return ErrMalformed
	}
	return r.err
}
