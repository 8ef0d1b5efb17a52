package main

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
)

func TestMissProc(t *testing.T) {
	for file, says := range map[string]bool{"/proc/self/stat": false, filepath.Join(t.TempDir(), "stat"): true} {
		var out bytes.Buffer
		if missProc(slog.New(slog.NewTextHandler(&out, nil)), file); strings.Contains(out.String(), "there is no /proc") != says {
			t.Errorf("%s: %q", file, &out)
		}
	}
}
