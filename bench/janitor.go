//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"kproxy/e2e/lab"
)

// janitor removes the leftovers of a suite, however it ends. It receives the names
// beforehand, and begins when its input ends, which a SIGKILL of the suite causes too.
// Processes need none, they die with us; namespaces, cgroups and directories do.
type janitor struct {
	mu  sync.Mutex // guards in
	in  io.WriteCloser
	cmd *exec.Cmd
}

// The kinds of leftovers. The last one announced is removed first.
const (
	leftDir       = "dir"
	leftNamespace = "netns"
	leftCgroup    = "cgroup"
)

// startJanitor starts it in a process group of its own, and without a death
// signal: it has to outlive us.
func startJanitor(self string) (*janitor, error) {
	cmd := exec.CommandContext(context.Background(), self, "janitor")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &janitor{in: in, cmd: cmd}, cmd.Start()
}

// owe announces a leftover to be removed.
func (j *janitor) owe(what, name string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := fmt.Fprintf(j.in, "%s %s\n", what, name); err != nil {
		return fmt.Errorf("tell the janitor: %w", err)
	}
	return nil
}

// close lets it begin, and waits until it is done.
func (j *janitor) close() error {
	_ = j.in.Close()
	return j.cmd.Wait()
}

func serveJanitor(_ context.Context, in io.Reader, _ io.Writer) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE) // its input says when
	var owed [][2]string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		what, name, _ := strings.Cut(lines.Text(), " ")
		owed = append(owed, [2]string{what, name})
	}
	for _, o := range slices.Backward(owed) {
		remove(o[0], o[1])
	}
	return lines.Err()
}

func remove(what, name string) {
	switch what {
	case leftNamespace:
		lab.RemoveNamespace(name)
	case leftCgroup:
		removeCgroup(name)
	case leftDir:
		// Only leftovers of the suite are removed, whatever the line says.
		if strings.HasPrefix(filepath.Base(name), dirPrefix) {
			_ = os.RemoveAll(name)
		}
	}
}

const dirPrefix = "kproxy-bench-"
