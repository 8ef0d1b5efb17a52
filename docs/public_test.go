package docs

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/public-strings.txt")

// closedSets are the string types whose constants users see, by package.
var closedSets = map[string][]string{
	"proxy":              {"CloseReason"},
	"internal/admission": {"Refusal"},
	"internal/cluster":   {"Outcome"},
	"internal/tlsconf":   {"Failure"},
	"internal/via":       {"Outcome"},
}

// TestPublicStrings holds the strings that dashboards, alerts and scripts have: they do not
// change, and new ones are added on purpose. After an addition: go test ./docs -update.
func TestPublicStrings(t *testing.T) {
	var all []string
	for dir, types := range closedSets {
		for _, value := range constants(t, dir, types...) {
			all = append(all, dir+"."+value)
		}
	}
	for _, value := range constants(t, "internal/logkey", "") {
		all = append(all, "log key "+value)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(kproxy_[a-z_]+)`").FindAllStringSubmatch(string(read(t, "metrics.md")), -1) {
		all = append(all, "metric "+m[1]) // metrics.md is held to the code
	}
	slices.Sort(all)
	if len(all) < 120 {
		t.Fatalf("found %d strings", len(all))
	}
	golden := filepath.Join("testdata", "public-strings.txt")
	got := strings.Join(all, "\n") + "\n"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := strings.Split(string(read(t, golden)), "\n")
	for _, s := range want {
		if s != "" && !slices.Contains(all, s) {
			t.Errorf("%q is gone, and users have it", s)
		}
	}
	for _, s := range all {
		if !slices.Contains(want, s) {
			t.Errorf("%q is new; if that is meant: go test ./docs -update", s)
		}
	}
}

// constants returns the values of a package's string constants that have one of these types;
// "": no type.
func constants(t *testing.T, dir string, types ...string) (values []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST || strings.HasSuffix(path, "_test.go") {
				continue
			}
			for _, spec := range group.Specs {
				values = append(values, stringsOf(spec.(*ast.ValueSpec), types)...) //nolint:forcetypeassert // a const declaration has no others
			}
		}
	}
	if len(values) == 0 {
		t.Fatalf("%s has no constants of %q", dir, types)
	}
	return values
}

// stringsOf returns the literals of a declaration that has one of these types.
func stringsOf(spec *ast.ValueSpec, types []string) (values []string) {
	name := ""
	if id, ok := spec.Type.(*ast.Ident); ok {
		name = id.Name
	}
	if !slices.Contains(types, name) {
		return nil
	}
	for _, v := range spec.Values {
		if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				values = append(values, text)
			}
		}
	}
	return values
}
