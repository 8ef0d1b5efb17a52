//go:build e2e && linux

package packages

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestAPK reads the package as apk does: streams of gzip, of which each is a part of one tar file. No
// apk is here to install it.
func TestAPK(t *testing.T) {
	files, modes := readAPK(t, packageOf(t, older, "apk"))
	for name, want := range map[string]int64{
		"usr/bin/kproxy": 0o755, "etc/kproxy/kproxy.yaml": 0o640, "usr/lib/systemd/system/kproxy.service": 0o644,
		"usr/share/zsh/site-functions/_kproxy": 0o644, "usr/share/man/man1/kproxy-serve.1.gz": 0o644,
		"usr/share/kproxy/prometheus/kproxy.rules.yaml": 0o644, "usr/share/kproxy/grafana/kproxy-fleet.json": 0o644, "usr/share/kproxy/grafana/kproxy-cluster.json": 0o644,
	} {
		if got, ok := modes[name]; !ok || got != want {
			t.Errorf("%s: got %o, %t, want %o", name, got, ok, want)
		}
	}
	for _, line := range []string{"pkgname = kproxy", "pkgver = " + older, "arch = x86_64", "license = Apache-2.0"} {
		if !strings.Contains(files[".PKGINFO"], line+"\n") {
			t.Errorf(".PKGINFO has no line %s:\n%s", line, files[".PKGINFO"])
		}
	}
	for _, script := range []string{".pre-install", ".post-install", ".pre-upgrade", ".post-upgrade", ".pre-deinstall", ".post-deinstall"} {
		text, ok := files[script]
		if !ok {
			t.Errorf("there is no %s", script)
			continue
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-n")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
}

// readAPK returns the texts of the files at the top, and the mode of every file.
func readAPK(t *testing.T, file string) (texts map[string]string, modes map[string]int64) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	texts, modes = map[string]string{}, map[string]int64{}
	in := bufio.NewReader(f)
	zip, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	parts := 0
	for ; err == nil; err = zip.Reset(in) {
		zip.Multistream(false)
		parts++
		readTar(t, zip, texts, modes)
	}
	if !errors.Is(err, io.EOF) || parts != 2 {
		t.Fatalf("read %d streams, then %v; want 2", parts, err)
	}
	return texts, modes
}

func readTar(t *testing.T, in io.Reader, texts map[string]string, modes map[string]int64) {
	t.Helper()
	archive := tar.NewReader(in)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // the first part has no end mark
			_, _ = io.Copy(io.Discard, in)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		modes[h.Name] = h.Mode
		if !strings.Contains(h.Name, "/") {
			text, err := io.ReadAll(archive)
			if err != nil {
				t.Fatal(err)
			}
			texts[h.Name] = string(text)
		}
	}
}
