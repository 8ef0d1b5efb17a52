package main

import (
	"fmt"
	"io"
	"log/slog"
)

// maxLogged is the most characters of a text in a log line. Many texts come from peers,
// and some of them have megabytes. It is enough for the errors of a few brokers in one
// line, and for the fields of a PROXY header.
const maxLogged = 1000

// bounded cuts a text, or an error's text, to maxLogged characters. Both handlers
// quote texts by themselves.
func bounded(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(cut(a.Value.String()))
	case slog.KindAny:
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(cut(err.Error()))
		}
	default:
	}
	return a
}

// cut returns text, or its beginning and how much is missing.
func cut(text string) string {
	if len(text) <= maxLogged {
		return text
	}
	n := 0
	for i := range text {
		if n == maxLogged {
			return fmt.Sprintf("%s… (%d bytes more)", text[:i], len(text)-i)
		}
		n++
	}
	return text
}

// newLogger writes log lines to w by the settings in keys, whose values loadConfig has
// checked.
func newLogger(w io.Writer, keys logKeys) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(keys.Level)); err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: bounded}
	if keys.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}
