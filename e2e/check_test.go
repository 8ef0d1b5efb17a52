//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kproxy/e2e/lab"
)

// liveFinding is a finding of check --live.
type liveFinding struct {
	Level, Key, Kind, Says string
	Node                   *int32
}

// checkLive runs check --live beside a kproxy that runs, with a configuration.
func checkLive(t *testing.T, yaml string) (code int, findings []liveFinding) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kproxy.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := lab.Command(t.Context(), shared.kproxy, "check", "--config", file, "--live", "--json").Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		code = failed.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	var report struct{ Findings []liveFinding }
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
	return code, report.Findings
}

// TestCheckLive checks the configuration of a kproxy that runs: it has no fault, each broker
// identifies itself directly and through each listener. A change that breaks a way is named.
func TestCheckLive(t *testing.T) {
	p := startKproxy(t, shared.kafka.byAddress())
	code, findings := checkLive(t, p.yaml)
	served := 0
	for _, f := range findings {
		if f.Level != "ok" {
			t.Errorf("%+v", f)
		}
		if f.Kind == "served" {
			served++
		}
	}
	if code != 0 || served != len(p.listeners) {
		t.Errorf("exit code %d, %d listeners are served, want %d: %+v", code, served, len(p.listeners), findings)
	}

	crossed := fmt.Sprintf("dial:\n      - {node: 1, to: %q}\n      - {node: 2, to: %q}", shared.kafka.client(2), shared.kafka.client(1))
	for _, tt := range []struct {
		name, from, to string
		want           []string // faults: key, kind and node
	}{
		{"dial rules lead crosswise", "dial:", crossed, []string{"clusters.story.dial[0] another_node 1", "clusters.story.dial[1] another_node 2"}},
		{"a node is outside the ranges", "first_node: 1", "first_node: 2", []string{"nodes.ports outside_range 1", "nodes.slots outside_range 1"}},
		{"brokers that are not admitted", "connect_timeout: 5s", `connect_timeout: 5s` + "\n    brokers: [nowhere:1]", nil}, // a dial rule leads there
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, findings := checkLive(t, strings.ReplaceAll(p.yaml, tt.from, tt.to))
			var faults []string
			for _, f := range findings {
				if f.Level == "fault" && f.Node != nil {
					faults = append(faults, fmt.Sprintf("%s %s %d", f.Key, f.Kind, *f.Node))
				}
			}
			for _, want := range tt.want {
				if !slices.ContainsFunc(faults, func(got string) bool { return strings.HasSuffix(got, want) }) {
					t.Errorf("got %q, want %q", faults, want)
				}
			}
			if wantCode := min(len(tt.want), 1); code != wantCode {
				t.Errorf("exit code %d, want %d: %+v", code, wantCode, findings)
			}
		})
	}
}
