package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// minimalFile is a whole configuration in one line, for whoever has none.
const minimalFile = `clusters: {orders: {bootstrap: ["broker-1:9092"], listeners: {local: {bind: "127.0.0.1:9092", nodes: {ports: 9100-9199}}}}}`

// readYAML is the file's own shape. Viper lower-cases keys, forgets empty
// sections and reads one document of several, so what it has read can no longer
// be checked for any of these. yaml is the library that viper reads with.
func readYAML(data []byte) (map[string]any, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var tree any
	err := decoder.Decode(&tree)
	if bad, ok := errors.AsType[*yaml.TypeError](err); ok {
		var lines []error // such as: line 5: mapping key "bind" already defined at line 4
		for _, text := range bad.Errors {
			lines = append(lines, errors.New(text+"; correct that line"))
		}
		return nil, errors.Join(lines...)
	}
	switch {
	case errors.Is(err, io.EOF) || err == nil && tree == nil:
		return nil, errors.New("the file is empty; a minimal one is " + minimalFile)
	case err != nil:
		return nil, fmt.Errorf("not YAML: %s; correct it, or put quotes around a text that holds { or *", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file holds more than one YAML document; keep one")
	}
	keys, ok := asMap(tree)
	if !ok {
		return nil, fmt.Errorf("the file holds %s instead of keys; a minimal one is %s", describe(tree), minimalFile)
	}
	return keys, nil
}

// asMap is tree as a map, if it is one. YAML's keys need not be texts; here they
// are known by their text.
func asMap(tree any) (map[string]any, bool) {
	switch m := tree.(type) {
	case map[string]any:
		return m, true
	case map[any]any:
		texts := make(map[string]any, len(m))
		for key, value := range m {
			texts[fmt.Sprint(key)] = value
		}
		return texts, len(texts) == len(m)
	default:
		return nil, false
	}
}

// asText is the text of a scalar as it was written, or near enough: 1e3 becomes
// 1000.
func asText(value any) (string, bool) {
	switch value.(type) {
	case string, bool, int, int64, uint64, float64:
		return fmt.Sprint(value), true
	default:
		return "", false
	}
}

// describe names a value in an error.
func describe(value any) string {
	switch v := value.(type) {
	case nil:
		return "nothing"
	case string:
		return fmt.Sprintf("%q", v)
	case []any:
		return "a list"
	case map[string]any, map[any]any:
		return "a map"
	default:
		return fmt.Sprint(v)
	}
}
