package main

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"kproxy/internal/logkey"
)

func TestLogger(t *testing.T) {
	tests := []struct {
		keys logKeys
		want string // a regular expression for all that is written
	}{
		{logKeys{Level: "warn", Format: "text"}, `^time=\S+ level=WARN msg=two node=2\n$`},
		{logKeys{Level: "info", Format: "json"}, `^{"time":"[^"]+","level":"INFO","msg":"one","node":1}\n{"time":"[^"]+","level":"WARN","msg":"two","node":2}\n$`},
	}
	for _, tt := range tests {
		var got strings.Builder
		logger, err := newFixedLogger(&got, tt.keys)
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

// A change of the settings applies to loggers that exist, with their keys and groups.
func TestLogSettingsChange(t *testing.T) {
	settings, err := newLogSettings(logKeys{Level: "info", Format: "text"})
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	logger := newLogger(&got, settings).With(slog.Int(logkey.Node, 1)).WithGroup("g")
	logger.Debug("left out")
	logger.Info("one", slog.Int(logkey.Attempt, 2))
	for _, keys := range []logKeys{{Level: "debug", Format: "json"}, {Level: "error", Format: "text"}} {
		if err := settings.set(keys); err != nil {
			t.Fatal(err)
		}
		logger.Debug("two")
		logger.Error("three", slog.Int(logkey.Attempt, 3))
	}
	want := `^time=\S+ level=INFO msg=one node=1 g.attempt=2
{"time":"[^"]+","level":"DEBUG","msg":"two","node":1}
{"time":"[^"]+","level":"ERROR","msg":"three","node":1,"g":{"attempt":3}}
time=\S+ level=ERROR msg=three node=1 g.attempt=3
$`
	if !regexp.MustCompile(want).MatchString(got.String()) {
		t.Errorf("got %s, want %s", got.String(), want)
	}
	if settings.set(logKeys{Level: "loud"}) == nil {
		t.Error("an unknown level is accepted")
	}
}
