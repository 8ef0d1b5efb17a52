package main

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"kproxy/internal/logkey"
)

func TestNewLogger(t *testing.T) {
	tests := []struct {
		keys logKeys
		want string // a regular expression for all that is written
	}{
		{logKeys{Level: "warn", Format: "text"}, `^time=\S+ level=WARN msg=two node=2\n$`},
		{logKeys{Level: "info", Format: "json"}, `^{"time":"[^"]+","level":"INFO","msg":"one","node":1}\n{"time":"[^"]+","level":"WARN","msg":"two","node":2}\n$`},
	}
	for _, tt := range tests {
		var got strings.Builder
		logger, err := newLogger(&got, tt.keys)
		if err != nil {
			t.Fatal(err)
		}
		logger.Info("one", slog.Int(logkey.Node, 1))
		logger.Warn("two", slog.Int(logkey.Node, 2))
		if !regexp.MustCompile(tt.want).MatchString(got.String()) {
			t.Errorf("%+v: got %q, want %s", tt.keys, got.String(), tt.want)
		}
	}
}
