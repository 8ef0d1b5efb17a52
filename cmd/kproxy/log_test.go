package main

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// A level for a time ends by itself, and when the configured level changes, but not when it is read
// again.
func TestLevelForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings, err := newLogSettings(logKeys{Level: "warn", Format: "text"})
		if err != nil {
			t.Fatal(err)
		}
		level := func(want string, lasts time.Duration) {
			t.Helper()
			got, until := settings.Level()
			if got != want || until.IsZero() != (lasts == 0) || lasts > 0 && time.Until(until) != lasts {
				t.Errorf("level %s until %v, want %s for %v", got, until, want, lasts)
			}
		}
		level("warn", 0)
		if settings.SetLevel("loud", time.Hour) || settings.SetLevel("INFO+1", time.Hour) {
			t.Error("a level that there is not")
		}
		if !settings.SetLevel("debug", time.Hour) {
			t.Error("debug is no level")
		}
		level("debug", time.Hour)
		settings.SetLevel("error", time.Minute)
		<-time.After(30 * time.Second)
		level("error", 30*time.Second)
		if err := settings.set(logKeys{Level: "warn", Format: "json"}); err != nil {
			t.Fatal(err)
		}
		level("error", 30*time.Second)
		<-time.After(31 * time.Second)
		synctest.Wait()
		level("warn", 0)
		settings.SetLevel("debug", time.Minute)
		if err := settings.set(logKeys{Level: "info", Format: "json"}); err != nil {
			t.Fatal(err)
		}
		level("info", 0)
		<-time.After(time.Hour)
		synctest.Wait()
		level("info", 0)
	})
}
