//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Podman is podman with images, containers and networks of its own. Its owner must Close it.
type Podman struct {
	program string
	flags   []string
	env     []string
	place   *Namespace
}

// PodmanConfig configures a Podman.
type PodmanConfig struct {
	Dir    string     // of all its files
	Driver string     // of its storage: vfs works on every file system, overlay shares the files of an image
	Place  *Namespace // where it makes networks and publishes ports; nil: the network of the caller
}

// NewPodman finds podman, and writes its configuration.
func NewPodman(config PodmanConfig) (*Podman, error) {
	program, err := Tool("podman", "podman (Debian: apt-get install podman runc catatonit)")
	if err != nil {
		return nil, err
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return nil, err
	}
	conf := filepath.Join(config.Dir, "containers.conf")
	// podman's own limits may be above those of this process, which then cannot set them. crun does not know
	// every layout of cgroups.
	if err := os.WriteFile(conf, fmt.Appendf(nil, `
[containers]
default_ulimits = ["nofile=%d:%[1]d", "nproc=1000:1000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_config_dir = %q
`, min(files.Max, 20000), filepath.Join(config.Dir, "networks")), 0o600); err != nil {
		return nil, err
	}
	return &Podman{
		program: program,
		place:   config.Place,
		flags: []string{
			"--storage-driver", config.Driver, "--root", filepath.Join(config.Dir, "root"),
			"--runroot", filepath.Join(config.Dir, "run"), "--tmpdir", filepath.Join(config.Dir, "tmp"),
		},
		// Health checks need systemd's timers. podman fails if DOCKER_CONFIG is a directory without its file.
		env: append(os.Environ(), "CONTAINERS_CONF="+conf, "DISABLE_HC_SYSTEMD=true", "DOCKER_CONFIG="),
	}, nil
}

// Command is a command of podman.
func (p *Podman) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.program, slices.Concat(p.flags, args)...)
	cmd.Env = p.env
	return p.enter(cmd)
}

// Serve runs podman's API at a socket, for the docker client. Its owner must Kill it.
func (p *Podman) Serve(ctx context.Context, socket, log string) (*Process, error) {
	cmd := p.Command(ctx, "system", "service", "--time=0", "unix://"+socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	serve, err := StartProcess("podman system service", log, cmd)
	if err != nil {
		return nil, err
	}
	if err := Poll(ctx, time.Minute, func() error {
		if err := serve.Alive(); err != nil {
			return Permanent(err)
		}
		_, err := os.Stat(socket)
		return err
	}); err != nil {
		serve.Kill()
		return nil, err
	}
	return serve, nil
}

// enter makes a command run in the network. `ip netns exec` would mount another /sys over the one that
// has the cgroups.
func (p *Podman) enter(cmd *exec.Cmd) *exec.Cmd {
	if p.place == nil {
		return cmd
	}
	cmd.Args = append([]string{"nsenter", "--net=/run/netns/" + p.place.Name, cmd.Path}, cmd.Args[1:]...)
	path, err := exec.LookPath("nsenter")
	cmd.Path, cmd.Err = path, err
	return cmd
}

// Program is a command of another program, such as podman-compose, that finds this podman first in its
// PATH. dir is for the script that it finds.
func (p *Podman) Program(ctx context.Context, dir, program string, args ...string) (*exec.Cmd, error) {
	script := "#!/bin/sh\nexec " + p.program + " " + strings.Join(p.flags, " ") + ` "$@"` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "podman"), []byte(script), 0o700); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(slices.Clone(p.env), "PATH="+dir+":"+os.Getenv("PATH"))
	return p.enter(cmd), nil
}

// Try runs podman, and returns the output of podman and of the container.
func (p *Podman) Try(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := p.Command(ctx, args...)
	cmd.Stdin = stdin
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Close removes containers and networks.
func (p *Podman) Close() error {
	out, err := p.Try(context.Background(), nil, "rm", "--all", "--force", "--time", "0")
	pruned, failed := p.Try(context.Background(), nil, "network", "prune", "--force")
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("podman: %w: %s%s", err, out, pruned)
	}
	return nil
}
