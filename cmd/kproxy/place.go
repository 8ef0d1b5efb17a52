package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"kproxy/internal/foreign"
	"kproxy/proxy/config"
)

// place is a position in a configuration file, counted from 1; columns are characters.
// The zero place is none.
type place struct{ line, column int }

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// placeIn returns the place of a byte.
func placeIn(data []byte, index int) place {
	before := data[:min(max(index, 0), len(data))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return place{bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1}
}

// lineOf returns a line, counted from 1, without its end; nil where there is none.
func lineOf(data []byte, line int) []byte {
	for ; line > 1; line-- {
		_, rest, ok := bytes.Cut(data, []byte("\n"))
		if !ok {
			return nil
		}
		data = rest
	}
	text, _, _ := bytes.Cut(data, []byte("\n"))
	return bytes.TrimSuffix(text, []byte("\r"))
}

// mistake is one mistake in a configuration file, and where it is.
type mistake struct {
	at  place // zero: not in the file
	err error
}

func (m *mistake) Error() string { return m.err.Error() }
func (m *mistake) Unwrap() error { return m.err }

// at returns the place of a key, such as clusters.orders.dial[0].to: the place of its
// name, or the beginning of the item of a list. For a key that the file does not have it
// is the place of the section that lacks it, and found is false. The place of a key from
// an alias or a merge is where it is written.
func (d *document) at(key string) (at place, found bool) {
	n := d.root
	at = placeOf(n)
	for key != "" {
		name, value, length := d.step(resolved(n), key)
		if value == nil {
			return at, false
		}
		at, n = placeOf(name), value
		key = strings.TrimPrefix(key[length:], ".")
	}
	return at, true
}

// step finds the first part of a key in a map or list: the node of its name, the value,
// and the length of the part. value is nil if it is not there. Names may have dots:
// the longest name that fits decides.
func (d *document) step(n *yaml.Node, key string) (name, value *yaml.Node, length int) {
	if n.Kind == yaml.SequenceNode {
		end := strings.IndexByte(key, ']')
		if !strings.HasPrefix(key, "[") || end < 0 {
			return nil, nil, 0
		}
		i, err := strconv.Atoi(key[1:end])
		if err != nil || i < 0 || i >= len(n.Content) {
			return nil, nil, 0
		}
		return n.Content[i], n.Content[i], end + 1
	}
	if n.Kind != yaml.MappingNode {
		return nil, nil, 0
	}
	x := d.index(n)
	for i := min(len(key), x.longest); i > 0; i-- {
		if i < len(key) && key[i] != '.' && key[i] != '[' || !x.lengths[i] {
			continue
		}
		if found, ok := x.named[key[:i]]; ok {
			return found.name, found.value, i
		}
	}
	return nil, nil, 0
}

// mapIndex finds the names of a map, so that the places of many mistakes in a large map
// take linear time.
type mapIndex struct {
	named   map[string]namedNode
	lengths map[int]bool // of the names
	longest int
}

type namedNode struct{ name, value *yaml.Node }

// index returns the index of a map, with the keys that it merges.
func (d *document) index(n *yaml.Node) *mapIndex {
	if x, ok := d.indexes[n]; ok {
		return x
	}
	x := &mapIndex{named: map[string]namedNode{}, lengths: map[int]bool{}}
	if d.indexes == nil {
		d.indexes = map[*yaml.Node]*mapIndex{}
	}
	d.indexes[n] = x
	add := func(text string, node namedNode) {
		if _, ok := x.named[text]; ok {
			return
		}
		x.named[text] = node
		x.lengths[len(text)] = true
		x.longest = max(x.longest, len(text))
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !isMerge(n.Content[i]) {
			add(resolved(n.Content[i]).Value, namedNode{n.Content[i], n.Content[i+1]})
		}
	}
	for _, from := range merged(n) {
		if from = resolved(from); from.Kind == yaml.MappingNode {
			for text, node := range d.index(from).named {
				add(text, node)
			}
		}
	}
	return x
}

// locate turns the mistakes in keys into [*mistake]s, in the order of their places. One
// whose value came from an environment variable names it, and has no place.
func (d *document) locate(values *layers, errs []error) []error {
	type located struct {
		at  place
		err error
	}
	all := make([]located, 0, len(errs))
	for _, err := range errs {
		if _, ok := errors.AsType[*mistake](err); !ok {
			err = d.locateOne(values, err)
		}
		all = append(all, located{placeOfError(err), err})
	}
	slices.SortStableFunc(all, func(a, b located) int { return a.at.compare(b.at) })
	sorted := make([]error, len(all))
	for i, l := range all {
		sorted[i] = l.err
	}
	return sorted
}

func (d *document) locateOne(values *layers, err error) error {
	bad, ok := errors.AsType[*config.Error](err)
	if !ok {
		return err
	}
	list, _, _ := strings.Cut(bad.Key, "[") // a variable holds a whole list
	if variable, ok := values.overrides[list]; ok {
		return &config.Error{Key: foreign.Line(bad.Key) + " (" + foreign.Line(variable) + ")", Problem: bad.Problem, Fix: bad.Fix}
	}
	if d.isVariable(bad.Key) {
		return err
	}
	at, _ := d.at(bad.Key)
	if shown := foreign.Line(bad.Key); shown != bad.Key {
		err = &config.Error{Key: shown, Problem: bad.Problem, Fix: bad.Fix}
	}
	return &mistake{at: at, err: err}
}

func placeOfError(err error) place {
	if m, ok := errors.AsType[*mistake](err); ok {
		return m.at
	}
	return place{}
}

// compare orders places; a mistake without a place comes last.
func (p place) compare(other place) int {
	switch {
	case p == other:
		return 0
	case p == place{}:
		return 1
	case other == place{}:
		return -1
	case p.line != other.line:
		return p.line - other.line
	default:
		return p.column - other.column
	}
}

// maxMistakes is how many mistakes of a configuration are listed; the others are counted.
const maxMistakes = 100

// mistakes has one line for each mistake in a configuration file:
// FILE:LINE:COLUMN: key: problem; fix.
func mistakes(file string, errs []error) *usageError {
	var lines []error
	for i, err := range errs {
		if i == maxMistakes {
			lines = append(lines, fmt.Errorf("%s: and %d more; correct these first", file, len(errs)-i))
			break
		}
		name := file
		if at := placeOfError(err); at != (place{}) {
			name = fmt.Sprintf("%s:%d:%d", file, at.line, at.column)
		}
		lines = append(lines, fmt.Errorf("%s: %w", name, foreign.ErrorOf(err, maxErrorLine)))
	}
	return &usageError{errors.Join(lines...)}
}

// independent returns the later mistakes, of values and files, that cannot be
// consequences of the mistakes of form, whose keys could not be read.
func (d *document) independent(form, later []error) []error {
	unread := unreadKeys{sections: map[string]map[string]bool{}, above: map[string]bool{}}
	for _, err := range form {
		if bad, ok := errors.AsType[*config.Error](err); ok && !d.isVariable(bad.Key) {
			unread.add(bad.Key)
		}
	}
	return slices.DeleteFunc(slices.Clone(later), func(err error) bool {
		bad, ok := errors.AsType[*config.Error](err)
		if !ok {
			return false
		}
		_, found := d.at(bad.Key)
		return unread.explain(bad, found)
	})
}

// unreadKeys are keys that could not be read.
type unreadKeys struct {
	sections map[string]map[string]bool // their names, by section
	above    map[string]bool            // the keys, and the sections that they are in
}

func (u *unreadKeys) add(key string) {
	section, name := parent(key)
	if u.sections[section] == nil {
		u.sections[section] = map[string]bool{}
	}
	u.sections[section][name] = true
	for key != "" {
		if _, of := parent(section); of != "clusters" && of != "listeners" {
			u.above[key] = true // else a mistake of the key is one of its name
		}
		key = section
		section, _ = parent(key)
	}
}

// explain reports whether a mistake may be a consequence of an unread key: it is about
// that key, or one above or below it; it misses a key beside it, whose name may be the
// misspelt one; or it names the key. found says that the file has the mistake's key.
func (u *unreadKeys) explain(bad *config.Error, found bool) bool {
	if u.above[bad.Key] {
		return true
	}
	words := strings.FieldsFunc(bad.Problem, isNoKeyLetter)
	beside := !found
	for key := bad.Key; key != ""; beside = false {
		section, name := parent(key)
		unread := u.sections[section]
		if beside && len(unread) > 0 || unread[name] {
			return true
		}
		if slices.ContainsFunc(words, func(word string) bool { return unread[word] }) {
			return true
		}
		key = section
	}
	return false
}

// parent splits a key into its section and its name. The section of an item is its list.
func parent(key string) (section, name string) {
	i := strings.LastIndexAny(key, ".[")
	return key[:max(i, 0)], key[i+1:]
}

func isNoKeyLetter(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }

// isVariable reports whether the text in place of a key is an environment variable. A key of
// the file can look like one.
func (d *document) isVariable(key string) bool {
	if !strings.Contains(key, "_") || strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return false
	}
	_, inFile := d.at(key)
	return !inFile
}
