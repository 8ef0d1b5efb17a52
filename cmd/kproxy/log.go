package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kproxy/internal/events"
	"kproxy/internal/logkey"
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

// logLevels are the values of log.level.
var logLevels = []string{"debug", "info", "warn", "error"}

// logSettings are the level and the format of a log. They may change while it is used.
type logSettings struct {
	level  slog.LevelVar
	json   atomic.Bool
	events events.Ring // the lines of a kproxy that serves, from info on

	mu         sync.Mutex // guards the following
	configured slog.Level
	until      time.Time   // when the configured level is back; zero: it is that one
	back       *time.Timer // nil: it is that one
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
	s.json.Store(keys.Format == "json")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.back != nil && level == s.configured {
		return nil // a level for a time stays
	}
	s.configured = level
	s.restore()
	return nil
}

// levelControl is the log's level for the API. Each change is a line of the log, so that none goes unseen.
type levelControl struct {
	*logSettings

	log *slog.Logger
}

// SetLevel implements api.Levels.
func (c levelControl) SetLevel(name string, lasts time.Duration) bool {
	if !c.logSettings.SetLevel(name, lasts) {
		return false
	}
	c.log.Warn("the level of the log is changed for a time", slog.String(logkey.LogLevel, name), slog.Duration(logkey.Duration, lasts))
	return true
}

// restore brings the configured level back. The caller holds mu.
func (s *logSettings) restore() {
	if s.back != nil {
		s.back.Stop()
	}
	s.back, s.until = nil, time.Time{}
	s.level.Set(s.configured)
}

// Level implements api.Levels.
func (s *logSettings) Level() (level string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.ToLower(s.level.Level().String()), s.until
}

// SetLevel implements api.Levels. A level that changes in the configuration ends it.
func (s *logSettings) SetLevel(name string, lasts time.Duration) bool {
	var level slog.Level
	if !slices.Contains(logLevels, name) || level.UnmarshalText([]byte(name)) != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restore()
	s.level.Set(level)
	s.until = time.Now().Add(lasts)
	var back *time.Timer
	back = time.AfterFunc(lasts, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.back == back { // else it was changed again meanwhile
			s.restore()
		}
	})
	s.back = back
	return true
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

// newServingLogger is newLogger for a kproxy that serves: it keeps the lines as events, too.
func newServingLogger(w io.Writer, settings *logSettings) *slog.Logger {
	return slog.New(settings.events.Handler(newLogHandler(w, &settings.level, settings)))
}

// newFixedLogger writes log lines to w by the settings in keys.
func newFixedLogger(w io.Writer, keys logKeys) (*slog.Logger, error) {
	settings, err := newLogSettings(keys)
	if err != nil {
		return nil, err
	}
	return newLogger(w, settings), nil
}
