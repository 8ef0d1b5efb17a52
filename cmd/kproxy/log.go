package main

import (
	"fmt"
	"io"
	"log/slog"
)

// newLogger writes log lines to w as keys say, whose values loadConfig has
// checked.
func newLogger(w io.Writer, keys logKeys) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(keys.Level)); err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	options := &slog.HandlerOptions{Level: level}
	if keys.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}
