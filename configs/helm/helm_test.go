// Package helm holds the chart of configs/helm/kproxy to kproxy, by tests that need Go alone:
// its schema has kproxy's own keys, its README the comments of values.yaml, and its alerts and dashboards
// are copies of those for Prometheus and Grafana. Package e2e/chart renders it.
package helm

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write values.schema.json, README.md and files of the chart")

// golden compares a file with the text that it should have, or writes it.
func golden(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, file); got != want {
		t.Errorf("%s differs from its sources; run go test ./configs/helm -update", file)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
