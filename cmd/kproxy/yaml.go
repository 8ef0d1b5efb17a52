package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"

	"kproxy/internal/foreign"
)

// minimalFile is a whole configuration in one line, the suggestion for an empty file.
const minimalFile = `clusters: {orders: {bootstrap: ["broker-1:9092"], listeners: {local: {bind: "127.0.0.1:9092", nodes: {ports: 9100-9199}}}}}`

const (
	// maxNesting is how deep values may be nested. The deepest key of kproxy's has ten
	// levels above it.
	maxNesting = 50
	// maxSigns bounds the signs that can begin a value: a file of 10,000 listeners has
	// some 300,000. A value takes 400 bytes of memory.
	maxSigns = 1 << 20
	// maxRepeated is how many values the aliases of a file may repeat in all: a few lines
	// of aliases to aliases would make billions.
	maxRepeated = 1 << 20
)

// document is a configuration file that has been read: its values, and their places.
type document struct {
	root *yaml.Node     // a mapping
	tree map[string]any // its content; see treeReader

	indexes map[*yaml.Node]*mapIndex // see index
}

// readYAML reads a file. The errors are [*mistake]s.
//
// The library is one version newer than the parser inside viper, and has lines and
// columns in its nodes and errors. Only this one reads the file: two parsers could
// understand it differently.
func readYAML(data []byte) (*document, []error) {
	if i := bytes.Index(data, []byte("\ufeff")); i >= 0 {
		return nil, []error{&mistake{at: placeIn(data, i), err: errors.New("a byte order mark (U+FEFF, invisible) stands inside the file; delete the character")}}
	}
	if signs := countSigns(data); signs > maxSigns {
		return nil, []error{fmt.Errorf("the file has %d lines, commas, colons, brackets and dashes, and %d are the most; divide its clusters among several kproxies", signs, maxSigns)}
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithV4Defaults(), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxNesting))))
	if err != nil {
		return nil, []error{err}
	}
	var file, next yaml.Node
	err = loader.Load(&file)
	if err == nil {
		err = loader.Load(&next)
	}
	switch {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, []error{syntaxMistake(data, err)}
	default:
		return nil, []error{&mistake{at: secondDocument(data, &next), err: errors.New("a second YAML document begins; keep one")}}
	}
	if len(file.Content) == 0 || isNull(file.Content[0]) {
		return nil, []error{errors.New("the file is empty; a minimal one is " + minimalFile)}
	}
	root := resolved(file.Content[0])
	var r treeReader
	tree := r.value(root)
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	keys, ok := tree.(map[string]any)
	if !ok {
		return nil, []error{&mistake{at: placeOf(root), err: fmt.Errorf("the file holds %s instead of keys; a minimal one is %s", describe(tree), minimalFile)}}
	}
	return &document{root: root, tree: keys}, nil
}

// countSigns counts the signs that can begin a value.
func countSigns(data []byte) int {
	n := 0
	for _, sign := range []string{"\n", ",", ":", "[", "{", "-", "?"} {
		n += bytes.Count(data, []byte(sign))
	}
	return n
}

// secondDocument returns the place of a line --- that begins a second document.
func secondDocument(data []byte, next *yaml.Node) place {
	at := placeOf(next)
	if len(next.Content) > 0 {
		at = placeOf(next.Content[0])
	}
	line, last := 0, at.line
	for text := range bytes.Lines(data) {
		if line++; line > last {
			break
		}
		if bytes.HasPrefix(text, []byte("---")) {
			at = place{line, 1}
		}
	}
	return at
}

// treeReader makes plain values of nodes: map[string]any, []any, string, nil, and plain
// for numbers and booleans. Aliases and merge keys (<<) are resolved.
type treeReader struct {
	errs     []error
	path     keyPath
	within   []*yaml.Node // the maps and lists that hold the value
	aliases  int          // how many of the path's nodes are aliases
	repeated int          // values below aliases
}

// plain is a number or boolean. As a text it is as in the file: 0123, 1_000, 1e3.
type plain struct {
	text  string
	value any
}

// String is the value in Go's way: 1e3 is 1000.
func (p plain) String() string { return fmt.Sprint(p.value) }

func (r *treeReader) add(n *yaml.Node, text string) {
	if len(r.path) > 0 {
		text = foreign.Line(r.path.String()) + ": " + text
	}
	r.errs = append(r.errs, &mistake{at: placeOf(n), err: errors.New(text)})
}

// value returns nil if there is a mistake, and adds that to errs.
func (r *treeReader) value(n *yaml.Node) any {
	if n.Kind == yaml.AliasNode {
		r.aliases++
		defer func() { r.aliases-- }()
		if slices.Contains(r.within, n.Alias) {
			r.add(n, fmt.Sprintf("the alias *%s stands inside the value that it repeats; write the value instead", foreign.Line(n.Value)))
			return nil
		}
		n = n.Alias
	}
	if r.aliases > 0 {
		if r.repeated++; r.repeated == maxRepeated {
			r.add(n, fmt.Sprintf("aliases repeat more than %d values; write fewer", maxRepeated))
		}
		if r.repeated >= maxRepeated {
			return nil
		}
	}
	switch n.Kind {
	case yaml.MappingNode:
		r.within = append(r.within, n)
		defer func() { r.within = r.within[:len(r.within)-1] }()
		m := make(map[string]any, len(n.Content)/2)
		r.mapping(n, m)
		return m
	case yaml.SequenceNode:
		r.within = append(r.within, n)
		defer func() { r.within = r.within[:len(r.within)-1] }()
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = r.value(item)
		}
		return list
	default:
		return scalarValue(n)
	}
}

// mapping reads the keys of a map, and then those that it merges: its own keys win, and
// then the first merged ones.
func (r *treeReader) mapping(n *yaml.Node, m map[string]any) {
	first := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if isMerge(key) {
			continue
		}
		if resolved(key).Kind != yaml.ScalarNode {
			r.add(key, "a key is "+describe(r.value(key))+"; put quotes around a text that begins with { or [")
			continue
		}
		name := resolved(key).Value
		r.path = append(r.path, name)
		if before, ok := first[name]; ok {
			r.add(key, fmt.Sprintf("the key is there twice, first in line %d; keep one of them", before.Line))
		} else {
			first[name] = key
			m[name] = r.value(value)
		}
		r.path = r.path[:len(r.path)-1]
	}
	for _, from := range merged(n) {
		before := len(r.errs)
		others, ok := r.value(from).(map[string]any)
		if !ok && len(r.errs) == before && r.repeated < maxRepeated {
			r.add(from, "<< merges a value that is not a map; name a map, such as *name, or a list of maps")
		}
		for name, value := range others {
			if _, ok := m[name]; !ok {
				m[name] = value
			}
		}
	}
}

// isMerge reports whether a key is that of a merge.
func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.Value == "<<" && key.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0
}

// merged returns the maps that a map merges, in order.
func merged(n *yaml.Node) []*yaml.Node {
	var all []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !isMerge(n.Content[i]) {
			continue
		}
		if list := resolved(n.Content[i+1]); list.Kind == yaml.SequenceNode {
			all = append(all, list.Content...)
		} else {
			all = append(all, n.Content[i+1])
		}
	}
	return all
}

// resolved returns the value that an alias stands for.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func scalarValue(n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool", "!!int", "!!float":
		p := plain{text: n.Value}
		if n.Decode(&p.value) != nil {
			return n.Value // a wrong tag
		}
		return p
	default:
		return n.Value
	}
}

// asMap is tree as a map, if it is one.
func asMap(tree any) (map[string]any, bool) {
	m, ok := tree.(map[string]any)
	return m, ok
}

// asText is the text of a scalar: a number's or boolean's in Go's way.
func asText(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case plain:
		return v.String(), true
	default:
		return "", false
	}
}

// asWritten is the text of a scalar as the file has it.
func asWritten(value any) (string, bool) {
	if p, ok := value.(plain); ok {
		return p.text, true
	}
	return asText(value)
}

// describe names a value in an error.
func describe(value any) string {
	switch v := value.(type) {
	case nil:
		return "nothing"
	case string:
		return quoted(v)
	case plain:
		return foreign.Line(v.text)
	case []any:
		return "a list"
	case map[string]any:
		return "a map"
	default:
		return fmt.Sprint(v)
	}
}

// quoted is a text in quotes, cut if it is long.
func quoted(text string) string {
	if runes := []rune(text[:min(len(text), utf8.UTFMax*foreign.MaxLine)]); len(runes) > foreign.MaxLine {
		return strconv.Quote(string(runes[:foreign.MaxLine])) + "…"
	}
	return strconv.Quote(text)
}
