//go:build linux

package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// BuildKproxy builds the usual binary, unless E2E_KPROXY names one. E2E_RACE=1 adds the
// race detector, whose report makes the exit code other than 0. flags are more of `go
// build`'s.
func BuildKproxy(ctx context.Context, dir string, flags ...string) (string, error) {
	if binary := os.Getenv("E2E_KPROXY"); binary != "" && len(flags) == 0 {
		return filepath.Abs(binary)
	}
	binary := filepath.Join(dir, "kproxy")
	args := append([]string{"build", "-o", binary}, flags...)
	if os.Getenv("E2E_RACE") == "1" {
		args = append(args, "-race")
	}
	goTool, err := Tool("go", "the Go toolchain, to build kproxy")
	if err != nil {
		return "", err
	}
	out, err := Output(Command(ctx, goTool, append(args, "kproxy/cmd/kproxy")...))
	if err != nil {
		return "", fmt.Errorf("go build ./cmd/kproxy: %w\n%s", err, out)
	}
	return binary, nil
}

// StartKproxy runs `kproxy serve` in a network with this configuration; its files
// are in dir.
func StartKproxy(ctx context.Context, binary, dir string, place *Namespace, config string) (*Process, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "kproxy.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	return StartProcess("kproxy", filepath.Join(dir, "kproxy.log"),
		place.Command(Command(ctx, binary, "serve", "--config", file)))
}
