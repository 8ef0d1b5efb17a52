package helm

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The marks of the chart's README around the tables of values.
const (
	begin = "<!-- values: go test ./configs/helm -update -->\n"
	end   = "<!-- end -->\n"
)

// The tables in the chart's README have the keys, defaults and comments of values.yaml.
func TestReadme(t *testing.T) {
	text := read(t, "kproxy/README.md")
	before, rest, ok := strings.Cut(text, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("README.md has no %q and %q", begin, end)
	}
	keys := valueKeys(t, read(t, "kproxy/values.yaml"))
	if len(keys) < 50 {
		t.Errorf("found %d keys in values.yaml", len(keys))
	}
	golden(t, "kproxy/README.md", before+begin+table(keys)+end+after)
}

// valueKey is a key of values.yaml.
type valueKey struct{ path, value, comment string }

// table has a row for each key.
func table(keys []valueKey) string {
	var b strings.Builder
	b.WriteString("| key | default | meaning |\n|---|---|---|\n")
	for _, k := range keys {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", k.path, k.value, strings.ReplaceAll(k.comment, "|", `\|`))
	}
	return b.String()
}

// valueKeys reads values.yaml by lines: a key has its comment in the lines before it, and is
// below the last key with fewer spaces before it. Each key with a value has a comment.
func valueKeys(t *testing.T, values string) []valueKey {
	t.Helper()
	var keys []valueKey
	var parents, comment []string
	for line := range strings.Lines(values) {
		text := strings.TrimSpace(line)
		if words, ok := strings.CutPrefix(text, "# "); ok {
			comment = append(comment, words)
			continue
		}
		name, value, isKey := strings.Cut(text, ":")
		if isKey {
			depth := (len(line) - len(strings.TrimLeft(line, " "))) / 2
			if depth > len(parents) {
				t.Fatalf("%s is too deep", text)
			}
			parents = append(parents[:depth], name)
			path := strings.Join(parents, ".")
			switch value = strings.TrimSpace(value); {
			case value == "" && comment != nil:
				t.Errorf("%s: a section has no comment", path)
			case value != "" && comment == nil:
				t.Errorf("%s has no comment", path)
			case value != "":
				keys = append(keys, valueKey{path, value, strings.Join(comment, " ")})
			}
		}
		comment = nil
	}
	return keys
}

// The values files in docs/kubernetes.md are those of testdata/values, which e2e/chart renders.
func TestValuesOfThePage(t *testing.T) {
	files, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, file := range files {
		all = append(all, read(t, file))
	}
	blocks := regexp.MustCompile("(?sm)^```yaml values\n(.*?)^```").FindAllStringSubmatch(read(t, "../../docs/kubernetes.md"), -1)
	for _, block := range blocks {
		if !slices.Contains(all, block[1]) {
			t.Errorf("docs/kubernetes.md has values that are no file of testdata/values:\n%s", block[1])
		}
	}
	if len(blocks) < 5 {
		t.Errorf("docs/kubernetes.md has %d values files", len(blocks))
	}
}
