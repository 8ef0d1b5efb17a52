//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// TestDemoSuggestions runs the commands that kproxy demo suggests, as they are printed,
// in a shell. top gets --json: the shell has no terminal.
func TestDemoSuggestions(t *testing.T) {
	demo, err := lab.StartProcess("kproxy demo", filepath.Join(t.TempDir(), "log"), lab.Command(context.Background(), shared.kproxy, "demo"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := demo.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
	})
	var suggested [][]string
	eventually(t, time.Minute, func() error {
		if err := demo.Alive(); err != nil {
			return lab.Permanent(err)
		}
		said, err := os.ReadFile(demo.LogPath)
		if err != nil {
			return lab.Permanent(err)
		}
		suggested = regexp.MustCompile(`(?m)^  (kcat .*|kproxy .*)$`).FindAllStringSubmatch(string(said), -1)
		if len(suggested) < 4 {
			return fmt.Errorf("it suggests %q so far", suggested)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	kproxy := filepath.Dir(shared.kproxy)
	for i, want := range []string{`(?m)^ 3 brokers:$`, `(?s)(demo record \d+\n.*){5}`, `(?m)^cluster demo: up`, `"name": "demo"`} {
		line := strings.Replace(suggested[i][1], "kproxy top ", "kproxy top --json ", 1)
		command := lab.Command(ctx, "sh", "-c", line)
		command.Env = append(command.Environ(), "PATH="+kproxy+":"+os.Getenv("PATH"))
		out, err := lab.Output(command)
		if err != nil || !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s: %v, want %s:\n%s", suggested[i][1], err, want, out)
		}
		if strings.HasPrefix(suggested[i][1], "kcat ") && strings.Contains(out, "compute.internal") {
			t.Errorf("%s shows a broker's own name:\n%s", suggested[i][1], out)
		}
	}
}
