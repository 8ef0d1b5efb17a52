//go:build e2e

// Package container runs kproxy in containers of podman, where no process can take the place of another.
package container

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

const (
	image  = "localhost/kproxy:e2e"
	token  = "correct-horse-battery-staple"
	config = `
clusters: {orders: {bootstrap: ["127.0.0.1:1"], listeners: {fred: {bind: "127.0.0.1:9092", nodes: {ports: 9100}}}}}
admin: {bind: "127.0.0.1:9400", token_file: /token}
log: {format: json}
`
)

// podman fails the test if podman fails.
type podman struct{ *lab.Podman }

func newPodman(t *testing.T) podman {
	t.Helper()
	// Other drivers than vfs need a file system that has them.
	p, err := lab.NewPodman(lab.PodmanConfig{Dir: t.TempDir(), Driver: "vfs"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return podman{p}
}

func (p podman) run(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	out, err := p.Try(t.Context(), bytes.NewReader(stdin), args...)
	if err != nil {
		t.Fatalf("podman %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// files is an archive of the container's files.
func files(t *testing.T) []byte {
	t.Helper()
	t.Setenv("CGO_ENABLED", "0") // there is no libc
	program, err := lab.BuildKproxy(t.Context(), t.TempDir(), "-trimpath", "-ldflags=-s -w")
	if err != nil {
		t.Fatal(err)
	}
	kproxy, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range []struct {
		name    string
		content []byte
		mode    int64
	}{{"kproxy", kproxy, 0o755}, {"kproxy.yaml", []byte(config), 0o600}, {"token", []byte(token), 0o600}} {
		err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content))})
		if _, written := w.Write(f.content); errors.Join(err, written) != nil {
			t.Fatal(errors.Join(err, written))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// A container ends with its first process, so that a hand-over would end the new process too. kproxy
// refuses it, says how containers are upgraded, and serves on: as the first process, behind an init, and
// with the processes of the machine, where its parent is podman's monitor.
func TestHandOverIsRefused(t *testing.T) {
	p := newPodman(t)
	p.run(t, files(t), "import", "-", image)
	for name, tt := range map[string]struct {
		flags []string
		why   string
	}{
		"first": {nil, "kproxy is the first process of a container, which ends with it"},
		"init":  {[]string{"--init"}, "process 1 is podman-init, which ends the container with kproxy"},
		"host":  {[]string{"--pid", "host"}, "conmon runs kproxy in a container, which ends with it"},
	} {
		args := append([]string{"run", "--detach", "--name", name, "--network", "none"}, tt.flags...)
		p.run(t, nil, append(args, image, "/kproxy", "serve", "--config", "/kproxy.yaml")...)
		logged := func(text string, times int) {
			t.Helper()
			if err := lab.Poll(t.Context(), 30*time.Second, func() error {
				if log := p.run(t, nil, "logs", name); strings.Count(log, text) < times {
					return fmt.Errorf("the log does not have %q %d times: %s", text, times, log)
				}
				return nil
			}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		logged(`"msg":"serving"`, 1)
		const fix = "start a new container and then stop this one: kubectl rollout restart"
		out, err := p.Try(t.Context(), nil, "exec", name, "/kproxy", "upgrade", "--token-file", "/token")
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(out, tt.why) || !strings.Contains(out, fix) {
			t.Errorf("%s: got %v: %s", name, err, out)
		}
		p.run(t, nil, "kill", "--signal", "USR2", name)
		logged(tt.why, 2)
		if got := p.run(t, nil, "inspect", "--format", "{{.State.Running}}", name); strings.TrimSpace(got) != "true" {
			t.Errorf("%s: running: %s", name, got)
		}
	}
}
