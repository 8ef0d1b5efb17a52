package tlsconf

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// SubjectError says that a client's certificate is valid, and its subject is not
// admitted.
type SubjectError struct {
	Subject string // in the form of RFC 4514
}

// Error is the subject, quoted and cut, because a client's certificate may have any
// length.
func (e *SubjectError) Error() string {
	return fmt.Sprintf("the subject %.512q is not one that is let in", e.Subject)
}

// attributeTypes are the object identifiers of the attributes that have a short
// name (RFC 4514, section 3, and those that OpenSSL and Java also use).
var attributeTypes = map[string]string{
	"CN":           "2.5.4.3",
	"SERIALNUMBER": "2.5.4.5",
	"C":            "2.5.4.6",
	"L":            "2.5.4.7",
	"ST":           "2.5.4.8",
	"STREET":       "2.5.4.9",
	"O":            "2.5.4.10",
	"OU":           "2.5.4.11",
	"POSTALCODE":   "2.5.4.17",
	"UID":          "0.9.2342.19200300.100.1.1",
	"DC":           "0.9.2342.19200300.100.1.25",
	"EMAILADDRESS": "1.2.840.113549.1.9.1",
}

var dottedNumbers = regexp.MustCompile(`^[0-9]+(\.[0-9]+)+$`)

// subjects are the patterns, of which one has to fit. A pattern is kept by attribute and
// not as one text, in which a comma inside a name would end it.
type subjects []subjectPattern

type subjectPattern map[string][]*regexp.Regexp // by object identifier

// compileSubjects reads the patterns. The error names each that is wrong.
func compileSubjects(patterns []string) (subjects, error) {
	var compiled subjects
	var problems []error
	for i, text := range patterns {
		pattern, err := compileSubject(text)
		if err != nil {
			problems = append(problems, &KeyError{fmt.Sprintf("subjects[%d]", i), fmt.Sprintf("%q: %v", text, err), `write attributes with their values, such as "CN=app-*,O=example"`})
			continue
		}
		compiled = append(compiled, pattern)
	}
	return compiled, errors.Join(problems...)
}

func compileSubject(text string) (subjectPattern, error) {
	pattern := subjectPattern{}
	for rest, more := text, true; more; {
		name, value, found := strings.Cut(rest, "=")
		if !found {
			return nil, errors.New("it is to be of the form CN=app-*,O=example")
		}
		name = strings.ToUpper(strings.TrimSpace(name))
		oid, known := attributeTypes[name]
		if !known && !dottedNumbers.MatchString(name) {
			return nil, fmt.Errorf("%s is no attribute's name; its object identifier works", name)
		}
		if !known {
			oid = name
		}
		var glob string
		glob, rest, more = cutGlob(value)
		if glob == "" {
			return nil, fmt.Errorf("%s has no value; * stands for any", name)
		}
		pattern[oid] = append(pattern[oid], regexp.MustCompile(`(?s)^`+glob+`$`))
	}
	return pattern, nil
}

// cutGlob turns the text up to the next comma into a regular expression; more is set if
// there was one.
func cutGlob(text string) (expression, rest string, more bool) {
	var b strings.Builder
	escaped := false
	for i, r := range text {
		switch {
		case escaped:
			b.WriteString(regexp.QuoteMeta(string(r)))
			escaped = false
		case r == '\\':
			escaped = true
		case r == '*':
			b.WriteString(".*")
		case r == ',':
			return b.String(), text[i+1:], true
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	if escaped {
		b.WriteString(`\\`)
	}
	return b.String(), "", false
}

// check returns a [*SubjectError] if there are patterns and none fits.
func (s subjects) check(certificate *x509.Certificate) error {
	fits := func(p subjectPattern) bool { return p.matches(certificate.Subject.Names) }
	if len(s) == 0 || slices.ContainsFunc(s, fits) {
		return nil
	}
	return &SubjectError{Subject: certificate.Subject.String()}
}

// matches reports whether each value of the named attributes fits, and each named
// attribute is there. So a second CN beside one that fits is refused.
func (p subjectPattern) matches(names []pkix.AttributeTypeAndValue) bool {
	for oid, globs := range p {
		used := make([]bool, len(globs))
		for _, attribute := range names {
			if attribute.Type.String() != oid {
				continue
			}
			value, isText := attribute.Value.(string)
			i := slices.IndexFunc(globs, func(g *regexp.Regexp) bool { return isText && g.MatchString(value) })
			if i < 0 {
				return false
			}
			for j := range globs {
				used[j] = used[j] || globs[j].MatchString(value)
			}
		}
		if slices.Contains(used, false) {
			return false
		}
	}
	return true
}
