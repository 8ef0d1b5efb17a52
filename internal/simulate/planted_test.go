package simulate

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// Each planted fault can be planted: its patch applies to the sources as they are.
func TestPlantedPatchesApply(t *testing.T) {
	patches, err := filepath.Glob("planted/*.patch")
	if err != nil || len(patches) < 18 {
		t.Fatalf("found %d patches, %v", len(patches), err)
	}
	for _, patch := range patches {
		cmd := exec.CommandContext(t.Context(), "git", "apply", "--check", "-C1", filepath.Join("internal", "simulate", patch))
		cmd.Dir = filepath.Join("..", "..")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", patch, err, out)
		}
	}
}
