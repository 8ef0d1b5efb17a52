package connect

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Files as Java's Properties.load reads them.
func TestJavaLines(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want keys
	}{
		"separators":               {"a=1\nb:2\nc 3\nd\t=\t4\ne   :   5\nf==6\ng\n", keys{"a": "1", "b": "2", "c": "3", "d": "4", "e": "5", "f": "=6", "g": ""}},
		"blanks":                   {"  a = 1  \n\f\tb=2\n", keys{"a": "1", "b": "2"}},
		"blanks of a secret":       {"ssl.key.password=1  \n", keys{"ssl.key.password": "1  "}},
		"comments":                 {"# a=1\n  ! b=2\nc=#3\\\n# 4\n", keys{"c": "#3# 4"}},
		"continued":                {"a=1,\\\n   2,\\\n\t3\nb=x\\\\\nc=y\\\\\\\n z\n", keys{"a": "1,2,3", "b": `x\`, "c": `y\z`}},
		"CRLF":                     {"a=1,\\\r\n  2\r\nb=3\r\n", keys{"a": "1,2", "b": "3"}},
		"CR alone":                 {"a=1\rb=2", keys{"a": "1", "b": "2"}},
		"an empty line ends it":    {"a=1\\\n\nb=2", keys{"a": "1", "b": "2"}},
		"nothing is continued":     {"\\\n# a=1\n\\\n\nb=2", keys{"b": "2"}},
		"a backslash at the end":   {"a=1\\", keys{"a": "1"}},
		"escapes":                  {`a\=b\:c\ d=\t\n\r\f\q\\`, keys{"a=b:c d": "q\\"}},
		"unicode escapes":          {`a=\u00e9\u0041`, keys{"a": "éA"}},
		"a surrogate pair":         {`a=\uD83D\uDE00`, keys{"a": "😀"}},
		"Latin-1":                  {"a=\xe9", keys{"a": "é"}},
		"a value with a separator": {"a=b=c:d", keys{"a": "b=c:d"}},
	} {
		f, err := parseClientFile("f", []byte(tt.text))
		if err != nil || !maps.Equal(f.keys(), tt.want) {
			t.Errorf("%s: got %q, %v; want %q", name, f.keys(), err, tt.want)
		}
	}
}

// An error names the line where the key begins.
func TestLinesOfKeys(t *testing.T) {
	f, err := parseClientFile("f", []byte("# one\r\n\r\na=1\\\r\n 2\r\nb=3\r\na=4\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []int
	for _, e := range f.entries {
		lines = append(lines, e.line)
	}
	if !slices.Equal(lines, []int{3, 5, 6}) || f.lineOf("a") != 6 || f.lineOf("c") != 0 {
		t.Errorf("lines %v, a at %d", lines, f.lineOf("a"))
	}
}

// The keys that kproxy reads are keys of clients, and none is taken for another's
// misspelling.
func TestClientKeys(t *testing.T) {
	if len(clientKeys) < 200 || !slices.IsSorted(clientKeys) {
		t.Errorf("%d keys, or not sorted", len(clientKeys))
	}
	for _, key := range neededKeys {
		if !slices.Contains(clientKeys, key) {
			t.Errorf("%s is not a key of clients", key)
		}
	}
	for name, want := range map[string]string{
		"bootstrap.server":         "bootstrap.servers",
		"bootstrap_servers":        "bootstrap.servers",
		"Bootstrap.Servers":        "bootstrap.servers",
		"ssl.trust.store.location": "ssl.truststore.location",
		"sasl.passwd":              "sasl.password",
		"group.instance":           "",
		"x":                        "",
		"schema.registry.url":      "",
	} {
		if got := misspelt(name, neededKeys); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// A client's file takes time, memory and lines of output in proportion to its size, of
// which files have 1 MiB at most.
func TestBoundedClientFile(t *testing.T) {
	each := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	const good = "bootstrap.servers=b:9092\n"
	for name, tt := range map[string]struct {
		text, want string // "": no error
		lines      int    // of the error, or notes
	}{
		"continuation lines": {good + strings.Repeat("a=\\\n", 250_000), "", 1},
		"unknown keys":       {good + each(80_000, "x.%d=1\n"), "", maxUnknown + 1},
		"misspelt keys":      {good + strings.Repeat("bootstrap.server=1\n", 50_000), "and 980 more; correct these first", maxMistakes + 1},
		"escapes":            {good + strings.Repeat("a=\\u1\n", 100_000), "and 99980 more; correct these first", maxMistakes + 1},
		"no equals":          {"sasl.username=a\n" + strings.Repeat("a\n", 400_000), "and 399980 more; correct these first", maxMistakes + 1},
		"addresses":          {"bootstrap.servers=" + each(60_000, "b-%d,"), "c:1: bootstrap.servers: it has 60001 addresses, and 100 are the most; ", 1},
		"bad addresses":      {"bootstrap.servers=" + each(99, "b-%d,"), "and 79 more; correct these first", maxMistakes + 1},
		"blanks of JAAS": {
			good + "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=a.B required" + strings.Repeat(" ", 1_000_000) + "username=u;\n",
			"there is no username and password for PLAIN", 1,
		},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		c, err := fromData(t.Context(), "c", []byte(tt.text))
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		lines := 0
		switch {
		case err != nil:
			lines = strings.Count(err.Error(), "\n") + 1
			if tt.want == "" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got %.300v, want %s", name, err, tt.want)
			}
		case tt.want != "":
			t.Errorf("%s: no error, want %s", name, tt.want)
		default:
			lines = len(c.Notes)
			c.Close()
		}
		if lines != tt.lines {
			t.Errorf("%s: %d lines, want %d", name, lines, tt.lines)
		}
		if allocated := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 10*time.Second || allocated > 300 {
			t.Errorf("%s: %d bytes took %s and %d MiB", name, len(tt.text), took, allocated)
		}
	}
}
