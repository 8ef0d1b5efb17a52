package speaks

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/foreign"
	"kproxy/internal/wire"
)

// MaxBytes is how many of a port's bytes are examined.
const MaxBytes = 512

// Classify returns the protocol of the first bytes that a port sent, before or after it
// got a Kafka request. Only the first MaxBytes are examined. Without bytes it is Silent.
func Classify(b []byte) Peer {
	b = b[:min(len(b), MaxBytes)]
	if len(b) == 0 {
		return Peer{Kind: Silent}
	}
	for _, s := range signs {
		if s.is(b) {
			return Peer{Kind: s.kind, Text: s.words(b), Secure: s.kind == TLS}
		}
	}
	if isCut(b) {
		return Peer{Kind: Cut}
	}
	return Peer{Kind: Unknown, Text: firstBytes(b)}
}

// isCut reports whether the bytes are less than the size in front of them promises, which is that
// of a Kafka response: four bytes, for up to 64 KiB.
func isCut(b []byte) bool {
	const most = 64 << 10
	if len(b) < 4 || len(b) == MaxBytes {
		return false
	}
	size := wire.Size(b[:4])
	return size >= wire.MinResponseSize && size <= most && len(b)-4 < int(size)
}

// sign recognises a protocol by its first bytes.
type sign struct {
	kind  Kind
	is    func(b []byte) bool
	words func(b []byte) string
}

// signs are tried in order; the first one that fits decides.
var signs = []sign{
	{HTTP, prefixed("HTTP/"), httpWords},
	{HTTP, isHTTP2, nothing},
	{HTTP, anyOf(htmlPrefixes...), nothing}, // of a server that speaks HTTP/0.9
	{SSH, prefixed("SSH-"), line},
	{ProxySent, anyOf("PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN"), line},
	{ProxySent, prefixed("\r\n\r\n\x00\r\nQUIT\n"), nothing},
	{TLS, isTLSRecord, nothing},
	{MySQL, isMySQL, mysqlWords},
	{PostgreSQL, isPostgreSQL, postgresWords},
	{ZooKeeper, isZooKeeper, line},
	{ZooKeeper, isSessionOfZooKeeper, nothing},
	{Redis, anyOf("-ERR ", "-NOAUTH ", "-DENIED ", "-WRONGTYPE ", "+PONG\r\n", "-MISCONF "), line},
	{AMQP, prefixed("AMQP"), nothing},
	{IMAP, anyOf("* OK", "* PREAUTH", "* BYE"), line},
	{POP3, anyOf("+OK"), line},
	{FTP, isFTP, line},
	{SMTP, isReply, line},
}

var htmlPrefixes = []string{"<!DOCTYPE", "<!doctype", "<html", "<HTML"}

func prefixed(text string) func([]byte) bool {
	return func(b []byte) bool { return bytes.HasPrefix(b, []byte(text)) }
}

func anyOf(texts ...string) func([]byte) bool {
	return func(b []byte) bool {
		for _, text := range texts {
			if bytes.HasPrefix(b, []byte(text)) {
				return true
			}
		}
		return false
	}
}

func nothing([]byte) string { return "" }

// line is the first line, up to the first byte that is not text.
func line(b []byte) string {
	text := strings.TrimSpace(string(b))
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }); i >= 0 {
		text = text[:i]
	}
	return foreign.LineOf(strings.TrimSpace(text), maxText)
}

// server is a Server header in an HTTP response.
var server = regexp.MustCompile(`(?mi)^Server:[ \t]*([^\r\n]+)`)

// httpWords are the status line, and the server's name if it gives one.
func httpWords(b []byte) string {
	words := line(b)
	head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	if m := server.FindSubmatch(head); m != nil {
		words += "; Server: " + foreign.LineOf(strings.TrimSpace(string(m[1])), maxText/2)
	}
	return words
}

// isHTTP2 reports whether the bytes begin with a SETTINGS or GOAWAY frame on stream 0,
// with which HTTP/2 servers begin (RFC 9113, section 3.4).
func isHTTP2(b []byte) bool {
	if len(b) < 9 {
		return false
	}
	size, kind, stream := int(b[0])<<16|int(b[1])<<8|int(b[2]), b[3], binary.BigEndian.Uint32(b[5:])
	return stream == 0 && (kind == 4 && b[4] == 0 && size%6 == 0 && size <= 60 || kind == 7 && size >= 8 && size < 256)
}

// isTLSRecord reports whether the bytes begin with an alert or a handshake record.
func isTLSRecord(b []byte) bool {
	const alert, handshake = 0x15, 0x16
	return len(b) > 2 && (b[0] == alert || b[0] == handshake) && b[1] == 3 && b[2] <= 4
}

// isMySQL reports whether the bytes begin with a packet of MySQL: three bytes of length,
// little-endian, a number, and then protocol version 10 with the server's version, or an error.
func isMySQL(b []byte) bool {
	if len(b) < 7 || b[3] > 1 || b[2] != 0 {
		return false
	}
	size := int(b[0]) | int(b[1])<<8
	switch b[4] {
	case 10:
		return b[3] == 0 && size > 30 && '0' <= b[5] && b[5] <= '9'
	case 0xff: // a number, and a text: Host … is not allowed to connect
		return size > 5 && size < 2048 && binary.LittleEndian.Uint16(b[5:]) >= 1000 && binary.LittleEndian.Uint16(b[5:]) < 5000
	default:
		return false
	}
}

// mysqlWords are the server's version, or the text of its error.
func mysqlWords(b []byte) string {
	if b[4] != 10 {
		return foreign.LineOf(string(b[7:]), maxText)
	}
	version, _, _ := bytes.Cut(b[5:], []byte{0})
	return foreign.LineOf(string(version), maxText/2)
}

// isPostgreSQL reports whether the bytes begin with an ErrorResponse: 'E', a length, and
// its first field, the severity. Servers before protocol 3 send the text alone.
func isPostgreSQL(b []byte) bool {
	if len(b) > 6 && b[0] == 'E' && b[1] == 0 && (b[5] == 'S' || b[5] == 'V') {
		return true
	}
	return bytes.HasPrefix(b, []byte("EFATAL:")) || bytes.HasPrefix(b, []byte("EERROR:"))
}

// postgresWords are the message's text, field M.
func postgresWords(b []byte) string {
	if len(b) < 6 || b[1] != 0 {
		return line(b[1:])
	}
	for field := range bytes.SplitSeq(b[5:], []byte{0}) {
		if len(field) > 1 && field[0] == 'M' {
			return foreign.LineOf(string(field[1:]), maxText)
		}
	}
	return ""
}

// isZooKeeper reports whether the bytes are a response to a four-letter word.
func isZooKeeper(b []byte) bool {
	return bytes.HasPrefix(b, []byte("Zookeeper version:")) || bytes.HasPrefix(b, []byte("zk_version")) ||
		bytes.HasPrefix(b, []byte("imok")) || bytes.HasPrefix(b, []byte("This ZooKeeper instance is not currently serving requests")) ||
		bytes.Contains(b, []byte("is not executed because it is not in the whitelist"))
}

// isSessionOfZooKeeper reports whether the bytes begin with ZooKeeper's ConnectResponse: a length
// of 36 or 37, and protocol version 0.
func isSessionOfZooKeeper(b []byte) bool {
	return len(b) >= 8 && (bytes.HasPrefix(b, []byte{0, 0, 0, 36, 0, 0, 0, 0}) || bytes.HasPrefix(b, []byte{0, 0, 0, 37, 0, 0, 0, 0}))
}

// isReply reports whether the bytes begin with a reply of SMTP or FTP: three digits and a
// space or a hyphen.
func isReply(b []byte) bool {
	return len(b) > 3 && '2' <= b[0] && b[0] <= '5' && '0' <= b[1] && b[1] <= '9' && '0' <= b[2] && b[2] <= '9' && (b[3] == ' ' || b[3] == '-')
}

// isFTP reports whether a reply is FTP's. Both protocols greet with 220. Mail servers name SMTP
// in the greeting, which begins with their host name (RFC 5321, section 4.2).
func isFTP(b []byte) bool {
	if !isReply(b) {
		return false
	}
	first := strings.ToUpper(line(b))
	if strings.Contains(first, "SMTP") || strings.Contains(first, "MAIL") {
		return false
	}
	return strings.Contains(first, "FTP") || strings.HasPrefix(first, "530 ") || strings.HasPrefix(first, "530-")
}

func firstBytes(b []byte) string {
	return foreign.LineOf(string(b[:min(len(b), maxText/2)]), maxText/2)
}

// ClassifyResponse distinguishes a Kafka broker from a KRaft controller by the APIs in a
// response to ApiVersions v0, from behind its correlation id. Anything else is Unknown.
func ClassifyResponse(payload []byte) Kind {
	r := wire.NewReader(payload)
	code := r.Int16()
	keys := map[int16]bool{}
	for n := r.ArrayLen(false); n > 0 && r.Err() == nil; n-- {
		key, _, _ := r.Int16(), r.Int16(), r.Int16()
		keys[key] = true
	}
	switch {
	case r.Err() != nil:
		return Unknown
	case code != 0 || keys[kmsg.Metadata.Int16()]:
		return Kafka
	case isController(keys):
		return Controller
	default:
		return Kafka
	}
}

// isController reports whether the APIs are those of a controller's listener: it serves no
// Metadata, but the requests of brokers and other controllers.
func isController(keys map[int16]bool) bool {
	if keys[kmsg.Metadata.Int16()] {
		return false
	}
	for _, key := range []int16{kmsg.Vote.Int16(), kmsg.DescribeQuorum.Int16(), kmsg.BrokerRegistration.Int16(), kmsg.BrokerHeartbeat.Int16()} {
		if keys[key] {
			return true
		}
	}
	return false
}

// IsController reports whether a response to ApiVersions is that of a KRaft controller.
func IsController(resp *kmsg.ApiVersionsResponse) bool {
	keys := map[int16]bool{}
	for _, k := range resp.ApiKeys {
		keys[k.ApiKey] = true
	}
	return isController(keys)
}
