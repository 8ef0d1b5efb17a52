//go:build e2e && linux

package chart

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The manifests and the notes of each values file are those in golden.
func TestGolden(t *testing.T) {
	t.Parallel()
	var want []string
	for _, name := range names(t) {
		want = append(want, name+".txt", name+".yaml")
		compare(t, name+".yaml", rendered(t, name))
		out, err := helm(t, "install", "edge", chart, "-n", "kafka", "--dry-run=client", "-f", filepath.Join(values, name+".yaml"))
		_, notes, ok := strings.Cut(out, "\nNOTES:\n")
		if err != nil || !ok {
			t.Fatalf("%s has no notes: %v", name, err)
		}
		compare(t, name+".txt", notes)
	}
	entries, err := os.ReadDir(golden)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !slices.Contains(want, entry.Name()) {
			t.Errorf("%s/%s belongs to no values file", golden, entry.Name())
		}
	}
}

// compare holds a golden file to a text, or writes it.
func compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join(golden, name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; if it should, run make e2e-chart FLAGS=-update, and read the difference.\n%s", file, got)
	}
}

// helm lint finds nothing, for each values file.
func TestLint(t *testing.T) {
	t.Parallel()
	for _, name := range names(t) {
		if out, err := helm(t, "lint", chart, "--strict", "-f", filepath.Join(values, name+".yaml")); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
