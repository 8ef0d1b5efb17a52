package main

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"time"

	"kproxy/proxy/config"
)

// scalar is a type whose value fits in one text, and so in an environment
// variable.
type scalar struct {
	what    string // its name in errors
	example string
	// read makes a value of the type from that of YAML, or of a variable.
	read   func(value any) (any, error)
	schema map[string]any // JSON schema
}

// errNotScalar says that a value is a list or a map.
var errNotScalar = errors.New("not a single value")

// itemError says that an item of a list is not a single value.
type itemError struct{ item int }

func (*itemError) Error() string { return errNotScalar.Error() }

// scalarOf returns the reader of a type; not ok: the type is a section, or holds some.
func scalarOf(t reflect.Type) (s scalar, ok bool) {
	switch t {
	case reflect.TypeFor[string]():
		return scalar{"a text", "text", readText, map[string]any{"type": "string"}}, true
	case reflect.TypeFor[bool]():
		return scalar{"true or false", "true", fromText(strconv.ParseBool), map[string]any{"type": "boolean"}}, true
	case reflect.TypeFor[int]():
		return scalar{"a whole number", "1", fromText(strconv.Atoi), map[string]any{"type": "integer"}}, true
	case reflect.TypeFor[float64]():
		return scalar{"a number", "0.1", fromText(parseFloat), map[string]any{"type": "number"}}, true
	case reflect.TypeFor[int32](), reflect.TypeFor[*int32]():
		return scalar{"a broker id", "0", fromText(parseInt32), map[string]any{"type": "integer"}}, true
	case reflect.TypeFor[time.Duration]():
		return scalar{"a duration with its unit", "10s", fromText(time.ParseDuration), map[string]any{
			"type": "string", "pattern": durationPattern,
		}}, true
	case reflect.TypeFor[config.Range]():
		return scalar{"a range", "9100-9199", fromText(parseRange), map[string]any{
			"type": []string{"string", "integer"}, "pattern": `^[0-9]+(-[0-9]+)?$`,
		}}, true
	case reflect.TypeFor[[]string]():
		return scalar{"a list of texts", "[a, b]", readList, map[string]any{
			"type": "array", "items": map[string]any{"type": "string"},
		}}, true
	default:
		return scalar{}, false
	}
}

// durationPattern is the syntax of time.ParseDuration without a minus sign.
const durationPattern = `^\+?(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`

// fromText reads a value by its text, so that the file and a variable are read alike: a
// number in quotes is a number.
func fromText[T any](parse func(string) (T, error)) func(any) (any, error) {
	return func(value any) (any, error) {
		text, ok := asText(value)
		if !ok {
			return nil, errNotScalar
		}
		return parse(text)
	}
}

// readText reads a text. A number without quotes is a text as written: 0123 keeps its
// zero.
func readText(value any) (any, error) {
	text, ok := asWritten(value)
	if !ok {
		return nil, errNotScalar
	}
	return text, nil
}

func parseInt32(text string) (int32, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	return int32(n), err
}

func parseFloat(text string) (float64, error) { return strconv.ParseFloat(text, 64) }

// parseRange reads 9100-9199, or 9100 alone. Validate checks whether it can be a range of
// ports or slots. Only 0 alone is refused here, because a Range of 0 is absent.
func parseRange(text string) (config.Range, error) {
	first, last, ok := strings.Cut(text, "-")
	if !ok {
		last = first
	}
	low, lowErr := strconv.ParseUint(first, 10, 31)
	high, highErr := strconv.ParseUint(last, 10, 31)
	if err := errors.Join(lowErr, highErr); err != nil {
		return config.Range{}, err
	}
	if low == 0 && high == 0 {
		return config.Range{}, errors.New("0 alone is no range")
	}
	return config.Range{First: int(low), Last: int(high)}, nil
}

// readList reads a list of single values, or one text with commas: a,b,c.
func readList(value any) (any, error) {
	items, ok := value.([]any)
	if !ok {
		text, ok := asWritten(value)
		if !ok {
			return nil, errNotScalar
		}
		for item := range strings.SplitSeq(text, ",") {
			items = append(items, strings.TrimSpace(item))
		}
	}
	list := make([]string, len(items))
	for i, item := range items {
		if list[i], ok = asWritten(item); !ok {
			return nil, &itemError{i}
		}
	}
	return list, nil
}
