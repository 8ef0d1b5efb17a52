package wire

import "bytes"

// Foreign is a protocol other than Kafka with which clients connect to a Kafka port by
// mistake.
type Foreign string

// The protocols that Recognize knows.
const (
	NotForeign Foreign = ""
	TLS        Foreign = "a TLS hello"
	HTTP       Foreign = "an HTTP request"
	ProxyV1    Foreign = "a PROXY protocol v1 header"
	ProxyV2    Foreign = "a PROXY protocol v2 header"
	SSH        Foreign = "an SSH banner"
	Text       Foreign = "text, which is not Kafka"
)

// signatures are distinguished by their first SizeLen bytes. Read as a size, each is more
// than 200 MB, twice a broker's default limit. They are compared before the size is
// looked at, because the size would only say that it is wrong.
var signatures = []struct {
	start string
	is    Foreign
}{
	{"\x16\x03", TLS}, // handshake record, major version 3
	{"GET ", HTTP},
	{"HEAD", HTTP},
	{"POST", HTTP},
	{"PUT ", HTTP},
	{"PATCH", HTTP},
	{"DELETE", HTTP},
	{"OPTIONS", HTTP},
	{"CONNECT", HTTP},
	{"TRACE", HTTP},
	{"PRI ", HTTP}, // HTTP/2's connection preface
	{"PROXY", ProxyV1},
	{"\r\n\r\n\x00\r\nQUIT\n", ProxyV2},
	{"SSH-", SSH},
}

// Recognize returns the protocol of a connection's first bytes if they are not Kafka's. b
// has at least SizeLen bytes, which are enough.
func Recognize(b []byte) Foreign {
	for _, s := range signatures {
		start := s.start[:min(len(s.start), SizeLen)]
		if bytes.HasPrefix(b, []byte(start)) {
			return s.is
		}
	}
	return NotForeign
}

// RecognizeRefused is Recognize for first bytes that are refused, because they are neither a size that is admitted
// nor a TLS hello. They may be text, too, as those of Redis and of SMTP are. Read as a size, text is more than
// 500 MB, which a listener may admit: so it is not a signature.
func RecognizeRefused(b []byte) Foreign {
	protocol := Recognize(b)
	if protocol == NotForeign && isText(b) {
		protocol = Text
	}
	return protocol
}

// isText reports whether the first SizeLen bytes are text.
func isText(b []byte) bool {
	for i, c := range b[:SizeLen] {
		printable := c >= ' ' && c <= '~'
		if !printable && (i == 0 || c != '\r' && c != '\n') {
			return false
		}
	}
	return true
}

// Advice is the advice to the reader of a log about f on a plaintext Kafka listener.
func (f Foreign) Advice() string {
	switch f {
	case TLS:
		return "this listener is plaintext: set security.protocol to PLAINTEXT or SASL_PLAINTEXT in the client"
	case HTTP:
		return "this is a Kafka port: point health checks and browsers elsewhere, or make the check a TCP connect"
	case ProxyV1, ProxyV2:
		return "this listener does not expect it: switch the PROXY protocol off in the load balancer in front"
	case SSH:
		return "this is a Kafka port: check the host and port of the SSH client"
	case Text:
		return "this is a Kafka port: check the host and port of the program at the client's address"
	default:
		return ""
	}
}
