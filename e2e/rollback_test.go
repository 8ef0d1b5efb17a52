//go:build e2e && handovers

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// overflowing is a listener whose range has none of the brokers: their slots are in the state file alone.
func (s *succession) overflowing() string {
	return s.yaml() + fmt.Sprintf("      small: {bind: 127.0.0.1:%d, nodes: {ports: %d-%d, first_node: 100}}\n", s.ports.spare, s.ports.spare+1, s.ports.spare+6)
}

func (s *succession) stateFile() string {
	return filepath.Join(string(s.files), "state", "story.json")
}

// slots are those of the listener small in the state file.
func (s *succession) slots() (map[int32]int, error) {
	var state struct {
		Nodes    []any
		Overflow map[string]map[int32]int
	}
	b, err := os.ReadFile(s.stateFile())
	if err == nil {
		err = json.Unmarshal(b, &state)
	}
	small := state.Overflow["small"]
	if err == nil && (len(small) != brokerCount || len(state.Nodes) != brokerCount) {
		err = fmt.Errorf("%d nodes, and the slots %v, want %d of each", len(state.Nodes), small, brokerCount)
	}
	return small, err
}

// remembered returns how often a kproxy has read all brokers from its state file, and fails the test if one
// could not.
func (s *succession) remembered(t *testing.T, logPath string) (times int) {
	t.Helper()
	if aside := linesWith(logPath, "set aside"); aside != "" {
		t.Errorf("a state file was not read: %s", aside)
	}
	return strings.Count(linesWith(logPath, "brokers remembered"), fmt.Sprintf(`"nodes":%d,`, brokerCount))
}

// TestRollBack hands over from this kproxy to an older one, and back. Each reads the state file of the
// other, and so does the older one after a restart, also if the file has a field that it does not know.
func TestRollBack(t *testing.T) {
	old := oldKproxy(t, os.Getenv("E2E_OLD"))
	s := startSuccession(t)
	s.write(t, s.overflowing())
	for range 2 { // the second has the slots of the new listener written
		s.handOver(t)
	}
	first, err := s.slots()
	if err != nil {
		t.Fatal(err)
	}
	before := s.remembered(t, s.proc.LogPath)
	for i, program := range []string{old, shared.kproxy, old} {
		s.use(t, program)
		s.handOver(t)
		if got := s.remembered(t, s.proc.LogPath); got != before+i+1 {
			t.Errorf("hand-over %d: %d processes have read the brokers, want %d", i, got, before+i+1)
		}
		if got, err := s.slots(); err != nil || !maps.Equal(got, first) {
			t.Errorf("hand-over %d: got the slots %v, %v, want %v", i, got, err, first)
		}
	}

	pid := s.pid
	eventually(t, 30*time.Second, func() error {
		if runs(pid) {
			_ = syscall.Kill(pid, syscall.SIGTERM) // again: without the delay
			return errors.New("it runs")
		}
		return nil
	})
	b, err := os.ReadFile(s.stateFile())
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.Replace(string(b), "{", "{\n  \"of_a_later_release\": {\"a\": [1]},", 1)
	if err := os.WriteFile(s.stateFile(), []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	proc, err := lab.StartKproxy(context.Background(), old, filepath.Join(string(s.files), "old"), nil, s.overflowing())
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Kill()
	eventually(t, 30*time.Second, func() error {
		if s.remembered(t, proc.LogPath) != 1 {
			return errors.New("the state file was not read")
		}
		return nil
	})
	if got, err := s.slots(); err != nil || !maps.Equal(got, first) {
		t.Errorf("after a restart: got the slots %v, %v, want %v", got, err, first)
	}
}
