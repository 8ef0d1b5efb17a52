// Package hostport reads and writes the host:port addresses that people
// configure and that Kafka tells its clients. It is the one place that knows
// how IPv6 addresses, wildcards and ports out of range look as text.
//
// A host is held without brackets, as it travels in Kafka's answers; [Join]
// adds them where an IPv6 address becomes text again. The package resolves
// nothing: a name is compared as a name.
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

// Error says why a text is no address, and what to write instead.
type Error struct {
	Problem string // quotes what was written
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

// unsplittable explains an address that net.SplitHostPort refuses. It looks at
// the text itself, because the library's reasons are texts too.
func unsplittable(address string) error {
	bracketed := strings.HasPrefix(address, "[") && strings.HasSuffix(address, "]")
	switch {
	case address == "":
		return &Error{Problem: "the address is empty", Fix: "write host:port, such as 127.0.0.1:9092"}
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

// validHost says whether host can be listened on or dialled. A name whose last
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

// Join is host and port as text, an IPv6 host in brackets.
func Join(host string, port int32) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// IsWildcard says whether host means every interface: it can be listened on,
// but no client can be told to connect to it.
func IsWildcard(host string) bool {
	if host == "" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().WithZone("").IsUnspecified()
}

// IsLoopback says whether host, in lower case, is this machine and nobody else's.
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Canonical is host in the one form in which it is compared: a name in lower
// case without its root dot, an IP address in its shortest form, the empty text
// for every wildcard, and 127.0.0.1 for localhost, which is where a socket that
// is bound to localhost listens.
func Canonical(host string) string {
	if IsWildcard(host) {
		return ""
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" {
		return "127.0.0.1"
	}
	return host
}
