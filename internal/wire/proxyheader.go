package wire

import (
	"bytes"
	"encoding/binary"
)

const (
	// proxyV1Max is the longest PROXY protocol v1 header, its CRLF included.
	proxyV1Max = 107
	// proxyV2Prefix is the part before the addresses of a v2 header. Its last two bytes
	// are the length of the rest.
	proxyV2Prefix = 16
	// proxyV2Max bounds a v2 header with all its TLVs: a load balancer that
	// passes a client's certificate on needs a few kilobytes.
	proxyV2Max = 16 << 10
)

// ProxyHeaderLen returns how long the PROXY protocol header is that b begins with, in
// bytes. b must have been recognised as one. ErrShort asks for more bytes; ErrMalformed
// says that these bytes begin no header.
//
// Source: the PROXY protocol, versions 1 and 2, haproxy.org.
func ProxyHeaderLen(b []byte) (int, error) {
	if Recognize(b) == ProxyV1 {
		line := b[:min(len(b), proxyV1Max)]
		if end := bytes.Index(line, []byte("\r\n")); end >= 0 {
			return end + 2, nil
		}
		if len(line) == proxyV1Max {
			return 0, ErrMalformed
		}
		return 0, ErrShort
	}
	if len(b) < proxyV2Prefix {
		return 0, ErrShort
	}
	n := proxyV2Prefix + int(binary.BigEndian.Uint16(b[proxyV2Prefix-2:]))
	switch {
	case n > proxyV2Max:
		return 0, ErrMalformed
	case n > len(b):
		return 0, ErrShort
	default:
		return n, nil
	}
}
