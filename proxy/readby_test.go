package proxy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Only readBy sets a read deadline of a client that is not past. It checks the session's asks
// afterwards, because it may have overwritten the deadline of a new one.
func TestOnlyReadBySetsDeadlines(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		text := func(n ast.Node) string { return string(source[n.Pos()-file.FileStart : n.End()-file.FileStart]) }
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				method, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || method.Sel.Name != "SetReadDeadline" && method.Sel.Name != "SetDeadline" || strings.HasSuffix(text(method.X), "broker.conn") {
					return true
				}
				found++
				if f.Name.Name != "readBy" && text(call.Args[0]) != "wait.Past" {
					t.Errorf("%s: %s sets a deadline of %s", name, f.Name.Name, text(call.Args[0]))
				}
				return true
			})
		}
	}
	if found < 3 { // readBy, wake, and the end of the response pump
		t.Errorf("only %d calls were found: this test looks for the wrong ones", found)
	}
}
