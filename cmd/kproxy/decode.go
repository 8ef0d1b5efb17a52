package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"kproxy/proxy/config"
)

// decoder fills the types of keys.go from the file and the environment, and collects
// every mistake.
type decoder struct {
	// values has the value of every scalar key; nil inside a list, where keys have
	// neither a variable nor a default.
	values *layers
	errs   []error

	suggested int // unknown keys
	sections  int // clusters and listeners
}

const (
	// maxNamed is how many clusters and listeners a file may have: each of their keys has
	// an environment variable.
	maxNamed = 20_000
	// maxItems is how many items a list may have: each is compared with the others.
	maxItems = 10_000
)

func (d *decoder) add(path keyPath, problem, fix string) {
	d.errs = append(d.errs, &config.Error{Key: path.String(), Problem: problem, Fix: fix})
}

func (d *decoder) tooLong(path keyPath, items int) {
	d.add(path, fmt.Sprintf("the list has %d items, and %d are the most", items, maxItems), "write fewer, such as one pattern or network for several")
}

// maxSuggested is how many unknown keys are compared with the known ones.
const maxSuggested = 10_000

// suggest is the fix for an unknown key.
func (d *decoder) suggest(key string, known []string) string {
	if d.suggested++; d.suggested > maxSuggested {
		return "kproxy check --print-schema shows the known ones"
	}
	return suggest(key, known)
}

// section reads the keys of a struct. One that the file leaves out is read too:
// its keys have variables and defaults.
func (d *decoder) section(path keyPath, tree any, into reflect.Value) {
	fields := reflect.VisibleFields(into.Type())
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.Tag.Get("key")
	}
	written, ok := d.keys(path, tree, "write keys such as "+strings.Join(known, ", "))
	if !ok {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(written)) {
		if !slices.Contains(known, key) {
			d.add(path.key(cmp.Or(key, `""`)), "unknown key", d.suggest(key, known))
		}
	}
	for i, f := range fields {
		value, ok := written[known[i]]
		d.field(path.key(known[i]), f, value, ok, into.Field(i))
	}
}

// keys returns tree as a map, which is empty if the file has no value. Not ok: it is
// something else, and the mistake is noted.
func (d *decoder) keys(path keyPath, tree any, fix string) (written map[string]any, ok bool) {
	written, ok = asMap(tree)
	if ok || tree == nil {
		return written, true
	}
	d.add(path, "found "+describe(tree)+" instead of keys", fix)
	return nil, false
}

// field reads the key of one struct field. written reports whether the file has it.
func (d *decoder) field(path keyPath, f reflect.StructField, tree any, written bool, into reflect.Value) {
	if s, ok := scalarOf(f.Type); ok {
		d.scalar(path, f.Tag, s, tree, written, into)
		return
	}
	switch {
	case f.Type == reflect.TypeFor[map[int32]int]():
		d.numbers(path, f.Tag, tree, into)
	case f.Type == reflect.TypeFor[map[string]string]():
		d.texts(path, f.Tag, tree, into)
	case f.Type.Kind() == reflect.Map:
		d.named(path, tree, into)
	case f.Type.Kind() == reflect.Slice:
		d.listed(path, tree, into)
	case f.Type.Kind() == reflect.Pointer:
		d.optional(path, f.Tag, tree, written, into)
	default:
		d.section(path, tree, into)
	}
}

// named reads sections that have names: clusters, listeners.
func (d *decoder) named(path keyPath, tree any, into reflect.Value) {
	written, ok := d.keys(path, tree, "write each name with its own keys below it")
	if !ok {
		return
	}
	if d.sections += len(written); d.sections > maxNamed {
		d.add(path, fmt.Sprintf("the file has more than %d clusters and listeners", maxNamed), "divide them among several kproxies")
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for _, name := range slices.Sorted(maps.Keys(written)) {
		section := reflect.New(into.Type().Elem()).Elem()
		d.section(path.key(name), written[name], section)
		into.SetMapIndex(reflect.ValueOf(name), section)
	}
}

// listed reads a list of sections.
func (d *decoder) listed(path keyPath, tree any, into reflect.Value) {
	items, ok := tree.([]any)
	if !ok && tree != nil {
		d.add(path, "found "+describe(tree)+" instead of a list", "start each item with a dash")
		return
	}
	if len(items) > maxItems {
		d.tooLong(path, len(items))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(items), len(items)))
	inside := decoder{suggested: d.suggested}
	for i, item := range items {
		inside.section(path.item(i), item, into.Index(i))
	}
	d.errs, d.suggested = append(d.errs, inside.errs...), inside.suggested
}

// optional reads a section that may be absent, which is not the same as empty. A
// variable of one of its keys is enough for it to be there.
func (d *decoder) optional(path keyPath, tag reflect.StructTag, tree any, written bool, into reflect.Value) {
	section := reflect.New(into.Type().Elem())
	d.section(path, tree, section.Elem())
	below := d.values != nil && d.values.overriddenBelow(path)
	if written && tree == nil && !below {
		d.add(path, "has no value", "write keys such as "+tag.Get("example")+", {} for the defaults, or leave the key out")
	}
	if written || below {
		into.Set(section)
	}
}

// numbers reads a map of broker ids to ports or slots.
func (d *decoder) numbers(path keyPath, tag reflect.StructTag, tree any, into reflect.Value) {
	fix := "write broker ids with their ports or slots, such as " + tag.Get("example")
	written, ok := d.keys(path, tree, fix)
	if !ok {
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	seen := make(map[int32]string)
	for _, key := range slices.Sorted(maps.Keys(written)) {
		node, err := parseInt32(key)
		if err != nil {
			d.add(path.key(key), describe(key)+" is not a broker id", fix)
			continue
		}
		if other, ok := seen[node]; ok {
			d.add(path.key(key), fmt.Sprintf("%s and %s are both broker %d", describe(other), describe(key), node), "keep one of them")
			continue
		}
		seen[node] = key
		s, _ := scalarOf(into.Type().Elem())
		number, err := s.read(written[key])
		if err != nil {
			d.add(path.key(key), describe(written[key])+" is not a port or slot", fix)
			continue
		}
		into.SetMapIndex(reflect.ValueOf(node), reflect.ValueOf(number))
	}
}

// texts reads a map of texts. One that is left out, or empty, is nil.
func (d *decoder) texts(path keyPath, tag reflect.StructTag, tree any, into reflect.Value) {
	fix := "write names with a text each, such as " + tag.Get("example")
	written, ok := d.keys(path, tree, fix)
	if !ok || len(written) == 0 {
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for _, key := range slices.Sorted(maps.Keys(written)) {
		text, ok := asWritten(written[key])
		if !ok {
			d.add(path.key(key), describe(written[key])+" is not a text", fix)
			continue
		}
		into.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(text))
	}
}

// scalar reads a key that has a single value.
func (d *decoder) scalar(path keyPath, tag reflect.StructTag, s scalar, tree any, written bool, into reflect.Value) {
	value, overridden := tree, false
	if d.values != nil {
		var err error
		if value, err = d.values.value(path, tag.Get("default")); err != nil {
			d.errs = append(d.errs, err)
			return
		}
		overridden = d.values.overridden(path)
	}
	example := cmp.Or(tag.Get("example"), tag.Get("default"), s.example)
	if written && tree == nil && !overridden {
		d.add(path, "has no value", "write "+s.what+" such as "+example+", or leave the key out")
		return
	}
	if value == nil {
		return
	}
	items, isList := value.([]any)
	if isList && len(items) > maxItems {
		d.tooLong(path, len(items))
		return
	}
	parsed, err := s.read(value)
	if bad, ok := errors.AsType[*itemError](err); ok {
		d.add(path.item(bad.item), describe(items[bad.item])+" is not a text", "write one such as "+firstOf(example))
		return
	}
	if err != nil {
		d.add(path, describe(value)+" is not "+s.what, "write one such as "+example)
		return
	}
	if problem, fix := outside(tag, s, parsed); problem != "" {
		d.add(path, describe(value)+problem, fix)
		return
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	into.Set(reflect.ValueOf(parsed))
}

// firstOf is the first item of an example of a list.
func firstOf(example string) string {
	first, _, _ := strings.Cut(strings.Trim(example, "[]"), ",")
	return first
}

// outside says why a value is not one that its tags allow.
func outside(tag reflect.StructTag, s scalar, parsed any) (problem, fix string) {
	v := reflect.ValueOf(parsed)
	if oneof := tag.Get("oneof"); oneof != "" {
		if allowed := strings.Split(oneof, "|"); !slices.Contains(allowed, v.String()) {
			return notOneOf(allowed, tag.Get("default"))
		}
	}
	if least := tag.Get("min"); least != "" {
		floor, err := s.read(least)
		if err != nil || v.Int() < reflect.ValueOf(floor).Int() {
			fix = "write " + least + " or more"
			if def := tag.Get("default"); def != "" && def != least {
				fix += ", or leave the key out for " + def
			}
			return " is too little", fix
		}
	}
	return "", ""
}

func notOneOf(allowed []string, def string) (problem, fix string) {
	problem = " is not one of " + strings.Join(allowed, ", ")
	if len(allowed) == 1 {
		problem = " is not " + allowed[0]
	}
	switch {
	case def != "":
		return problem, "the default is " + def
	case len(allowed) == 1:
		return problem, "write it, or leave the key out"
	default:
		return problem, "write one of them, or leave the key out"
	}
}
