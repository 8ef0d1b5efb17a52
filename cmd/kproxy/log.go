package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
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

// logSettings are the level and the format of a log. They may change while it is used.
type logSettings struct {
	level slog.LevelVar
	json  atomic.Bool
}

// newLogSettings returns the settings in keys, whose values loadConfig has checked.
func newLogSettings(keys logKeys) (*logSettings, error) {
	s := &logSettings{}
	return s, s.set(keys)
}

func (s *logSettings) set(keys logKeys) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(keys.Level)); err != nil {
		return fmt.Errorf("log.level: %w", err)
	}
	s.level.Set(level)
	s.json.Store(keys.Format == "json")
	return nil
}

// logHandler writes lines in the present format of its settings.
type logHandler struct {
	level      slog.Leveler
	settings   *logSettings
	text, json slog.Handler
}

// newLogHandler returns a handler for lines of at least a level.
func newLogHandler(w io.Writer, level slog.Leveler, settings *logSettings) *logHandler {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: bounded}
	return &logHandler{level, settings, slog.NewTextHandler(w, options), slog.NewJSONHandler(w, options)}
}

// Enabled implements slog.Handler.
func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

// Handle implements slog.Handler.
func (h *logHandler) Handle(ctx context.Context, line slog.Record) error {
	if h.settings.json.Load() {
		return h.json.Handle(ctx, line)
	}
	return h.text.Handle(ctx, line)
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.level, h.settings, h.text.WithAttrs(attrs), h.json.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.level, h.settings, h.text.WithGroup(name), h.json.WithGroup(name)}
}

// newLogger writes log lines to w by settings.
func newLogger(w io.Writer, settings *logSettings) *slog.Logger {
	return slog.New(newLogHandler(w, &settings.level, settings))
}

// newFixedLogger writes log lines to w by the settings in keys.
func newFixedLogger(w io.Writer, keys logKeys) (*slog.Logger, error) {
	settings, err := newLogSettings(keys)
	if err != nil {
		return nil, err
	}
	return newLogger(w, settings), nil
}
