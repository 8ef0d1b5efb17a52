//go:build linux

package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// cacheDir is git-ignored. It is below the root of the module.
const cacheDir = "e2e/.cache"

// Jars is a directory with the dependencies of a pom. They are resolved once
// for each content of the pom; later runs need no network.
func Jars(ctx context.Context, pom []byte) (string, error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(pom)
	dir := filepath.Join(root, cacheDir, "jars-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return dir, resolveJars(ctx, pom, dir)
	} else if err != nil {
		return "", err
	}
	return dir, nil
}

// resolveJars fills dir. It appears by rename: a run that was cut short leaves
// no half-filled cache behind, and of two runs at once the first one counts.
func resolveJars(ctx context.Context, pom []byte, dir string) error {
	mvn, err := Tool("mvn", "Maven, to resolve Kafka's jars (Debian: apt-get install maven)")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "resolving-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)

	file := filepath.Join(tmp, "pom.xml")
	if err := os.WriteFile(file, pom, 0o600); err != nil {
		return err
	}
	out, err := Output(Command(ctx, mvn, "-B", "-q", "-f", file, "dependency:copy-dependencies",
		"-DoutputDirectory="+tmp))
	if err != nil {
		return fmt.Errorf("mvn dependency:copy-dependencies of\n%s: %w\n%s", pom, err, out)
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// ModuleRoot is the directory of kproxy's go.mod.
var ModuleRoot = sync.OnceValues(func() (string, error) {
	out, err := Output(Command(context.Background(), "go", "list", "-m", "-f", "{{.Dir}}"))
	if err != nil {
		return "", fmt.Errorf("go list -m: %w\n%s", err, out)
	}
	return strings.TrimSpace(out), nil
})

// Tool finds a program. Its absence fails the run: a skipped end-to-end test
// would look like one that passed.
func Tool(name, install string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is not installed: %s", name, install)
	}
	return path, nil
}
