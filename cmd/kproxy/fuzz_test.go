package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// FuzzReadConfig holds any file to: a configuration whose every address can be
// computed, or mistakes that each have a place, a problem and a fix.
func FuzzReadConfig(f *testing.F) {
	samples, err := filepath.Glob("../../configs/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, sample := range samples {
		data, err := os.ReadFile(sample)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(minimalFile))
	f.Add([]byte("clusters: {a: {dial: [{node: 1, match: x}], listeners: {b: {nodes: {pin: {1: 2}}}}}}"))
	f.Add([]byte("a: &a {<<: *a}"))
	f.Add([]byte("clusters:\n\ta: 1"))
	f.Add([]byte("a: [\"x\n---\n"))
	mistakes, err := filepath.Glob("testdata/mistakes/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, mistake := range mistakes {
		if strings.Contains(mistake, "aliases-without-end") {
			continue // each of its kind takes a second
		}
		data, err := os.ReadFile(mistake)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, errs := readConfig(data)
		if len(errs) == 0 {
			s.plan.Endpoints()
			if namesFiles(&s.Proxy) {
				return // New would read them, whatever they are
			}
			if _, err := proxy.New(&s.Proxy); err != nil {
				t.Errorf("New refuses a configuration that Validate accepts: %v", err)
			}
			return
		}
		lines := bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) + 1
		for _, mistake := range errs {
			if !strings.Contains(mistake.Error(), "; ") {
				t.Errorf("no fix in %q", mistake)
			}
			if strings.HasPrefix(mistake.Error(), "the file is empty") {
				continue
			}
			if at := placeOfError(mistake); at.line < 1 || at.column < 1 || utf8.Valid(data) && at.line > lines+bytes.Count(data, []byte("\u2028"))+bytes.Count(data, []byte("\u2029"))+bytes.Count(data, []byte("\u0085")) {
				t.Errorf("%+v is no place: %q", at, mistake)
			}
		}
	})
}

// FuzzDifferences holds the differences between any two configurations: none between equal
// ones, as many in both directions, each in printable lines.
func FuzzDifferences(f *testing.F) {
	f.Add([]byte(minimalFile), []byte(strings.ReplaceAll(minimalFile, "9100-9199", "9100-9150, pin: {1: 9120}")))
	f.Add([]byte(minimalFile), []byte(strings.Replace(minimalFile, "listeners:", "dial: [{node: 1, to: 'a:1'}], via: 'exec:nc {host} {port}', listeners:", 1)))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		before, errs := readConfig(a)
		after, otherErrs := readConfig(b)
		if len(errs)+len(otherErrs) > 0 {
			return
		}
		if same := differences(before.keys, before.keys); len(same) > 0 {
			t.Errorf("a configuration differs from itself: %+v", same)
		}
		there, back := differences(before.keys, after.keys), differences(after.keys, before.keys)
		if len(there) != len(back) {
			t.Errorf("%d differences, and %d in the other direction", len(there), len(back))
		}
		var lines strings.Builder
		if err := printDifferences(&lines, there); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(lines.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("not printable: %q", lines.String())
		}
	})
}

// namesFiles reports whether New reads files for a configuration.
func namesFiles(c *proxy.Config) bool {
	return c.StateDir != "" || slices.ContainsFunc(c.Clusters, func(c config.Cluster) bool {
		return c.TLS != nil || c.SASL != nil || slices.ContainsFunc(c.Listeners, func(l config.Listener) bool { return l.TLS != nil || l.Login != nil })
	})
}
