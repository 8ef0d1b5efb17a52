package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"strconv"
	"strings"
)

// A kind says where a text comes from.
type kind int

const (
	comment kind = iota // a comment of a program, a script or a configuration
	doc                 // Markdown
	str                 // a string literal of a Go program
)

// A text is one comment group, one Markdown paragraph or one string, with its first line.
type text struct {
	kind  kind
	line  int
	lines []string // without comment signs
}

// extract returns the texts of a file, none for a type that it does not know.
func extract(name string, src []byte) ([]text, error) {
	switch base := path.Base(name); {
	case strings.HasSuffix(base, ".go"):
		return goTexts(name, src)
	case strings.HasSuffix(base, ".md"):
		return markdown(string(src)), nil
	case strings.HasSuffix(base, ".java"), strings.HasSuffix(base, ".js"), strings.HasSuffix(base, ".mjs"):
		return marked(string(src), "//", "/*", "*"), nil
	case strings.HasSuffix(base, ".py"):
		return append(marked(string(src), "#"), docstrings(string(src))...), nil
	case strings.HasSuffix(base, ".yaml"), strings.HasSuffix(base, ".yml"), strings.HasSuffix(base, ".sh"),
		base == "Dockerfile", base == "Makefile", base == ".editorconfig", base == ".gitattributes",
		strings.HasPrefix(string(src), "#!"):
		return marked(string(src), "#"), nil
	}
	return nil, nil
}

// goTexts returns the comments and the string literals of a Go file, except import paths, tags and directives.
func goTexts(name string, src []byte) ([]text, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var texts []text
	for _, group := range file.Comments {
		t := text{kind: comment, line: fset.Position(group.Pos()).Line}
		for _, c := range group.List {
			for len(t.lines) < fset.Position(c.Pos()).Line-t.line {
				t.lines = append(t.lines, "")
			}
			body := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(c.Text, "//"), "/*"), "*/")
			if strings.HasPrefix(c.Text, "//go:") || strings.HasPrefix(c.Text, "//nolint") {
				body = ""
			}
			t.lines = append(t.lines, strings.Split(body, "\n")...)
		}
		texts = append(texts, t)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			return n.Tag == nil
		case *ast.BasicLit:
			if n.Kind != token.STRING {
				return false
			}
			value, err := strconv.Unquote(n.Value)
			if err != nil || !strings.Contains(value, " ") {
				return false
			}
			if n.Value[0] == '"' { // it is on one line
				value = strings.ReplaceAll(value, "\n", " ")
			}
			texts = append(texts, text{kind: str, line: fset.Position(n.Pos()).Line, lines: strings.Split(value, "\n")})
		}
		return true
	})
	return texts, nil
}

// markdown returns the paragraphs of a Markdown file without its code blocks.
func markdown(src string) []text {
	var texts []text
	fenced, open := false, false
	for i, line := range strings.Split(src, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```"):
			fenced, open = !fenced, false
			continue
		case fenced, trimmed == "":
			open = false
			continue
		case strings.HasPrefix(trimmed, "#"), strings.HasPrefix(trimmed, "|"), strings.HasPrefix(trimmed, "- "):
			open = false
		}
		if !open {
			texts = append(texts, text{kind: doc, line: i + 1})
			open = !strings.HasPrefix(trimmed, "#") && !strings.HasPrefix(trimmed, "|")
		}
		last := &texts[len(texts)-1]
		last.lines = append(last.lines, line)
	}
	return texts
}

// marked returns the comments of a file in which a comment begins with one of signs, at the beginning of a line or
// after a space, and ends with the line.
func marked(src string, signs ...string) []text {
	var texts []text
	last := -1
	for i, line := range strings.Split(src, "\n") {
		body, found := commentOf(line, signs)
		if !found {
			continue
		}
		if len(texts) == 0 || last != i-1 {
			texts = append(texts, text{kind: comment, line: i + 1})
		}
		t := &texts[len(texts)-1]
		t.lines = append(t.lines, body)
		last = i
	}
	return texts
}

func commentOf(line string, signs []string) (string, bool) {
	trimmed := strings.TrimSpace(line)
	for _, sign := range signs {
		if rest, ok := strings.CutPrefix(trimmed, sign); ok {
			return strings.Trim(rest, "#!*/ "), true
		}
	}
	if _, rest, ok := strings.Cut(line, " "+signs[0]); ok {
		return strings.TrimLeft(rest, "#/ "), true
	}
	return "", false
}

// docstrings returns the texts between triple quotes.
func docstrings(src string) []text {
	var texts []text
	line := 1
	for i, part := range strings.Split(src, `"""`) {
		if i%2 == 1 {
			texts = append(texts, text{kind: comment, line: line, lines: strings.Split(part, "\n")})
		}
		line += strings.Count(part, "\n")
	}
	return texts
}
