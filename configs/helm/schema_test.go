package helm

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

// The chart's schema is testdata/values.schema.json with the parts of kproxy's own schema that it
// names, so that helm refuses an unknown key of kproxy before anything is installed.
func TestSchema(t *testing.T) {
	var own, kproxy any
	unmarshal(t, read(t, "testdata/values.schema.json"), &own)
	unmarshal(t, read(t, "../../cmd/kproxy/testdata/schema.json"), &kproxy)
	s := schema{t: t, kproxy: kproxy}
	text, err := json.MarshalIndent(s.expand(own), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if s.parts < 5 {
		t.Errorf("%d parts of kproxy's schema were found", s.parts)
	}
	golden(t, "kproxy/values.schema.json", string(text)+"\n")
}

// Every key of values.yaml is in the schema, and every key of the schema in values.yaml, as far as
// they are the chart's own.
func TestSchemaHasTheValues(t *testing.T) {
	var root map[string]any
	unmarshal(t, read(t, "kproxy/values.schema.json"), &root)
	properties := root["properties"].(map[string]any)
	var inValues []string
	for _, k := range valueKeys(t, read(t, "kproxy/values.yaml")) {
		top, _, _ := strings.Cut(k.path, ".")
		inValues = append(inValues, top)
		at := any(root)
		for name := range strings.SplitSeq(k.path, ".") {
			next, ok := at.(map[string]any)["properties"].(map[string]any)[name]
			if !ok {
				t.Errorf("the schema has no %s", k.path)
				break
			}
			at = next
		}
	}
	inValues = slices.Compact(slices.Sorted(slices.Values(inValues)))
	inSchema := slices.Sorted(maps.Keys(properties))
	inSchema = slices.DeleteFunc(inSchema, func(name string) bool { return name == "global" }) // helm's own
	if !slices.Equal(inValues, inSchema) {
		t.Errorf("values.yaml has %q, the schema has %q", inValues, inSchema)
	}
}

// The schema requires each section, because a null takes it out and the templates read its keys. They do not read
// those of log and resources.
func TestSchemaRequiresSections(t *testing.T) {
	var root map[string]any
	unmarshal(t, read(t, "kproxy/values.schema.json"), &root)
	sections := map[string]bool{}
	for _, k := range valueKeys(t, read(t, "kproxy/values.yaml")) {
		for path := k.path; strings.Contains(path, "."); {
			path = path[:strings.LastIndex(path, ".")]
			sections[path] = true
		}
	}
	if len(sections) < 18 {
		t.Errorf("values.yaml has the sections %q", slices.Sorted(maps.Keys(sections)))
	}
	for path := range sections {
		if path == "log" || path == "resources" || strings.HasPrefix(path, "resources.") {
			continue
		}
		at, names := root, strings.Split(path, ".")
		for _, name := range names[:len(names)-1] {
			at = at["properties"].(map[string]any)[name].(map[string]any)
		}
		required, _ := at["required"].([]any)
		if !slices.Contains(required, any(names[len(names)-1])) {
			t.Errorf("the schema does not require %s", path)
		}
	}
}

// schema puts parts of kproxy's schema into another one.
type schema struct {
	t      *testing.T
	kproxy any
	parts  int
}

// expand replaces {"$kproxy": POINTER, "without": [NAME…], "with": {NAME: SCHEMA}, "description": TEXT} by
// the part of kproxy's schema, with other properties. Sections whose keys the chart fills in require none. Rules for
// names are left out: helm reports them at another key, and templates/_validate*.tpl have them with a fix.
func (s *schema) expand(tree any) any {
	switch tree := tree.(type) {
	case []any:
		for i := range tree {
			tree[i] = s.expand(tree[i])
		}
	case map[string]any:
		if pointer, ok := tree["$kproxy"].(string); ok {
			return s.part(pointer, tree)
		}
		delete(tree, "propertyNames")
		for name := range tree {
			tree[name] = s.expand(tree[name])
		}
	}
	return tree
}

func (s *schema) part(pointer string, how map[string]any) any {
	s.t.Helper()
	s.parts++
	at := s.kproxy
	for name := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		next, ok := at.(map[string]any)[name]
		if !ok {
			s.t.Fatalf("kproxy's schema has no %s", pointer)
		}
		at = next
	}
	part := s.expand(deepClone(s.t, at)).(map[string]any)
	properties, _ := part["properties"].(map[string]any)
	if without, ok := how["without"].([]any); ok {
		for _, name := range without {
			delete(properties, name.(string))
		}
		delete(part, "required")
	}
	if with, ok := how["with"].(map[string]any); ok {
		for name, tree := range with {
			properties[name] = s.expand(tree)
		}
	}
	for _, name := range []string{"required", "description"} {
		if value, ok := how[name]; ok {
			part[name] = value
		}
	}
	return part
}

func deepClone(t *testing.T, tree any) any {
	t.Helper()
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	var clone any
	unmarshal(t, string(text), &clone)
	return clone
}

func unmarshal(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}
