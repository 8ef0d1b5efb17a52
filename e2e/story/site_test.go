//go:build e2e

// Package story runs the compose files of configs/compose: BOB, FRED and ALICE as containers, with a real
// Kafka, kproxy beside it, and kcat inside and outside.
package story

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/image"
	"kproxy/e2e/lab"
)

// site is a machine with containers: a network namespace in which ports are published.
type site struct {
	dir, root string
	kproxy    string // the program
	place     *lab.Namespace
	podman    *lab.Podman
}

func newSite(t *testing.T) *site {
	t.Helper()
	root, err := lab.ModuleRoot()
	check(t, err)
	s := &site{dir: t.TempDir(), root: root, kproxy: filepath.Join(t.TempDir(), "kproxy")}
	s.place, err = lab.NewNamespace("kp-story")
	check(t, err)
	t.Cleanup(s.place.Close)
	check(t, s.place.Hosts(nil))
	// No name server: other names than localhost do not exist.
	check(t, os.WriteFile(filepath.Join("/etc/netns", s.place.Name, "nsswitch.conf"), []byte("hosts: files\n"), 0o600))
	s.podman, err = lab.NewPodman(lab.PodmanConfig{Dir: s.dir, Driver: "overlay", Place: s.place})
	check(t, err)
	t.Cleanup(func() {
		if err := s.podman.Close(); err != nil {
			t.Error(err)
		}
	})
	check(t, image.Build(t.Context(), s.kproxy, "kproxy/cmd/kproxy"))
	check(t, s.makeImages(t.Context()))
	return s
}

// front is a program that reads compose files.
type front struct {
	name string
	// command is `docker compose` with arguments, or another program's.
	command func(ctx context.Context, args ...string) (*exec.Cmd, error)
}

// podmanCompose is podman-compose.
func (s *site) podmanCompose(t *testing.T) front {
	t.Helper()
	python, err := lab.Python(t.Context(), "requirements.txt")
	check(t, err)
	bin := t.TempDir()
	return front{"podman-compose", func(ctx context.Context, args ...string) (*exec.Cmd, error) {
		return s.podman.Program(ctx, bin, python, append([]string{filepath.Join(filepath.Dir(python), "podman-compose")}, args...)...)
	}}
}

// dockerCompose is the docker client with its plugin, and podman in place of Docker's daemon.
func (s *site) dockerCompose(t *testing.T) front {
	t.Helper()
	docker, err := lab.Tool("docker", "the docker client, with compose")
	check(t, err)
	socket := filepath.Join(s.dir, "podman.sock")
	serve, err := s.podman.Serve(t.Context(), socket, filepath.Join(s.dir, "service.log"))
	check(t, err)
	t.Cleanup(serve.Kill)
	return front{"docker compose", func(ctx context.Context, args ...string) (*exec.Cmd, error) {
		cmd := exec.CommandContext(ctx, docker, append([]string{"compose"}, args...)...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+socket)
		return cmd, nil
	}}
}

// try runs a command of the front with compose files of configs/compose, or of other places.
func (s *site) try(ctx context.Context, f front, files []string, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	var all []string
	for _, file := range files {
		if !filepath.IsAbs(file) {
			file = filepath.Join(s.root, "configs/compose", file)
		}
		all = append(all, "-f", file)
	}
	cmd, err := f.command(ctx, append(all, args...)...)
	if err != nil {
		return "", err
	}
	cmd.Dir = s.dir // no .env file is there
	return output(cmd, stdin)
}

func output(cmd *exec.Cmd, stdin string) (string, error) {
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = 5 * time.Second // a monitor of a container may have the pipe
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return string(out), err
}

// onHost runs a program beside the containers, where only localhost resolves.
func (s *site) onHost(ctx context.Context, stdin, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := s.place.Command(exec.CommandContext(ctx, program, args...))
	return output(cmd, stdin)
}

// up starts the containers, and waits until the broker and kproxy respond on the host.
func (s *site) up(t *testing.T, f front, files []string, ready ...string) {
	t.Helper()
	if out, err := s.try(t.Context(), f, files, "", "up", "--detach"); err != nil {
		t.Fatalf("%s up: %v\n%s", f.name, err, out)
	}
	check(t, s.pinBridges(t.Context()))
	for _, address := range ready {
		if err := lab.Poll(t.Context(), 3*time.Minute, func() error {
			out, err := s.onHost(t.Context(), "", "kcat", "-L", "-m", "5", "-b", address)
			if err != nil {
				return fmt.Errorf("kcat -L -b %s: %w: %s", address, err, out)
			}
			return nil
		}); err != nil {
			out, _ := s.podman.Try(context.Background(), nil, "ps", "--all")
			logs, _ := s.try(context.Background(), f, files, "", "logs")
			t.Fatalf("%v\n%s%s", err, out, logs)
		}
	}
}

// pinBridges fixes the hardware addresses of the networks' bridges. Otherwise a bridge takes the lowest one of its
// containers. It changes when a container starts or ends, and the others send to the address of before, for many
// seconds: podman's name server, which is at the bridge, does not get their queries. Docker fixes it too.
func (s *site) pinBridges(ctx context.Context) error {
	out, err := s.place.Command(exec.CommandContext(ctx, "ip", "-o", "link", "show", "type", "bridge")).Output()
	if err != nil {
		return err
	}
	for _, bridge := range regexp.MustCompile(`(?m)^\d+: ([^:@]+).* link/ether (\S+)`).FindAllStringSubmatch(string(out), -1) {
		if err := s.place.Run("ip", "link", "set", "dev", bridge[1], "address", bridge[2]); err != nil {
			return err
		}
	}
	return nil
}

// log is kproxy's.
func (s *site) log(f front, files []string) string {
	out, err := s.try(context.Background(), f, files, "", "logs", "kproxy")
	if err != nil {
		return fmt.Sprint(err)
	}
	return out
}

func (s *site) down(t *testing.T, f front, files []string) {
	t.Helper()
	if out, err := s.try(context.Background(), f, files, "", "down", "--timeout", "2"); err != nil {
		t.Errorf("%s down: %v\n%s", f.name, err, out)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
