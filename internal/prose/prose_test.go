package main

import (
	"slices"
	"strings"
	"testing"
)

// matches returns the words and clauses that the check finds in a file.
func matches(t *testing.T, name, src string) []string {
	t.Helper()
	texts, err := extract(name, []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, text := range texts {
		for _, f := range findings(text) {
			list = append(list, f.match)
		}
	}
	return list
}

func TestFindings(t *testing.T) {
	for _, tt := range []struct {
		name, file, src string
		want            []string
	}{
		{"comment", "a.go", "package a\n\n// f returns what is\n// left. Whoever calls it waits.\nfunc f() {}\n", []string{"what is", "Whoever"}},
		{"clause over two lines", "a.go", "package a\n\n// f writes what\n// the client sends.\nfunc f() {}\n", []string{"what the"}},
		{"string", "a.go", "package a\n\nconst a = `for somebody else`\n", []string{"somebody"}},
		{"code", "a.go", "package a\n\nvar nobody = whoever(whom)\n", nil},
		{"imports, tags and directives", "a.go", "package a\n\nimport \"what is\"\n\n//nolint:nobody // reason\ntype a struct {\n\tB int `doc:\"nobody\"`\n}\n", nil},
		{"parts of words", "a.go", "package a\n\n// A somebodyElse, whatever it is.\nconst a = 1\n", nil},
		{"question", "a.md", "What is left? Nothing.\n\nIt shows what is left. Is it?\n", []string{"what is"}},
		{"code block", "a.md", "Text.\n\n```\nwhat is left\n```\n\nWhat it does.\n", []string{"What it"}},
		{"heading and table", "a.md", "# What it costs\n\n| whom | what has changed |\n", []string{"What it", "whom", "what has"}},
		{"YAML", "a.yaml", "a: nobody # for everybody\n# What a client gets.\nb: what is it\n", []string{"everybody", "What a"}},
		{"shell", "a", "#!/bin/sh\n# what comes first\necho what comes first\n", []string{"what comes"}},
		{"Java", "a.java", "/** What they send. */\nint a; // whom\nint whom;\n", []string{"What they", "whom"}},
		{"Python", "a.py", "def a(whom): # what is left\n    \"\"\"Does what\n    the caller wants.\"\"\"\n    return 'whom'\n", []string{"what is", "what the"}},
		{"an unknown type", "a.txt", "what is left\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := matches(t, tt.file, tt.src); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLines(t *testing.T) {
	texts, err := extract("a.go", []byte("package a\n\n/*\nA comment.\n\nwhat is left\n*/\n\n// One line.\n// For nobody.\nconst a = 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []int
	for _, text := range texts {
		for _, f := range findings(text) {
			lines = append(lines, f.line)
		}
	}
	if want := []int{6, 10}; !slices.Equal(lines, want) {
		t.Errorf("got lines %v, want %v", lines, want)
	}
}

func TestAllowances(t *testing.T) {
	all, err := parseAllow("# a comment\na.md\tuser `nobody`\ta name\nb.md\tnobody\ta name\nd.md\t*\ttests\n")
	if err != nil {
		t.Fatal(err)
	}
	f := finding{match: "nobody", context: "as the user `nobody`, without privileges"}
	if !all.allows("a.md", f) {
		t.Error("the allowed finding of a.md is reported")
	}
	if all.allows("c.md", f) {
		t.Error("a finding of c.md is allowed")
	}
	if !all.allows("d.md", f) {
		t.Error("d.md is allowed as a whole, and its finding is reported")
	}
	if got, want := all.unused(), []string{"b.md: nobody"}; !slices.Equal(got, want) {
		t.Errorf("unused: got %q, want %q", got, want)
	}
	if _, err := parseAllow("a.md\tnobody\n"); err == nil || !strings.Contains(err.Error(), "reason") {
		t.Errorf("without a reason: got %v, want an error", err)
	}
}

func TestCounts(t *testing.T) {
	var c counts
	c.add(text{kind: comment, lines: []string{"It was told what is", "left, by whom for whom."}})
	var out strings.Builder
	c.print(&out, "checked")
	if want := "comments      10 words; per 1,000: riddles 200.00 (2), what-clauses 100.00 (1), told 100.00 (1)"; !strings.Contains(out.String(), want) {
		t.Errorf("got\n%swant %s", out.String(), want)
	}
}

func TestUnfinished(t *testing.T) {
	defer func(saved []string) { unfinished = saved }(unfinished)
	unfinished = []string{"docs/", "README.md"}
	for name, want := range map[string]bool{"docs/README.md": true, "README.md": true, "bench/README.md": false, "docs.go": false} {
		if isUnfinished(name) != want {
			t.Errorf("%s: got %t", name, !want)
		}
	}
}
