//go:build e2e

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// cacheDir is git-ignored.
const cacheDir = ".cache"

// jars is a directory with the dependencies of a pom. They are resolved once
// for each content of the pom; later runs need no network.
func jars(ctx context.Context, pom string) (string, error) {
	content, err := os.ReadFile(pom)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	dir, err := filepath.Abs(filepath.Join(cacheDir, "jars-"+hex.EncodeToString(sum[:6])))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return dir, resolveJars(ctx, pom, dir)
	} else if err != nil {
		return "", err
	}
	return dir, nil
}

// resolveJars fills dir. It appears by rename: a run that was cut short leaves
// no half-filled cache behind, and of two runs at once the first one counts.
func resolveJars(ctx context.Context, pom, dir string) error {
	mvn, err := tool("mvn", "Maven, to resolve Kafka's jars (Debian: apt-get install maven)")
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

	out, err := outputOf(command(ctx, mvn, "-B", "-q", "-f", pom, "dependency:copy-dependencies",
		"-DoutputDirectory="+tmp))
	if err != nil {
		return fmt.Errorf("mvn -f %s dependency:copy-dependencies: %w\n%s", pom, err, out)
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// tool finds a program. Its absence fails the run: a skipped end-to-end test
// would look like one that passed.
func tool(name, install string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is not installed: %s", name, install)
	}
	return path, nil
}
