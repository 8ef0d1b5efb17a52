package tlsconf

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzSubjects reads any pattern. A name with its special characters escaped fits itself,
// and does not fit itself with one more character.
func FuzzSubjects(f *testing.F) {
	f.Add("CN=app-*,O=example", "app-1")
	f.Add(`2.5.4.3=a\,b`, "a,b")
	f.Add("CN=", `\*.`)
	escape := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `,`, `\,`)
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if patterns, err := compileSubjects([]string{pattern}); err == nil {
			_ = patterns.check(subject(name))
		}
		if name == "" || !utf8.ValidString(name) {
			return
		}
		patterns, err := compileSubjects([]string{"CN=" + escape.Replace(name)})
		if err != nil {
			t.Fatal(err)
		}
		if err := patterns.check(subject(name)); err != nil {
			t.Errorf("%q does not fit itself: %v", name, err)
		}
		if patterns.check(subject(name+"x")) == nil || patterns.check(subject("x"+name)) == nil {
			t.Errorf("%q fits more than itself", name)
		}
	})
}

func subject(commonName string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{Names: []pkix.AttributeTypeAndValue{
		{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: commonName},
	}}}
}
