//go:build e2e && linux

package packages

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"go.yaml.in/yaml/v4"

	"kproxy/e2e/lab"
)

// commit stands for the time of a commit.
var commit = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// The versions of the tests: one is installed, the other one takes over. No module that kproxy links
// has them, and they are of one length.
const older, newer = "98.76.1", "98.76.2"

// prepared builds both versions, and writes nfpm's configuration for each, once.
var prepared = sync.OnceValue(func() error {
	for _, version := range []string{older, newer} {
		if err := prepare(context.Background(), filepath.Join(work, version), version); err != nil {
			return err
		}
	}
	return nil
})

// packageOf makes a package of a version, and returns its file.
func packageOf(t *testing.T, version, format string) string {
	t.Helper()
	nfpm, err := lab.Tool(cmp.Or(os.Getenv("E2E_NFPM"), "nfpm"), "run make e2e-packages-quick, which builds it")
	if err != nil {
		t.Fatal(err)
	}
	root, err := lab.ModuleRoot()
	if err := errors.Join(err, prepared()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(work, version)
	file := filepath.Join(dir, "kproxy."+format)
	if _, err := os.Stat(file); err == nil {
		return file // of the test before
	}
	if err := command(t.Context(), root, nil, nfpm, "package", "--config", filepath.Join(dir, "nfpm.yaml"), "--packager", format, "--target", file); err != nil {
		t.Fatal(err)
	}
	return file
}

// prepare builds a version for this machine's processor, with all that its packages hold.
func prepare(ctx context.Context, dir, version string) error {
	root, err := lab.ModuleRoot()
	if err != nil {
		return err
	}
	program, err := programOf(ctx, dir, version)
	if err != nil {
		return err
	}
	files := filepath.Join(dir, "files")
	if err := command(ctx, root, []string{"KPROXY=" + program, "SOURCE_DATE_EPOCH=" + strconv.FormatInt(commit.Unix(), 10)}, "packaging/files", files, version); err != nil {
		return err
	}
	config, err := nfpmConfig(filepath.Join(root, ".goreleaser.yaml"), version, files, program)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "nfpm.yaml"), config, 0o600)
}

// programOf builds the program of a version. The newer one is the older one with another version in
// it: to link is most of the work.
func programOf(ctx context.Context, dir, version string) (string, error) {
	if version == older {
		return lab.BuildKproxy(ctx, dir, "-trimpath", "-ldflags", "-s -w -X main.version=v"+version)
	}
	content, err := os.ReadFile(filepath.Join(filepath.Dir(dir), older, "kproxy"))
	if err != nil {
		return "", err
	}
	if !bytes.Contains(content, []byte("v"+older)) {
		return "", errors.New("the program does not have its version")
	}
	program := filepath.Join(dir, "kproxy")
	return program, errors.Join(os.MkdirAll(dir, 0o755),
		os.WriteFile(program, bytes.ReplaceAll(content, []byte("v"+older), []byte("v"+newer)), 0o755))
}

func command(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(errors.New(cmd.String()), err, errors.New(string(out)))
	}
	return nil
}

// nfpmConfig returns the section nfpms of goreleaser's configuration as one of nfpm's. The keys of
// both are the same, but for a few; goreleaser adds the program.
func nfpmConfig(file, version, files, program string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var config struct {
		NFPMs []map[string]any `yaml:"nfpms"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil || len(config.NFPMs) != 1 {
		return nil, errors.Join(err, errors.New("want one item in nfpms"))
	}
	section := config.NFPMs[0]
	for _, key := range []string{"formats", "file_name_template", "bindir"} {
		delete(section, key)
	}
	overrides, ok := section["overrides"].(map[string]any)
	if !ok {
		return nil, errors.New("nfpms has no overrides")
	}
	for _, format := range overrides {
		if o, ok := format.(map[string]any); ok {
			o["depends"] = o["dependencies"]
			delete(o, "dependencies")
		}
	}
	section["name"], section["version"], section["arch"] = "kproxy", version, "amd64"
	contents, ok := section["contents"].([]any)
	if !ok {
		return nil, errors.New("nfpms has no contents")
	}
	section["contents"] = append(contents, map[string]any{"src": program, "dst": "/usr/bin/kproxy", "file_info": map[string]any{"mode": 0o755}})
	made, err := yaml.Marshal(section)
	if err != nil {
		return nil, err
	}
	expanded := new(strings.Builder)
	fields := map[string]string{"CommitDate": commit.Format(time.RFC3339)}
	functions := template.FuncMap{"envOrDefault": func(_, value string) string { return value }}
	t, err := template.New("").Funcs(functions).Parse(strings.ReplaceAll(string(made), ".cache/package", files))
	if err != nil {
		return nil, err
	}
	err = t.Execute(expanded, fields)
	return []byte(expanded.String()), err
}
