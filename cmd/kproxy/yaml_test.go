package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

func readTree(t *testing.T, text string) *document {
	t.Helper()
	d, errs := readYAML([]byte(text))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return d
}

// The place of a key is that of its name; the place of a missing one is that of the
// section that lacks it.
func TestPlaces(t *testing.T) {
	d := readTree(t, `# a comment
base: &base
  keepalive: 30s
  tls: {ca: ca.pem}
clusters:
  orders:
    <<: *base
    bootstrap: [b0:1, b1:2]
    dial:
      - {node: 1}
      - match: "*"
        to: x
  "orders.eu": {bind: 1}
  again: *base
`)
	for _, tt := range []struct {
		key   string
		want  place
		found bool
	}{
		{"clusters", place{5, 1}, true},
		{"clusters.orders", place{6, 3}, true},
		{"clusters.orders.bootstrap", place{8, 5}, true},
		{"clusters.orders.bootstrap[1]", place{8, 23}, true},
		{"clusters.orders.bootstrap[2]", place{8, 5}, false},
		{"clusters.orders.dial[0].node", place{10, 10}, true},
		{"clusters.orders.dial[1].to", place{12, 9}, true},
		{"clusters.orders.dial[1].node", place{11, 9}, false},
		{"clusters.orders.keepalive", place{3, 3}, true},
		{"clusters.orders.tls.ca", place{4, 9}, true},
		{"clusters.orders.tls.cert", place{4, 3}, false},
		{"clusters.orders.eu", place{13, 3}, true},
		{"clusters.orders.eu.bind", place{13, 17}, true},
		{"clusters.again.keepalive", place{3, 3}, true},
		{"clusters.audit.listeners", place{5, 1}, false},
		{"admin.bind", place{2, 1}, false},
	} {
		at, found := d.at(tt.key)
		if at != tt.want || found != tt.found {
			t.Errorf("%s: got %v, %t; want %v, %t", tt.key, at, found, tt.want, tt.found)
		}
	}
}

// The types of YAML matter where a number or boolean is wanted. A text is as in the file.
func TestScalars(t *testing.T) {
	d := readTree(t, `{a: 0123, b: 1_000, c: 0x10, d: yes, e: true, f: ~, g: "5", h: 2026-01-02, i: 1e3, j: !!str 7, k: 1.20}`)
	got := map[string]string{}
	for key, value := range d.tree {
		written, _ := asWritten(value)
		got[key] = fmt.Sprintf("%s %v", written, value)
	}
	want := map[string]string{
		"a": "0123 83", "b": "1_000 1000", "c": "0x10 16", "d": "yes yes", "e": "true true", "f": " <nil>", "g": "5 5",
		"h": "2026-01-02 2026-01-02", "i": "1e3 1000", "j": "7 7", "k": "1.20 1.2",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// Own keys win over merged ones, and of merged ones the first.
func TestMergedKeys(t *testing.T) {
	d := readTree(t, `
a: &a {x: 1, y: 1}
b: &b {y: 2, z: 2}
c: {<<: [*a, *b], x: 3}
d: {"<<": 4}
`)
	if got, want := fmt.Sprint(d.tree["c"], d.tree["d"]), "map[x:3 y:1 z:2] map[<<:4]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A file that would take much memory or time is an error.
func TestBoundedReading(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 12 {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", 'b'+i, 'b'+i, strings.Repeat(fmt.Sprintf("*%c, ", 'a'+i), 10))
	}
	maps := "a: &a {k: x}\n"
	for i := range 12 {
		maps += fmt.Sprintf("%c: &%c {<<: [%s], k%d: *%c}\n", 'b'+i, 'b'+i, strings.Repeat(fmt.Sprintf("*%c, ", 'a'+i), 10), i, 'a'+i)
	}
	var stairs strings.Builder
	for i := range 5_000 {
		fmt.Fprintf(&stairs, "%sa:\n", strings.Repeat(" ", i))
	}
	for name, tt := range map[string]struct{ text, want string }{
		"aliases":       {bomb, "aliases repeat more than 1048576 values"},
		"merges":        {maps, "aliases repeat more than 1048576 values"},
		"an own alias":  {"a: &a [*a]\n", "the alias *a stands inside the value that it repeats"},
		"an own merge":  {"a: &a {<<: *a}\n", "the alias *a stands inside the value that it repeats"},
		"lists":         {strings.Repeat("[", 1_000_000), "values are nested more than 50 deep"},
		"maps":          {strings.Repeat("{a: ", 300_000), "values are nested more than 50 deep"},
		"dashes":        {strings.Repeat("- ", 1_000_000), "values are nested more than 50 deep"},
		"stairs":        {stairs.String(), "values are nested more than 50 deep"},
		"many values":   {"a: [" + strings.Repeat("a,", 3<<20) + "]", "and 1048576 are the most"},
		"an open quote": {"a: \"" + strings.Repeat("x\n", 500_000), "the quote that opens here is not closed"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, errs := readYAML([]byte(tt.text))
		runtime.ReadMemStats(&after)
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), tt.want) {
			t.Errorf("%s: got %.300v, want %s", name, errs, tt.want)
		}
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 400 {
			t.Errorf("%s: reading %d bytes took %d MiB", name, len(tt.text), took)
		}
	}
}

// A file that is too large is not read.
func TestHugeFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kproxy.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 64<<20); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%s has more than %d bytes; name a file that can be read with --config", file, maxConfig)
	if _, err := loadConfig(file); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
