package connect

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"kproxy/internal/foreign"
)

// clientFile is a client's configuration as it is written.
type clientFile struct {
	name    string // of the file, for errors
	entries []clientEntry
}

// clientEntry is one key of a client's configuration.
type clientEntry struct {
	key, value string
	line       int // where it begins, from 1
}

// keys are a client's keys and values.
type keys map[string]string

// keyError is a mistake at one key. Its text quotes no value that may be secret.
type keyError struct {
	line    int    // 0: the key's line, or none
	key     string // "": the whole line
	problem string // and its fix
	err     error  // the arguments of the problem; nil: none
}

func (e *keyError) Error() string {
	if e.key == "" {
		return e.problem
	}
	return e.key + ": " + e.problem
}

func (e *keyError) Unwrap() error { return e.err }

// badKey is a mistake at a key, whose problem names a fix.
func badKey(key, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &keyError{key: key, problem: err.Error(), err: errors.Unwrap(err)}
}

// at is the place of a line, as it stands in front of an error.
func (f *clientFile) at(line int) string {
	if line == 0 {
		return f.name + ": "
	}
	return f.name + ":" + strconv.Itoa(line) + ": "
}

// locate puts the file and, where it is known, the line in front of each of the errors
// that err joins, in the order of the file.
func (f *clientFile) locate(err error) error {
	type located struct {
		line int
		err  error
	}
	var all []located
	lines := map[string]int{}
	for _, e := range f.entries {
		lines[e.key] = e.line
	}
	for _, err := range unjoined(err) {
		line := 0
		if bad, ok := errors.AsType[*keyError](err); ok {
			line = cmp.Or(bad.line, lines[bad.key])
		}
		all = append(all, located{line, err})
	}
	slices.SortStableFunc(all, func(a, b located) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for i, l := range all {
		if i == maxMistakes {
			errs = append(errs, fmt.Errorf("%sand %d more; correct these first", f.at(0), len(all)-i))
			break
		}
		errs = append(errs, fmt.Errorf("%s%w", f.at(l.line), l.err))
	}
	return errors.Join(errs...)
}

// maxMistakes is how many mistakes in a client's file are listed; the others are counted.
const maxMistakes = 20

func unjoined(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, err := range joined.Unwrap() {
			all = append(all, unjoined(err)...)
		}
		return all
	}
	return []error{err}
}

// lineOf is the line of a key; 0: it is not there. The last one counts, as it does for
// clients.
func (f *clientFile) lineOf(key string) int {
	line := 0
	for _, e := range f.entries {
		if e.key == key {
			line = e.line
		}
	}
	return line
}

// keys are the values by their keys. Clients cut blanks off the values of keys that are
// not secret.
func (f *clientFile) keys() keys {
	all := keys{}
	for _, e := range f.entries {
		all[e.key] = e.value
		if !strings.HasSuffix(e.key, "password") && !strings.HasSuffix(e.key, "secret") {
			all[e.key] = strings.TrimSpace(e.value)
		}
	}
	return all
}

// twice has a note for each key that is written more than once.
func (f *clientFile) twice() []string {
	var notes []string
	first := map[string]int{}
	for _, e := range f.entries {
		if before, has := first[e.key]; has && len(notes) < maxUnknown {
			notes = append(notes, fmt.Sprintf("%s%s: the key is on line %d too; the last one counts", f.at(e.line), foreign.Line(e.key), before))
		}
		first[e.key] = e.line
	}
	return notes
}

// The keys that only one of the two kinds of clients has.
var (
	onlyRdkafka = []string{
		"metadata.broker.list", "sasl.username", "sasl.password", "sasl.mechanisms", "ssl.ca.location", "ssl.ca.pem", "ssl.certificate.location",
		"ssl.certificate.pem", "ssl.key.location", "ssl.key.pem", "enable.ssl.certificate.verification", "sasl.oauthbearer.config", "sasl.oauthbearer.method",
	}
	onlyJava = []string{
		"sasl.jaas.config", "ssl.truststore.location", "ssl.truststore.type", "ssl.truststore.certificates", "ssl.keystore.type", "ssl.keystore.key",
		"ssl.keystore.certificate.chain", "sasl.login.callback.handler.class", "sasl.client.callback.handler.class", "key.serializer", "value.deserializer",
	}
)

// parseClientFile reads a file by the rules of its client: a backslash is a character in
// librdkafka's files, and begins an escape in Java's.
func parseClientFile(name string, data []byte) (*clientFile, error) {
	plain := &clientFile{name: name, entries: plainEntries(string(data))}
	java, rdkafka := plain.firstOf(onlyJava), plain.firstOf(onlyRdkafka)
	switch {
	case java != nil && rdkafka != nil:
		return nil, plain.locate(&keyError{
			line: rdkafka.line, key: rdkafka.key,
			problem: fmt.Sprintf("it is a key of librdkafka's, and %s on line %d is one of Java's clients; keep those of one", java.key, java.line),
		})
	case rdkafka != nil:
		if err := noEquals(string(data)); err != nil {
			return nil, plain.locate(err)
		}
		return plain, nil
	}
	f := &clientFile{name: name}
	var errs []error
	for _, line := range javaLines(data) {
		e, err := line.entry()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		f.entries = append(f.entries, e)
	}
	if len(errs) > 0 {
		return nil, f.locate(errors.Join(errs...))
	}
	return f, nil
}

func (f *clientFile) firstOf(names []string) *clientEntry {
	for i := range f.entries {
		if slices.Contains(names, f.entries[i].key) {
			return &f.entries[i]
		}
	}
	return nil
}

// plainEntries reads key=value, as librdkafka's own programs do.
func plainEntries(text string) []clientEntry {
	var all []clientEntry
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok {
			all = append(all, clientEntry{strings.TrimSpace(key), strings.TrimSpace(value), number})
		}
	}
	return all
}

// noEquals has an error for each line that plainEntries does not understand. A line in
// brackets is a section of an INI file.
func noEquals(text string) error {
	var errs []error
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line != "" && !strings.ContainsAny(line[:1], "#![") && !strings.Contains(line, "=") {
			errs = append(errs, &keyError{line: number, problem: "there is no = in the line; write key=value"})
		}
	}
	return errors.Join(errs...)
}

// javaLine is a logical line of a properties file: one or more lines of the file, of
// which each but the last ended in a backslash.
type javaLine struct {
	text   string
	number int // of the first line, from 1
}

// javaBlank are the characters that Java's Properties take for a blank.
const javaBlank = " \t\f"

// javaLines splits a file as Java's Properties.load does. A line ends with \n, \r or
// both; comments are not continued. Bytes are Latin-1 there.
func javaLines(data []byte) []javaLine {
	runes := make([]rune, len(data))
	for i, b := range data {
		runes[i] = rune(b)
	}
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(runes))
	var all []javaLine
	var open strings.Builder // the start of the next line, unless it is empty
	began := 0
	end := func() {
		if open.Len() > 0 {
			all = append(all, javaLine{open.String(), began})
		}
		open.Reset()
	}
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		line = strings.TrimLeft(line, javaBlank)
		if open.Len() == 0 {
			if line == "" || line[0] == '#' || line[0] == '!' {
				continue
			}
			began = number
		}
		backslashes := len(line) - len(strings.TrimRight(line, `\`))
		if backslashes%2 == 1 {
			open.WriteString(line[:len(line)-1])
			continue
		}
		open.WriteString(line)
		end()
	}
	end()
	return all
}

// entry splits a line at the first =, : or blank without a backslash before it.
func (l javaLine) entry() (clientEntry, error) {
	end := len(l.text)
	for i := 0; i < len(l.text); i++ {
		if l.text[i] == '\\' {
			i++
			continue
		}
		if strings.IndexByte("=:"+javaBlank, l.text[i]) >= 0 {
			end = i
			break
		}
	}
	rest := strings.TrimLeft(l.text[end:], javaBlank)
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], javaBlank)
	}
	key, keyErr := unescapeJava(l.text[:end])
	value, valueErr := unescapeJava(rest)
	if keyErr != nil || valueErr != nil { // the text may be secret
		return clientEntry{}, &keyError{line: l.number, problem: `a \u is not followed by four digits of 0-9 and a-f; write such as \u00e9, or \\ for a backslash`}
	}
	return clientEntry{key, value, l.number}, nil
}

var errUnicode = errors.New("malformed \\uxxxx")

// unescapeJava replaces the escapes of a properties file. A character that is outside
// of 16 bits is written as two.
func unescapeJava(text string) (string, error) {
	if !strings.Contains(text, `\`) {
		return text, nil
	}
	runes := []rune(text)
	units := make([]uint16, 0, len(runes))
	for i := 0; i < len(runes); i++ {
		if runes[i] != '\\' {
			units = utf16.AppendRune(units, runes[i])
			continue
		}
		i++
		if i == len(runes) {
			break // a file that ends in a backslash
		}
		if runes[i] != 'u' {
			r := runes[i]
			if at := strings.IndexRune("tnrf", r); at >= 0 {
				r = rune("\t\n\r\f"[at])
			}
			units = utf16.AppendRune(units, r)
			continue
		}
		const digits = 4
		if i+digits >= len(runes) {
			return "", errUnicode
		}
		unit, err := strconv.ParseUint(string(runes[i+1:i+1+digits]), 16, 16)
		if err != nil {
			return "", errUnicode
		}
		units = append(units, uint16(unit))
		i += digits
	}
	return string(utf16.Decode(units)), nil
}
