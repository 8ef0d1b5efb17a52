package main

import (
	"bytes"
	"io"
	"log"
	"testing"
)

// No library writes to stderr past kproxy's own log.
func TestLibrariesAreSilent(t *testing.T) {
	run([]string{"version"}, new(bytes.Buffer), new(bytes.Buffer))
	if log.Writer() != io.Discard { //nolint:forbidigo // the libraries' logger
		t.Error("package log writes to stderr")
	}
}
