package main

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"kproxy/internal/admin"
	"kproxy/internal/foreign"
	"kproxy/proxy/config"
)

// maxShown is the most characters of a value in a difference: a list may have thousands
// of items.
const maxShown = 1000

// differences returns the differences between two configurations, in the order of
// keys.go, with clusters and listeners by their names. A section that is added or removed
// is one difference. Values are as in the file, without secrets. Environment variables and
// defaults count as if the file had them.
func differences(before, after *fileConfig) []admin.Difference {
	var d differ
	d.section(nil, reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem())
	return d.all
}

type differ struct{ all []admin.Difference }

func (d *differ) add(kind admin.Kind, path keyPath, was, now string) {
	d.all = append(d.all, admin.Difference{Kind: kind, Key: path.String(), Was: foreign.LineOf(was, maxShown), Now: foreign.LineOf(now, maxShown)})
}

func (d *differ) section(path keyPath, was, now reflect.Value) {
	for i, f := range reflect.VisibleFields(was.Type()) {
		d.field(path.key(f.Tag.Get("key")), f, was.Field(i), now.Field(i))
	}
}

func (d *differ) field(path keyPath, f reflect.StructField, was, now reflect.Value) {
	if _, ok := scalarOf(f.Type); ok {
		d.value(path, f.Tag, was, now)
		return
	}
	switch {
	case f.Type == reflect.TypeFor[map[int32]int](), f.Type == reflect.TypeFor[map[string]string]():
		d.entries(path, was, now)
	case f.Type.Kind() == reflect.Map:
		d.named(path, was, now)
	case f.Type.Kind() == reflect.Slice:
		d.listed(path, was, now)
	case f.Type.Kind() == reflect.Pointer:
		d.optional(path, was, now)
	case hasDefaults(f.Type):
		d.section(path, was, now)
	default:
		d.whole(path, was, now)
	}
}

// value compares the values of a key. A key without a value and without a default is
// absent.
func (d *differ) value(path keyPath, tag reflect.StructTag, was, now reflect.Value) {
	before, after := textOf(was), textOf(now)
	if before == after {
		return
	}
	_, hasDefault := tag.Lookup("default")
	wasShown, nowShown := withoutSecrets(before), withoutSecrets(after)
	if wasShown == nowShown {
		nowShown += " (a part that is not shown has changed)"
	}
	switch {
	case !hasDefault && isEmpty(was):
		d.add(admin.Added, path, "", nowShown)
	case !hasDefault && isEmpty(now):
		d.add(admin.Removed, path, wasShown, "")
	default:
		d.add(admin.Changed, path, wasShown, nowShown)
	}
}

// entries compares maps of single values.
func (d *differ) entries(path keyPath, was, now reflect.Value) {
	for _, key := range sortedKeys(was, now) {
		before, after := was.MapIndex(key), now.MapIndex(key)
		name := path.key(fmt.Sprint(key))
		switch {
		case !before.IsValid():
			d.add(admin.Added, name, "", textOf(after))
		case !after.IsValid():
			d.add(admin.Removed, name, textOf(before), "")
		case textOf(before) != textOf(after):
			d.add(admin.Changed, name, textOf(before), textOf(after))
		}
	}
}

// named compares clusters, or listeners. One that is added or removed has no value.
func (d *differ) named(path keyPath, was, now reflect.Value) {
	for _, key := range sortedKeys(was, now) {
		before, after := was.MapIndex(key), now.MapIndex(key)
		switch name := path.key(key.String()); {
		case !before.IsValid():
			d.add(admin.Added, name, "", "")
		case !after.IsValid():
			d.add(admin.Removed, name, "", "")
		default:
			d.section(name, before, after)
		}
	}
}

// sortedKeys returns the keys of two maps.
func sortedKeys(a, b reflect.Value) []reflect.Value {
	keys := map[any]reflect.Value{}
	for _, key := range append(a.MapKeys(), b.MapKeys()...) {
		keys[key.Interface()] = key
	}
	return slices.SortedFunc(maps.Values(keys), func(x, y reflect.Value) int {
		if x.CanInt() {
			return int(x.Int() - y.Int())
		}
		return strings.Compare(x.String(), y.String())
	})
}

// listed compares lists of sections. The items between the equal ones at the beginning
// and at the end are compared by their order.
func (d *differ) listed(path keyPath, was, now reflect.Value) {
	head := 0
	for head < min(was.Len(), now.Len()) && same(was.Index(head), now.Index(head)) {
		head++
	}
	tail := 0
	for tail < min(was.Len(), now.Len())-head && same(was.Index(was.Len()-1-tail), now.Index(now.Len()-1-tail)) {
		tail++
	}
	wasEnd, nowEnd := was.Len()-tail, now.Len()-tail
	for i := head; i < max(wasEnd, nowEnd); i++ {
		switch item := path.item(i); {
		case i >= wasEnd:
			d.add(admin.Added, item, "", flowOf(now.Index(i)))
		case i >= nowEnd:
			d.add(admin.Removed, item, flowOf(was.Index(i)), "")
		default:
			d.section(item, was.Index(i), now.Index(i))
		}
	}
}

func same(a, b reflect.Value) bool { return reflect.DeepEqual(a.Interface(), b.Interface()) }

// optional compares sections that may be absent.
func (d *differ) optional(path keyPath, was, now reflect.Value) {
	switch {
	case was.IsNil() && now.IsNil():
	case was.IsNil():
		d.add(admin.Added, path, "", flowOf(now.Elem()))
	case now.IsNil():
		d.add(admin.Removed, path, flowOf(was.Elem()), "")
	default:
		d.section(path, was.Elem(), now.Elem())
	}
}

// whole compares sections that are absent if none of their keys has a value.
func (d *differ) whole(path keyPath, was, now reflect.Value) {
	before, after := flowOf(was), flowOf(now)
	switch {
	case before == noKeys && after != noKeys:
		d.add(admin.Added, path, "", after)
	case after == noKeys && before != noKeys:
		d.add(admin.Removed, path, before, "")
	default:
		d.section(path, was, now)
	}
}

// hasDefaults reports whether a key of a section has a default.
func hasDefaults(section reflect.Type) bool {
	for _, f := range reflect.VisibleFields(section) {
		if _, ok := f.Tag.Lookup("default"); ok {
			return true
		}
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[config.Range]() && hasDefaults(f.Type) {
			return true
		}
	}
	return false
}

const noKeys = "{}"

// flowOf writes a section in one line: {cert: edge.pem, key: edge.key}. Keys that are
// absent, or have their default, are left out.
func flowOf(section reflect.Value) string {
	var keys []string
	for i, f := range reflect.VisibleFields(section.Type()) {
		if text := flowValue(f, section.Field(i)); text != "" {
			keys = append(keys, f.Tag.Get("key")+": "+text)
		}
	}
	return "{" + strings.Join(keys, ", ") + "}"
}

// flowValue is "" for a value that flowOf leaves out.
func flowValue(f reflect.StructField, v reflect.Value) string {
	if s, ok := scalarOf(f.Type); ok {
		if isEmpty(v) {
			return ""
		}
		text := textOf(v)
		if def, err := s.read(f.Tag.Get("default")); err == nil && textOf(reflect.ValueOf(def)) == text {
			return ""
		}
		return withoutSecrets(text)
	}
	var items []string
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return flowOf(v.Elem())
	case reflect.Map:
		for _, key := range sortedKeys(v, v) {
			if value := v.MapIndex(key); value.Kind() != reflect.Struct {
				items = append(items, fmt.Sprint(key)+": "+textOf(value))
			}
		}
		if len(items) == 0 {
			return ""
		}
		return "{" + strings.Join(items, ", ") + "}"
	case reflect.Slice:
		for i := range v.Len() {
			items = append(items, flowOf(v.Index(i)))
		}
		if len(items) == 0 {
			return ""
		}
		return "[" + strings.Join(items, ", ") + "]"
	default:
		if text := flowOf(v); text != noKeys {
			return text
		}
		return ""
	}
}

// isEmpty reports whether a value is that of a key that is left out, and has no default.
func isEmpty(v reflect.Value) bool {
	return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
}

// textOf writes a single value, or a list of them, as the file has it.
func textOf(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case string:
		return yamlText(value)
	case []string:
		items := make([]string, len(value))
		for i, item := range value {
			items[i] = yamlText(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case *int32:
		if value == nil {
			return ""
		}
		return fmt.Sprint(*value)
	case time.Duration:
		return shortDuration(value)
	case config.Range:
		if value.First == value.Last {
			return strconv.Itoa(value.First)
		}
		return fmt.Sprintf("%d-%d", value.First, value.Last)
	default:
		return fmt.Sprint(value)
	}
}

// shortDuration is 720h for time.Duration's own 720h0m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// yamlText puts quotes around a text that YAML would read as another value.
func yamlText(text string) string {
	special := strings.ContainsFunc(text, func(r rune) bool {
		return strings.ContainsRune("{}[],#\"'\\`", r) || !unicode.IsPrint(r)
	})
	if text == "" || special || strings.ContainsAny(text[:1], " *&!|>%@-?:") || strings.HasSuffix(text, " ") ||
		strings.HasSuffix(text, ":") || strings.Contains(text, ": ") {
		return strconv.Quote(text)
	}
	return text
}

// withoutArguments leaves the program of exec:PROGRAM ARGUMENTS.
func withoutArguments(command string) string {
	i := strings.IndexAny(command, " \t\n") // as via separates words
	if i < 0 || i+1 == len(command) {
		return yamlText(command)
	}
	return yamlText(command[:i]) + " …"
}

// withoutSecrets hides the places of a value that can hold a secret: the password of a
// URL, its query, and the arguments of a command.
func withoutSecrets(text string) string {
	if command, err := strconv.Unquote(text); strings.HasPrefix(text, "exec:") || err == nil && strings.HasPrefix(command, "exec:") {
		return withoutArguments(cmp.Or(command, text))
	}
	scheme, rest, isURL := strings.Cut(text, "://")
	if !isURL {
		return text
	}
	user := ""
	if at := strings.LastIndexByte(rest, '@'); at >= 0 { // a password may hold a slash, a question mark or an @
		name, _, hasPassword := strings.Cut(rest[:at], ":")
		if user = name; hasPassword {
			user += ":…"
		}
		rest = rest[at:]
	}
	if address, _, hasQuery := strings.Cut(rest, "?"); hasQuery {
		rest = address + "?…"
	}
	return scheme + "://" + user + rest
}
