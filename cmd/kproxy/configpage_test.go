package main

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"kproxy/proxy/config"
)

const (
	configPage = "../../docs/configuration.md"
	// firstKeys has the keys of version 0.1.0. A key that is not in it needs the tag since.
	firstKeys = "testdata/keys-0.1.0.txt"
)

// TestConfigurationPageGolden holds docs/configuration.md to the keys. make docs writes it.
func TestConfigurationPageGolden(t *testing.T) {
	got := []byte(configurationPage(configKeys(t)))
	if *update {
		if err := os.WriteFile(configPage, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(configPage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/configuration.md differs from the keys of keys.go; run make docs")
	}
}

// TestSince holds the versions of the page: a key of 0.1.0 stays, a later one names its
// version, and the CHANGELOG has a section for each version.
func TestSince(t *testing.T) {
	list, err := os.ReadFile(firstKeys)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.Fields(string(list))
	changelog, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, section := range configKeys(t) {
		for _, k := range section.keys {
			known = append(known, k.path)
			if slices.Contains(first, k.path) != (k.since == firstVersion) {
				t.Errorf("%s is since %s, and %s says otherwise; a new key needs the tag since", k.path, k.since, firstKeys)
			}
			if heading := "\n## " + k.since; !strings.Contains(string(changelog), heading) {
				t.Errorf("%s is since %s, and CHANGELOG.md has no section of that name", k.path, k.since)
			}
		}
	}
	for _, path := range first {
		if !slices.Contains(known, path) {
			t.Errorf("the key %s of 0.1.0 is gone", path)
		}
	}
}

// TestExamples reads the example of each key as the file has it.
func TestExamples(t *testing.T) {
	for _, section := range configKeys(t) {
		for _, k := range section.keys {
			if k.example == "" {
				continue
			}
			doc, errs := readYAML([]byte(k.example))
			if len(errs) > 0 {
				t.Errorf("%s: %s: %v", k.path, k.example, errs)
				continue
			}
			s, ok := scalarOf(k.field.Type)
			if !ok {
				continue
			}
			value, err := s.read(doc.tree[k.name])
			if err != nil {
				t.Errorf("%s: %s: %v", k.path, k.example, err)
			}
			if oneof := k.field.Tag.Get("oneof"); oneof != "" && !slices.Contains(strings.Split(oneof, "|"), fmt.Sprint(value)) {
				t.Errorf("%s: %s: it is none of %s", k.path, k.example, oneof)
			}
		}
	}
}

// TestConfigurationsOfPages loads each configuration in the pages: each YAML block that
// has one of the file's sections at its top. Missing clusters, listeners and bootstrap
// addresses are added.
func TestConfigurationsOfPages(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	whole := 0
	mine := filesOfPages(t)
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?sm)^```yaml\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
			if !regexp.MustCompile(`(?m)^(state_dir|clusters|limits|drain|reload|admin|telemetry|log):`).MatchString(block[1]) {
				continue
			}
			config := block[1]
			switch {
			case !strings.Contains(config, "clusters:"):
				config += oneListener
			case !strings.Contains(config, "listeners:"):
				config += "    listeners: {fred: {bind: 127.0.0.1:9092, nodes: {ports: 9100-9199}}}\n"
			case !strings.Contains(config, "bootstrap:"):
				config = strings.Replace(config, "    listeners:", "    bootstrap: [b0.internal:9092]\n    listeners:", 1)
			default:
				whole++
			}
			if _, errs := readConfig([]byte(mine.Replace(config))); len(errs) > 0 {
				t.Errorf("%s has a configuration with mistakes: %v\n%s", filepath.Base(page), errs, config)
			}
		}
	}
	if whole < 8 {
		t.Errorf("only %d whole configurations are in the pages", whole)
	}
}

// filesOfPages leads the paths that Validate opens to files of the test.
func filesOfPages(t *testing.T) *strings.Replacer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	host, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(
		"/home/me/.ssh/id_ed25519", write(t, string(pem.EncodeToMemory(block))),
		"/home/me/.ssh/known_hosts", write(t, "bastion.example.com "+string(ssh.MarshalAuthorizedKey(host))),
	)
}

// A pageSection is one table of docs/configuration.md, a pageKey one row of it.
type (
	pageSection struct {
		path string // clusters.NAME.tls; the top of the file has none
		doc  string
		list bool
		keys []pageKey
	}
	pageKey struct {
		field                reflect.StructField
		name, path, variable string
		example, since       string
	}
)

const firstVersion = "0.1.0"

// configKeys walks the types of keys.go, in their order.
func configKeys(t *testing.T) []pageSection {
	t.Helper()
	return walkKeys(t, pageSection{doc: "The keys at the top of the file."}, reflect.TypeFor[fileConfig](), keyPath{})
}

// walkKeys returns the section s of type of, and those below it. variables is the path by
// which its environment variables are named, or nil inside a list.
func walkKeys(t *testing.T, s pageSection, of reflect.Type, variables keyPath) []pageSection {
	t.Helper()
	var below []pageSection
	for _, f := range reflect.VisibleFields(of) {
		name := f.Tag.Get("key")
		k := pageKey{
			field: f, name: name, path: strings.TrimPrefix(s.path+"."+name, "."),
			example: exampleOf(t, f), since: cmp.Or(f.Tag.Get("since"), firstVersion),
		}
		var path keyPath
		if variables != nil {
			path = variables.key(name)
		}
		section := pageSection{path: k.path, doc: f.Tag.Get("doc")}
		switch kind := f.Type.Kind(); {
		case isSingle(f.Type):
			if path != nil {
				k.variable = path.variable()
			}
		case isMapOfValues(f.Type):
		case kind == reflect.Map:
			placeholder := "<" + strings.TrimSuffix(name, "s") + ">"
			section.path += ".NAME"
			below = append(below, walkKeys(t, section, f.Type.Elem(), path.key(placeholder))...)
		case kind == reflect.Slice:
			section.list = true
			below = append(below, walkKeys(t, section, f.Type.Elem(), nil)...)
		case kind == reflect.Pointer:
			below = append(below, walkKeys(t, section, f.Type.Elem(), path)...)
		default:
			below = append(below, walkKeys(t, section, f.Type, path)...)
		}
		s.keys = append(s.keys, k)
	}
	return append([]pageSection{s}, below...)
}

func isSingle(t reflect.Type) bool {
	_, ok := scalarOf(t)
	return ok
}

func isMapOfValues(t reflect.Type) bool {
	return t.Kind() == reflect.Map && t.Elem().Kind() != reflect.Struct
}

// exampleOf is a line of YAML with the key: the tag's example, or one of the values that the
// key may have, or the type's example. A section has only that of its tag.
func exampleOf(t *testing.T, f reflect.StructField) string {
	t.Helper()
	example := f.Tag.Get("example")
	s, single := scalarOf(f.Type)
	if example == "" && single {
		options := strings.Split(f.Tag.Get("oneof"), "|")
		example = cmp.Or(options[len(options)-1], f.Tag.Get("default"), s.example)
		if f.Type.Kind() == reflect.Bool && example == "true" && f.Tag.Get("default") == "true" {
			example = "false"
		}
	}
	if example == "" {
		return ""
	}
	line := f.Tag.Get("key") + ": " + example
	if f.Type.Kind() != reflect.String {
		return line
	}
	if doc, errs := readYAML([]byte(line)); len(errs) == 0 {
		if got, err := readText(doc.tree[f.Tag.Get("key")]); err == nil && got == example {
			return line
		}
	}
	return f.Tag.Get("key") + `: "` + example + `"`
}

// configurationPage is docs/configuration.md.
func configurationPage(sections []pageSection) string {
	var b strings.Builder
	b.WriteString(`# Configuration keys

Written by ` + "`make docs`" + ` from the code, not to be edited.

Each section of the file has a table here. ` + "`NAME`" + ` stands for the name of a cluster or a listener: a DNS label in lower
case. A duration has a unit (` + "`500ms`, `10s`, `1h`" + `). A range is ` + "`9100-9199`" + `, or one number. A path is relative to the
directory in which kproxy was started. An unknown key is an error.

**Environment variables** override the file. The name of the cluster or listener is part of the variable, in upper
case, with ` + "`_` for `-`" + `: ` + "`KPROXY_CLUSTERS_ORDERS_CONNECT_TIMEOUT=3s`" + `. A list is written with commas. An item of a
list of sections has no variable.

` + "`kproxy check --print-schema`" + ` prints the same keys as a JSON schema, for editors. ` + "`kproxy check --config FILE`" + `
finds mistakes ([check.md](check.md)). [README.md](README.md) has the pages by task.

`)
	for _, s := range sections {
		fmt.Fprintf(&b, "- [%s](#%s)\n", s.title(), s.anchor())
	}
	for _, s := range sections {
		fmt.Fprintf(&b, "\n<a id=%q></a>\n\n## %s\n\n%s\n\n", s.anchor(), s.title(), markdown(s.doc))
		b.WriteString("| key, environment variable | type | default | example | since | meaning |\n|---|---|---|---|---|---|\n")
		for _, k := range s.keys {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", k.heading(), k.kind(), k.byDefault(), code(k.example), k.since, k.meaning())
		}
	}
	return b.String()
}

func (s *pageSection) title() string {
	switch {
	case s.path == "":
		return "The file"
	case s.list:
		return "`" + s.path + "[]`"
	default:
		return "`" + s.path + "`"
	}
}

func (s *pageSection) anchor() string { return cmp.Or(anchorOf(s.path), "the-file") }

// anchorOf is the anchor of a key or a section: clusters-tls-ca for clusters.NAME.tls.ca.
func anchorOf(path string) string {
	return strings.ReplaceAll(strings.ReplaceAll(path, ".NAME", ""), ".", "-")
}

// isSection says whether the key has a table of its own.
func (k *pageKey) isSection() bool { return !isSingle(k.field.Type) && !isMapOfValues(k.field.Type) }

func (k *pageKey) heading() string {
	if k.isSection() {
		return fmt.Sprintf("[`%s`](#%s)", k.name, anchorOf(k.path))
	}
	heading := fmt.Sprintf("<a id=%q></a>`%s`", anchorOf(k.path), k.name)
	if k.variable != "" {
		heading += "<br>`" + k.variable + "`"
	}
	return heading
}

func (k *pageKey) kind() string {
	if oneof := k.field.Tag.Get("oneof"); oneof != "" {
		return "`" + strings.ReplaceAll(oneof, "|", "` or `") + "`"
	}
	switch k.field.Type {
	case reflect.TypeFor[string]():
		return "text"
	case reflect.TypeFor[bool]():
		return "true or false"
	case reflect.TypeFor[int]():
		return "whole number"
	case reflect.TypeFor[float64]():
		return "number"
	case reflect.TypeFor[int32](), reflect.TypeFor[*int32]():
		return "broker id"
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[config.Range]():
		return "range"
	case reflect.TypeFor[[]string]():
		return "list of texts"
	case reflect.TypeFor[map[int32]int]():
		return "map from broker id to whole number"
	case reflect.TypeFor[map[string]string]():
		return "map of texts"
	}
	switch k.field.Type.Kind() {
	case reflect.Map:
		return "sections by name"
	case reflect.Slice:
		return "list of sections"
	default:
		return "section"
	}
}

func (k *pageKey) byDefault() string {
	switch def := k.field.Tag.Get("default"); {
	case def != "":
		return code(def)
	case k.field.Tag.Get("schema") == "required":
		return "required"
	case k.field.Type.Kind() == reflect.Bool:
		return "`false`"
	default:
		return "none"
	}
}

func (k *pageKey) meaning() string {
	doc := markdown(k.field.Tag.Get("doc"))
	if least := k.field.Tag.Get("min"); least != "" {
		doc += " At least " + least + "."
	}
	return doc
}

// code is text as code, or a dash.
func code(text string) string {
	if text == "" {
		return "–"
	}
	return "`" + text + "`"
}

// markdown is text as Markdown, which would read * and < as markup.
func markdown(text string) string {
	return strings.NewReplacer("*", `\*`, "<", `\<`, "|", `\|`).Replace(text)
}
