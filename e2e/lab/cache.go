//go:build linux

package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Cached is a directory that install fills, once for each content of a file. A run that was
// cut short leaves one that is filled anew.
func Cached(file string, install func(dir string) error) (string, error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	file, err = filepath.Abs(file)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	dir := filepath.Join(root, cacheDir, filepath.Base(filepath.Dir(file))+"-"+hex.EncodeToString(sum[:6]))
	done := filepath.Join(dir, "installed")
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	// A virtual environment knows its own path, so it is made where it stays.
	if err := errors.Join(os.RemoveAll(dir), install(dir)); err != nil {
		return "", err
	}
	return dir, os.WriteFile(done, nil, 0o600)
}

// Python is the interpreter of a virtual environment with the packages of a
// requirements.txt.
func Python(ctx context.Context, requirements string) (string, error) {
	const install = "Python (Debian: apt-get install python3-venv)"
	python, err := Tool("python3", install)
	if err != nil {
		return "", err
	}
	dir, err := Cached(requirements, func(dir string) error {
		if out, err := Output(Command(ctx, python, "-m", "venv", dir)); err != nil {
			return fmt.Errorf("%s: %w\n%s", install, err, out)
		}
		out, err := Output(Command(ctx, filepath.Join(dir, "bin", "python"), "-m", "pip", "install",
			"--quiet", "--disable-pip-version-check", "-r", requirements))
		if err != nil {
			return fmt.Errorf("pip install -r %s: %w\n%s", requirements, err, out)
		}
		return nil
	})
	return filepath.Join(dir, "bin", "python"), err
}
