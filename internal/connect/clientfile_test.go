package connect

import (
	"maps"
	"slices"
	"testing"
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
