// Package hostport reads and writes the host:port addresses of the configuration and of
// Kafka's responses. All parsing of IPv6 addresses, wildcards and ports is here.
//
// A host is kept without brackets, as in Kafka's responses; [Join] adds them to an IPv6
// address. The package does not resolve names.
package hostport

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// maxHostLen is the longest host that Parse takes: a DNS name's limit.
const maxHostLen = 255

// Error says why a text is no address, and gives a fix.
type Error struct {
	Problem string // quotes the text
	Fix     string
}

// Error is the problem and its fix in one line.
func (e *Error) Error() string { return e.Problem + "; " + e.Fix }

// Parse splits address into its host, without brackets, and its port, 1 to
// 65535. The host may be empty, as in ":9092", which [IsWildcard] says; an IPv6
// host is in brackets. The error is an [*Error].
func Parse(address string) (host string, port int32, err error) {
	if strings.Contains(address, "@") {
		return "", 0, &Error{
			Problem: fmt.Sprintf("%q has a user in front of its host", WithoutUser(address)),
			Fix:     "write host:port alone; a user and a password have keys of their own",
		}
	}
	if scheme, rest, ok := strings.Cut(address, "://"); ok {
		return "", 0, &Error{
			Problem: fmt.Sprintf("%q starts with %s://", address, scheme),
			Fix:     fmt.Sprintf("write only %s", rest),
		}
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, unsplittable(address)
	}
	// 16 bits are the range of a port; a sign, a name or an empty text fails too.
	p, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || p == 0 {
		return "", 0, &Error{
			Problem: fmt.Sprintf("%q has the port %q", address, portText),
			Fix:     "write a port of 1-65535, such as " + Join(host, 9092),
		}
	}
	if !validHost(host) {
		return "", 0, &Error{
			Problem: fmt.Sprintf("%q has the host %q, which is neither an IP address nor a host name", address, host),
			Fix:     "write host:port, such as 127.0.0.1:9092",
		}
	}
	return host, int32(p), nil
}

// WithoutUser returns an address, a URL or a pattern for an error, with "…" in the
// place of a user and a password in front of an @.
func WithoutUser(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	scheme := ""
	if i := strings.Index(address[:at], "://"); i >= 0 {
		scheme = address[:i+len("://")]
	}
	return scheme + "…" + address[at:]
}

// unsplittable explains an address that net.SplitHostPort refuses. It examines the
// address, because the library's errors have no types.
func unsplittable(address string) error {
	bracketed := strings.HasPrefix(address, "[") && strings.HasSuffix(address, "]")
	switch {
	case address == "":
		return &Error{Problem: "the address is empty", Fix: "write host:port, such as 127.0.0.1:9092"}
	case strings.Contains(address, ","):
		return &Error{
			Problem: fmt.Sprintf("%q holds a comma", address),
			Fix:     "write one address alone, such as " + Join("127.0.0.1", 9092) + ", and others as items of their own",
		}
	case bracketed || !strings.Contains(address, ":"):
		return &Error{
			Problem: fmt.Sprintf("%q has no port", address),
			Fix:     "add one, such as " + Join(strings.Trim(address, "[]"), 9092),
		}
	case !strings.Contains(address, "["):
		return &Error{
			Problem: fmt.Sprintf("%q has more than one colon", address),
			Fix:     "write an IPv6 address in brackets, such as [::1]:9092",
		}
	default:
		return &Error{
			Problem: fmt.Sprintf("%q is not host:port", address),
			Fix:     "write host:port, such as 127.0.0.1:9092 or [::1]:9092",
		}
	}
}

// validHost reports whether host can be listened on or dialled. A name whose last
// label is a number is a mistyped IPv4 address (127.0.1.256), as in the URL
// standard; underscores are no DNS, but Docker Compose names have them.
func validHost(host string) bool {
	if host == "" {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	if len(host) > maxHostLen || strings.HasPrefix(host, ".") || strings.Contains(host, "..") {
		return false
	}
	odd := func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return !letter && (r < '0' || '9' < r) && r != '-' && r != '_' && r != '.'
	}
	if strings.ContainsFunc(host, odd) {
		return false
	}
	name := strings.TrimSuffix(host, ".")
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.Trim(last, "0123456789") != ""
}

// Join joins host and port, with an IPv6 host in brackets. A host with brackets, as some
// brokers advertise it, gets no second pair.
func Join(host string, port int32) string {
	return net.JoinHostPort(unbracketed(host), strconv.Itoa(int(port)))
}

// Canonical returns host in the one form in which hosts are compared, and in which they
// are advertised to clients: a name in lower case without its root dot, an IP address in
// its shortest form, an IPv4 address not as IPv6, and neither in brackets.
func Canonical(host string) string {
	host = strings.TrimSuffix(lower(unbracketed(host)), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return host
}

// CanonicalAddress returns host:port with the host in its canonical form. The host, the
// port or both may be a glob, whose canonical form is in lower case and without the root
// dot.
func CanonicalAddress(address string) string {
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return lower(address)
	}
	host, port := address[:i], address[i:]
	brackets := strings.HasSuffix(host, "]")
	if brackets && strings.Contains(host, "*") || !brackets && strings.Contains(host, ":") {
		return lower(address) // a glob on IPv6 addresses, or one without its port
	}
	if host = Canonical(host); strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + port
}

// Bound returns the address that a socket bound to host occupies, in canonical form: the
// empty text for a wildcard of both families, [IPv4Wildcard] for that of IPv4, and
// 127.0.0.1 for localhost.
func Bound(host string) string {
	switch canonical := Canonical(host); {
	case canonical == IPv4Wildcard:
		return IPv4Wildcard
	case IsWildcard(host):
		return ""
	case canonical == "localhost":
		return "127.0.0.1"
	default:
		return canonical
	}
}

// IPv4Wildcard is every interface, for IPv4 alone.
const IPv4Wildcard = "0.0.0.0"

// Network returns the network that a socket at address, host:port, is opened with: tcp4
// for the wildcard of IPv4. With tcp, Go opens it for IPv6 too, and clients would evade
// the allowed networks of IPv4.
func Network(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil && Canonical(host) == IPv4Wildcard {
		return "tcp4"
	}
	return "tcp"
}

// IsWildcard reports whether host means every interface: it can be listened on,
// but no client can connect to it.
func IsWildcard(host string) bool {
	if host == "" {
		return true
	}
	ip, err := netip.ParseAddr(Canonical(host))
	return err == nil && ip.WithZone("").IsUnspecified()
}

// IsLoopback reports whether host is a loopback address.
func IsLoopback(host string) bool {
	host = Canonical(host)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// HasZone reports whether host is an IPv6 address with a zone, which has a meaning on one
// machine only.
func HasZone(host string) bool {
	ip, err := netip.ParseAddr(Canonical(host))
	return err == nil && ip.Zone() != ""
}

func unbracketed(host string) string {
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		return host[1 : len(host)-1]
	}
	return host
}

// lower returns text with the letters of ASCII in lower case. strings.ToLower maps some
// other letters to ASCII, and would make two names equal.
func lower(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}
