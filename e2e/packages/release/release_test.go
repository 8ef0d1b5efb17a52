//go:build e2e && linux

// Package release makes a release by goreleaser, twice, and looks at its files: they are the same
// bytes, their SBOMs have every module, their checksums are signed, their page is the CHANGELOG's, and
// the formula installs.
//
//	E2E_TARGETS=linux_amd64   one target in place of six, while one works on it
package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kproxy/e2e/lab"
)

const version = "0.1.0"

// made is a folder with a clone of this tree, of which goreleaser has made a release.
type made struct {
	dir string
	gpg string // the home of the test's key
}

func (m made) dist(name string) string { return filepath.Join(m.dir, "dist", name) }

func TestRelease(t *testing.T) {
	gpg := newKey(t)
	repository := source(t)
	a, b := release(t, repository, gpg), release(t, repository, gpg)
	t.Run("same bytes", func(t *testing.T) { sameBytes(t, a, b) })
	t.Run("SBOM", a.sbom)
	t.Run("checksums", a.checksums)
	t.Run("notes", a.notes)
	t.Run("formula", a.formula)
}

func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	out, err := output(t.Context(), dir, env, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func output(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = errors.Join(fmt.Errorf("%s: %w", cmd, err), errors.New(string(out)))
	}
	return string(out), err
}

// newKey makes a key for signatures, and returns its home.
func newKey(t *testing.T) string {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg-") //nolint:usetesting // short: the path of a socket has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = output(context.Background(), home, []string{"GNUPGHOME=" + home}, "gpgconf", "--kill", "all")
		_ = os.RemoveAll(home)
	})
	run(t, home, []string{"GNUPGHOME=" + home}, "gpg", "--batch", "--passphrase", "", "--quick-generate-key", "release@kproxy.invalid", "ed25519", "sign", "never")
	return home
}

// source commits the tree as it is, with a tag, in a repository of its own, and returns its folder.
func source(t *testing.T) string {
	t.Helper()
	root, err := lab.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for file := range strings.SplitSeq(strings.TrimRight(run(t, root, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00"), "\x00") {
		copyFile(t, filepath.Join(root, file), filepath.Join(dir, file))
	}
	if target := os.Getenv("E2E_TARGETS"); target != "" {
		system, processor, _ := strings.Cut(target, "_")
		replace(t, filepath.Join(dir, ".goreleaser.yaml"), "[linux, darwin, windows]", "["+system+"]", "[amd64, arm64]", "["+processor+"]")
	}
	env := []string{
		"GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z",
		"GIT_AUTHOR_NAME=e2e", "GIT_AUTHOR_EMAIL=e2e@kproxy.invalid", "GIT_COMMITTER_NAME=e2e", "GIT_COMMITTER_EMAIL=e2e@kproxy.invalid",
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"commit", "-q", "-m", "e2e"}, {"tag", "v" + version}} {
		run(t, dir, env, "git", args...)
	}
	return dir
}

// release clones a repository, and makes a release of it.
func release(t *testing.T, repository, gpg string) made {
	t.Helper()
	goreleaser, err := lab.Tool(os.Getenv("E2E_GORELEASER"), "run make reproducible, which builds it")
	if err != nil {
		t.Fatal(err)
	}
	m := made{filepath.Join(t.TempDir(), "clone"), gpg}
	run(t, repository, nil, "git", "clone", "-q", repository, m.dir)
	run(t, m.dir, nil, "git", "remote", "set-url", "origin", "https://kproxy.invalid/kproxy/kproxy.git")
	notes := run(t, m.dir, nil, "packaging/notes", version)
	file := filepath.Join(m.dir, ".cache", "notes.md")
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(notes), 0o600)); err != nil {
		t.Fatal(err)
	}
	run(t, m.dir, []string{"GNUPGHOME=" + gpg, "GPG_KEY=release@kproxy.invalid"}, goreleaser, "release", "--clean", "--skip=publish,announce", "--release-notes", file)
	return m
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return // removed, and not committed
	}
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(from)
	if err := errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, content, info.Mode())); err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, file string, pairs ...string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err := errors.Join(err, os.WriteFile(file, []byte(strings.NewReplacer(pairs...).Replace(string(content))), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// files are those that are published, by name, with their sums. Folders are goreleaser's own: one for each
// program, such as kproxy_darwin_arm64_v8.0.
func (m made) files(t *testing.T) map[string][sha256.Size]byte {
	t.Helper()
	sums := map[string][sha256.Size]byte{}
	for _, pattern := range []string{"kproxy_*.*", "kproxy-*.*", "SHA256SUMS", "homebrew/*"} {
		found, err := filepath.Glob(m.dist(pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range found {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if info.IsDir() {
				continue
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sums[strings.TrimPrefix(file, m.dist("")+"/")] = sha256.Sum256(content)
		}
	}
	return sums
}

func sameBytes(t *testing.T, a, b made) {
	t.Helper()
	one, other := a.files(t), b.files(t)
	want := 6*2 + 2*3 + 2 // an archive and an SBOM for each target, three packages for each of linux, sums, formula
	if os.Getenv("E2E_TARGETS") != "" {
		want = 7 // of linux, where all kinds of files are
	}
	if len(one) != want || len(other) != want {
		t.Errorf("got %d files, then %d; want %d", len(one), len(other), want)
	}
	for name, sum := range one {
		if other[name] != sum {
			t.Errorf("%s differs", name)
		}
	}
	t.Logf("%d files are the same", len(one))
}

// sbom compares the components of each SBOM with the modules that go version finds in the program.
func (m made) sbom(t *testing.T) {
	programs, err := filepath.Glob(m.dist("kproxy_*/kproxy*"))
	if err != nil || len(programs) == 0 {
		t.Fatalf("found %d programs, %v", len(programs), err)
	}
	for _, program := range programs {
		target := regexp.MustCompile(`kproxy_([a-z]+_[a-z0-9]+)`).FindStringSubmatch(filepath.Base(filepath.Dir(program)))[1]
		content, err := os.ReadFile(m.dist("kproxy_" + version + "_" + target + ".cdx.json"))
		if err != nil {
			t.Error(err)
			continue
		}
		var bom struct {
			Components []struct{ Name, Version string }
		}
		if err := json.Unmarshal(content, &bom); err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for _, c := range bom.Components {
			if c.Name != "std" { // the standard library is no module
				got = append(got, c.Name+" "+c.Version)
			}
		}
		for line := range strings.Lines(run(t, m.dir, nil, "go", "version", "-m", program)) {
			if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "dep" {
				want = append(want, fields[1]+" "+fields[2])
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if len(want) < 20 || !slices.Equal(got, want) {
			t.Errorf("%s: the SBOM has\n%q\ngo version has\n%q", target, got, want)
		}
		t.Logf("%s: %d modules", target, len(got))
	}
}

// checksums verifies the signature by the test's key, finds one that is changed, and checks each sum.
func (m made) checksums(t *testing.T) {
	env := []string{"GNUPGHOME=" + m.gpg}
	run(t, m.dist(""), env, "gpg", "--verify", "SHA256SUMS.asc", "SHA256SUMS")
	content, err := os.ReadFile(m.dist("SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	spoilt := filepath.Join(t.TempDir(), "SHA256SUMS")
	if err := os.WriteFile(spoilt, append(content, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := output(t.Context(), m.dist(""), env, "gpg", "--verify", "SHA256SUMS.asc", spoilt); err == nil {
		t.Errorf("the signature is good for other sums:\n%s", out)
	}
	run(t, m.dist(""), nil, "sha256sum", "--check", "--strict", "SHA256SUMS")
	for name := range m.files(t) {
		if file := filepath.Base(name); strings.HasPrefix(file, "kproxy") && !strings.HasSuffix(file, ".rb") && !bytes.Contains(content, []byte("  "+file+"\n")) {
			t.Errorf("SHA256SUMS has no %s", file)
		}
	}
}

// notes finds the section of CHANGELOG.md in the file that goreleaser got for the release's page.
func (m made) notes(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(m.dir, ".cache", "notes.md"))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(page); !strings.HasPrefix(text, "The first release.") || !strings.Contains(text, "**Fixed**") || strings.Contains(text, "## ") {
		t.Errorf("got\n%.300s", text)
	}
}

// brew stands in for Homebrew's formulas: it runs install in an unpacked archive, and puts files as
// Homebrew does.
const brew = `
require "fileutils"
class Place
  def initialize(dir) = @dir = dir
  def install(*all)
    FileUtils.mkdir_p(@dir)
    all.flatten.each do |from|
      from.is_a?(Hash) ? from.each { |f, to| FileUtils.cp(f, File.join(@dir, to)) } : FileUtils.cp_r(from, @dir)
    end
  end
end
class Formula
  def self.method_missing(*, **, &block) = nil
  def self.test = nil
  def self.on_linux = yield
  def self.on_macos = nil
  %w[bin man1 bash_completion zsh_completion fish_completion doc etc].each { |name| define_method(name) { Place.new(File.join(ENV["PREFIX"], name)) } }
end
module Hardware
  module CPU
    def self.method_missing(name, *) = %i[intel? is_64_bit?].include?(name)
  end
end
module OS
  def self.mac? = false
  def self.linux? = true
end
load ARGV[0]
Dir.chdir(ARGV[1]) { Kproxy.new.install }
`

// formula checks its syntax, and runs its install steps with the archive for this machine.
func (m made) formula(t *testing.T) {
	file := m.dist("homebrew/kproxy.rb")
	if got := run(t, m.dir, nil, "ruby", "-c", file); got != "Syntax OK\n" {
		t.Errorf("ruby -c: %s", got)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	archive := "kproxy_" + version + "_linux_amd64.tar.gz"
	sum := m.files(t)[archive]
	if !strings.Contains(string(text), fmt.Sprintf("%x", sum)) {
		t.Errorf("the formula has no sum of %s:\n%s", archive, text)
	}
	dir, prefix, script := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "brew.rb")
	run(t, dir, nil, "tar", "--extract", "--strip-components=1", "--file", m.dist(archive))
	if err := os.WriteFile(script, []byte(brew), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, dir, []string{"PREFIX=" + prefix}, "ruby", script, file, dir)
	for _, name := range []string{"bin/kproxy", "man1/kproxy.1.gz", "bash_completion/kproxy", "zsh_completion/_kproxy", "fish_completion/kproxy.fish", "doc/install.md", "doc/configs/vpc-edge.yaml", "doc/configs/systemd/kproxy.service", "doc/configs/prometheus/kproxy.rules.yaml", "doc/configs/grafana/kproxy-fleet.json"} {
		if _, err := os.Stat(filepath.Join(prefix, name)); err != nil {
			t.Error(err)
		}
	}
	if got := run(t, dir, nil, filepath.Join(prefix, "bin/kproxy"), "version"); !strings.HasPrefix(got, "kproxy v"+version+"\n") {
		t.Errorf("version: got %s", got)
	}
}
