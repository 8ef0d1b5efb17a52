// Command count prints the size of packages: files, lines, types, functions, the longest
// function, the receiver with the most methods, and the arrows. An arrow is a pair of files
// of one package of which the first uses a name that the second declares. Tests are left
// out, and files of other systems.
//
//	go run ./internal/count ./proxy/... ./internal/...
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "count:", err)
		os.Exit(1) //nolint:forbidigo // main
	}
}

func run() error {
	sizes, err := measure(os.Args[1:]...)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PACKAGE\tFILES\tLINES\tTYPES\tEXPORTED\tFUNCS\tLONGEST\tARROWS\tLARGEST RECEIVER")
	for _, s := range sizes {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", strings.TrimPrefix(s.path, "kproxy/"),
			s.files, s.lines, s.types, s.exported, s.functions, s.longest, len(s.arrows), s.largest())
	}
	return w.Flush()
}

// A listed is a package as go list prints it.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	DepOnly                 bool // not named by the patterns
}

// A size is one row.
type size struct {
	path                                              string
	files, lines, types, exported, functions, longest int

	methods map[string]*methods // by receiver
	arrows  map[[2]string]bool  // from file, to file
}

type methods struct {
	count int
	files map[string]bool
}

// largest is the receiver with the most methods, their number, and that of their files:
// "session, 95 in 18".
func (s *size) largest() string {
	best := ""
	for name, m := range s.methods {
		if best == "" || m.count > s.methods[best].count || m.count == s.methods[best].count && name < best {
			best = name
		}
	}
	if best == "" {
		return "-"
	}
	return fmt.Sprintf("%s, %d in %d", best, s.methods[best].count, len(s.methods[best].files))
}

// measure returns the sizes of the packages that the patterns of go list name.
func measure(patterns ...string) ([]size, error) {
	list := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Export,GoFiles,DepOnly", "-export", "-deps", "--"}, patterns...)...) //nolint:gosec,noctx // patterns of the person who runs it
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	exports := map[string]string{}
	var named []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			named = append(named, p)
		}
	}
	files := token.NewFileSet()
	imports := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path]) //nolint:forbidigo // export data of the go command
	})
	var sizes []size
	for _, p := range named {
		s, err := sizeOf(p, files, imports)
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, s)
	}
	slices.SortFunc(sizes, func(a, b size) int { return strings.Compare(a.path, b.path) })
	return sizes, nil
}

func sizeOf(p listed, files *token.FileSet, imports types.Importer) (size, error) {
	s := size{path: p.ImportPath, files: len(p.GoFiles), methods: map[string]*methods{}, arrows: map[[2]string]bool{}}
	var parsed []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return s, err
		}
		parsed = append(parsed, f)
		s.lines += files.File(f.Pos()).LineCount()
		for _, d := range f.Decls {
			s.declaration(d, name, files)
		}
	}
	uses := map[*ast.Ident]types.Object{}
	config := types.Config{Importer: imports}
	pkg, err := config.Check(p.ImportPath, files, parsed, &types.Info{Uses: uses})
	if err != nil {
		return s, err
	}
	for ident, object := range uses {
		if object.Pkg() != pkg {
			continue
		}
		from, to := files.Position(ident.Pos()).Filename, files.Position(object.Pos()).Filename
		if from != to {
			s.arrows[[2]string{from, to}] = true
		}
	}
	return s, nil
}

// declaration counts the types and functions of a declaration in a file.
func (s *size) declaration(d ast.Decl, file string, files *token.FileSet) {
	switch d := d.(type) {
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if t, ok := spec.(*ast.TypeSpec); ok {
				s.types++
				if t.Name.IsExported() {
					s.exported++
				}
			}
		}
	case *ast.FuncDecl:
		s.functions++
		s.longest = max(s.longest, files.Position(d.End()).Line-files.Position(d.Pos()).Line+1)
		if d.Recv == nil {
			return
		}
		name := receiver(d.Recv.List[0].Type)
		if s.methods[name] == nil {
			s.methods[name] = &methods{files: map[string]bool{}}
		}
		s.methods[name].count++
		s.methods[name].files[file] = true
	}
}

// receiver is the name of a method's type, without its pointer and type parameters.
func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return "?"
}
