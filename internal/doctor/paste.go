package doctor

import (
	"net/netip"
	"regexp"
	"strings"
	"unicode"

	"kproxy/internal/hostport"
)

// Lines that are offered for pasting hold text that peers wrote: addresses, names of listeners,
// names in certificates, mechanisms. Each such text is checked where it is put into a line, and
// pasteable checks all lines again, so that no line is unchecked.

var (
	brokerLine = regexp.MustCompile(`^[a-z][a-z.]*=[A-Za-z0-9_:/.,\[\]-]*$`)
	envLine    = regexp.MustCompile(`^KAFKA_[A-Z_]+=[A-Za-z0-9_:/.,\[\]-]*$`)
	clientLine = regexp.MustCompile(`^[a-z][a-z.]*=[A-Za-z0-9_:/.,@ ="\[\]-]*;?$`)
)

// maxPasted is the most characters of a line, with room for each of the listeners that a broker
// may have.
const maxPasted = 4 * maxLayout

// noteUnsafe stands in the place of lines.
const noteUnsafe = "the lines are left out, because a name or an address in them has characters that must not be pasted"

// pasteable returns a fix without the lines that are no plain lines of their file, and without a
// command that is not one line.
func pasteable(f Fix) Fix {
	form := clientLine
	if f.File != theClientsFile {
		form = brokerLine
	}
	ok := areLines(f.Properties, form) && areLines(f.Env, envLine) && (f.Bootstrap == "" || areLines([]string{"bootstrap.servers=" + f.Bootstrap}, brokerLine))
	if !ok {
		f.File, f.Properties, f.Env, f.Bootstrap, f.Partial, f.Notes = "", nil, nil, "", false, []string{noteUnsafe}
	}
	if !isOneLine(f.Command) {
		f.Command = ""
	}
	return f
}

func areLines(lines []string, form *regexp.Regexp) bool {
	for _, line := range lines {
		if len(line) > maxPasted || !form.MatchString(line) {
			return false
		}
	}
	return true
}

func isOneLine(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// isTame reports whether an address can be written into a command or a file: a host name or
// an IP address without a zone, and a port.
func isTame(address string) bool {
	host, _, err := hostport.Parse(address)
	return err == nil && isTameHost(host)
}

// isTameHost reports whether a host is a name or an IP address without a zone. A zone is any text.
func isTameHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Zone() == ""
	}
	return tameName.MatchString(host)
}

var tameName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,255}$`)
