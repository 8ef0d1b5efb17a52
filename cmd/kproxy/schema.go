package main

import (
	"encoding/json"
	"io"
	"reflect"
	"strconv"
	"strings"

	"kproxy/proxy/config"
)

// printSchema writes the JSON Schema of the configuration file, for editors
// that check and complete YAML. It is made from the types in keys.go.
func printSchema(w io.Writer) error {
	schema := sectionSchema(reflect.TypeFor[fileConfig](), nil)
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "kproxy configuration"
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(schema)
}

// sectionSchema describes a struct. path is nil inside lists, whose keys have no
// variables.
func sectionSchema(t reflect.Type, path keyPath) map[string]any {
	properties := map[string]any{}
	var required []string
	for _, f := range reflect.VisibleFields(t) {
		key := f.Tag.Get("key")
		var below keyPath
		if path != nil || t == reflect.TypeFor[fileConfig]() {
			below = path.key(key)
		}
		properties[key] = fieldSchema(f, below)
		if f.Tag.Get("schema") == "required" {
			required = append(required, key)
		}
	}
	schema := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if required != nil {
		schema["required"] = required
	}
	return schema
}

func fieldSchema(f reflect.StructField, path keyPath) map[string]any {
	description := f.Tag.Get("doc")
	schema, isScalar := scalarSchema(f)
	switch {
	case isScalar && path != nil:
		description += " Environment: " + path.variable() + "."
	case isScalar:
	case f.Type == reflect.TypeFor[map[int32]int]():
		schema = map[string]any{
			"type": "object", "propertyNames": map[string]any{"pattern": "^[0-9]+$"},
			"additionalProperties": map[string]any{"type": "integer"},
		}
	case f.Type == reflect.TypeFor[map[string]string]():
		schema = map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}}
	case f.Type.Kind() == reflect.Map:
		// The name of a cluster or listener is part of the variable.
		name := "<" + strings.TrimSuffix(f.Tag.Get("key"), "s") + ">"
		schema = map[string]any{
			"type": "object", "propertyNames": map[string]any{"pattern": config.NamePattern},
			"additionalProperties": sectionSchema(f.Type.Elem(), path.key(name)),
		}
	case f.Type.Kind() == reflect.Slice:
		schema = map[string]any{"type": "array", "items": sectionSchema(f.Type.Elem(), nil)}
	case f.Type.Kind() == reflect.Pointer:
		schema = sectionSchema(f.Type.Elem(), path)
	default:
		schema = sectionSchema(f.Type, path)
	}
	schema["description"] = description
	return schema
}

// scalarSchema describes a key with a single value, by its type and its tags.
func scalarSchema(f reflect.StructField) (schema map[string]any, ok bool) {
	s, ok := scalarOf(f.Type)
	if !ok {
		return nil, false
	}
	schema = s.schema // made anew by every scalarOf
	if oneof := f.Tag.Get("oneof"); oneof != "" {
		schema["enum"] = strings.Split(oneof, "|")
	}
	if def := f.Tag.Get("default"); def != "" {
		schema["default"] = schemaValue(def, schema)
	}
	if example := f.Tag.Get("example"); example != "" && schema["type"] == "string" {
		schema["examples"] = []string{example}
	}
	if least := f.Tag.Get("min"); least != "" && schema["type"] == "integer" {
		schema["minimum"] = schemaValue(least, schema)
	}
	return schema, true
}

// schemaValue is a tag's text as the schema's type.
func schemaValue(text string, schema map[string]any) any {
	if n, err := strconv.Atoi(text); err == nil && schema["type"] == "integer" {
		return n
	}
	if x, err := parseFloat(text); err == nil && schema["type"] == "number" {
		return x
	}
	return text
}
