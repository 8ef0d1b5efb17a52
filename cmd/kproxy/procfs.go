package main

import (
	"log/slog"
	"os"
	"runtime"

	"kproxy/internal/logkey"
)

// missProc logs the functions that kproxy lacks where /proc is hidden, as some sandboxes have it.
func missProc(logger *slog.Logger, file string) {
	if runtime.GOOS != "linux" {
		return
	}
	if _, err := os.Stat(file); err != nil {
		logger.Warn("there is no /proc: no metrics of the process, no hand-over, and a socket lets only 128 connections wait to be accepted",
			slog.Any(logkey.Error, err), slog.String(logkey.Fix, "mount /proc for kproxy"))
	}
}
