package wire

import "encoding/binary"

// Lengths of the fixed parts of a frame, in bytes.
const (
	SizeLen           = 4           // the size field itself
	RequestPrefixLen  = SizeLen + 8 // size, api_key, api_version, correlation_id
	ResponsePrefixLen = SizeLen + 4 // size, correlation_id

	// MinRequestSize is the smallest size field of a request: the rest of
	// its prefix, in a header version that has no client id.
	MinRequestSize = RequestPrefixLen - SizeLen
	// MinResponseSize is the smallest size field of a response.
	MinResponseSize = ResponsePrefixLen - SizeLen
)

// Size returns the size field at the start of b, which has at least SizeLen
// bytes. It is a signed number from the peer: check it before use.
func Size(b []byte) int32 { return int32(binary.BigEndian.Uint32(b)) }

// RequestPrefix is the part of a request that lies at fixed offsets in every
// header version.
type RequestPrefix struct {
	Size          int32 // the bytes after the size field
	Key           int16
	Version       int16
	CorrelationID int32
}

// ParseRequestPrefix reads the prefix from the first RequestPrefixLen bytes of
// a frame.
func ParseRequestPrefix(b []byte) RequestPrefix {
	_ = b[RequestPrefixLen-1]
	return RequestPrefix{
		Size:          Size(b),
		Key:           int16(binary.BigEndian.Uint16(b[4:])),
		Version:       int16(binary.BigEndian.Uint16(b[6:])),
		CorrelationID: int32(binary.BigEndian.Uint32(b[8:])),
	}
}

// CorrelationID returns the correlation id of a response frame, from its first
// ResponsePrefixLen bytes.
func CorrelationID(b []byte) int32 { return int32(binary.BigEndian.Uint32(b[SizeLen:])) }

// AppendSize appends the size field of a frame that has n bytes behind it.
func AppendSize(dst []byte, n int) []byte { return binary.BigEndian.AppendUint32(dst, uint32(n)) }

// AppendResponsePrefix appends the prefix of a response whose body, header tags
// included, has n bytes.
func AppendResponsePrefix(dst []byte, correlationID int32, n int) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(MinResponseSize+n))
	return binary.BigEndian.AppendUint32(dst, uint32(correlationID))
}
