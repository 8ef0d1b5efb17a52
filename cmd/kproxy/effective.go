package main

import (
	"fmt"
	"reflect"

	"kproxy/internal/api"
	"kproxy/internal/foreign"
)

// effective returns the value of every key that has one, in the order of keys.go, without secrets, and
// where it comes from. It reads the file's content again: a large one would take much memory.
func (s *settings) effective() []api.Setting {
	again, errs := readConfig(s.source)
	if len(errs) > 0 {
		return nil // it was valid when it was applied
	}
	e := effective{again, nil}
	e.section(nil, reflect.ValueOf(again.keys).Elem())
	return e.all
}

type effective struct {
	from *settings
	all  []api.Setting
}

func (e *effective) section(path keyPath, section reflect.Value) {
	for i, f := range reflect.VisibleFields(section.Type()) {
		e.field(path.key(f.Tag.Get("key")), f, section.Field(i))
	}
}

func (e *effective) field(path keyPath, f reflect.StructField, v reflect.Value) {
	if _, ok := scalarOf(f.Type); ok {
		if _, hasDefault := f.Tag.Lookup("default"); hasDefault || !isEmpty(v) {
			e.add(path, withoutSecrets(textOf(v)))
		}
		return
	}
	switch v.Kind() {
	case reflect.Map:
		for _, key := range sortedKeys(v, v) {
			name, value := path.key(fmt.Sprint(key)), v.MapIndex(key)
			if value.Kind() == reflect.Struct {
				e.section(name, value)
			} else {
				e.add(name, withoutSecrets(textOf(value)))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			e.section(path.item(i), v.Index(i))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			e.section(path, v.Elem())
		}
	default:
		if hasDefaults(f.Type) || flowOf(v) != noKeys {
			e.section(path, v)
		}
	}
}

func (e *effective) add(path keyPath, value string) {
	s := api.Setting{Key: path.String(), Value: foreign.LineOf(value, maxShown), From: api.FromDefault}
	if variable, ok := e.from.values.overrides[s.Key]; ok {
		s.From, s.Variable = api.FromEnvironment, variable
	} else if at, found := e.from.document.at(s.Key); found {
		s.From, s.Line = api.FromFile, at.line
	}
	e.all = append(e.all, s)
}
