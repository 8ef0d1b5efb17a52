package files

import (
	"os"
	"path/filepath"
	"testing"
)

// A file that was just written never counts as unchanged. One that was written long ago
// does, until anything about it changes, even if its times are set back.
func TestLook(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	look := func() State {
		s, err := Look(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	later := func(s State) State {
		s.at = s.at.Add(2 * settleTime)
		return s
	}
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	young := look()
	if look().Same(young) || later(look()).Same(young) {
		t.Error("a file that was just written may be written again within the same step of its clock")
	}
	old := later(young)
	if !later(look()).Same(old) {
		t.Error("a file that has not changed is taken for another")
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	for look().stamp == old.stamp { // until the clock of the file system has advanced
		write("new")
		if err := os.Chtimes(file, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	if later(look()).Same(old) {
		t.Error("a file of the same size and time of modification is taken for the one before")
	}
}
