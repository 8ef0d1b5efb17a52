package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestFiles holds the committed files to the code. Package docs holds them to kproxy's metrics.
func TestFiles(t *testing.T) {
	for file, build := range dashboards {
		want, err := render(build())
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		got, err := os.ReadFile(file)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s differs from the code (%v): make dashboards", file, err)
		}
	}
}

// TestGroups holds the groups of reasons to the reasons that kproxy has: each is in exactly one.
func TestGroups(t *testing.T) {
	text, err := os.ReadFile("../../docs/testdata/public-strings.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^(?:proxy|internal/admission|internal/tlsconf)\.(\w+)$`).FindAllStringSubmatch(string(text), -1) {
		known[m[1]] = 0
	}
	delete(known, "tls_wrong_name") // of handshakes with brokers: an outcome of a dial
	for _, group := range []string{ordinary, byClient, byBroker, byRule, byKproxy} {
		for name := range strings.SplitSeq(group, "|") {
			if _, ok := known[name]; !ok {
				t.Errorf("kproxy ends no session as %q", name)
			}
			known[name]++
		}
	}
	if len(known) < 40 {
		t.Errorf("found %d reasons", len(known))
	}
	for name, groups := range known {
		if groups != 1 {
			t.Errorf("%q is in %d groups", name, groups)
		}
	}
}
