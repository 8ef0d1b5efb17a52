//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cgroup is a memory cgroup of one target. It counts the kernel's memory for its
// processes: sockets, pipes, the descriptors of both. A nil cgroup counts nothing.
type cgroup struct {
	dir    string
	usages []string // files whose sum is the memory
}

// Where cgroups are mounted: version 1 has a directory for memory, version 2 one
// for everything.
const (
	cgroupV1 = "/sys/fs/cgroup/memory"
	cgroupV2 = "/sys/fs/cgroup"
)

// newCgroup makes one below our own. It needs root, or a cgroup that was
// delegated to us.
func newCgroup(j *janitor, name string) (*cgroup, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	parent, files := cgroupParent(string(own), func(dir string) bool { _, err := os.Stat(dir); return err == nil })
	if parent == "" {
		return nil, errors.New("no memory controller is mounted")
	}
	g := &cgroup{dir: filepath.Join(parent, dirPrefix+strconv.Itoa(os.Getpid())+"-"+name), usages: files}
	if err := j.owe(leftCgroup, g.dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(g.dir, files[0])); err != nil {
		removeCgroup(g.dir)
		return nil, errors.New("the memory controller is not delegated to us")
	}
	return g, nil
}

// cgroupParent finds our own memory cgroup in /proc/self/cgroup.
func cgroupParent(own string, exists func(string) bool) (dir string, files []string) {
	for line := range strings.Lines(own) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[1] == "memory" && exists(cgroupV1+parts[2]) {
			return cgroupV1 + parts[2], []string{"memory.usage_in_bytes", "memory.kmem.tcp.usage_in_bytes"}
		}
		if parts[1] == "" && exists(cgroupV2+parts[2]+"/memory.current") {
			dir, files = cgroupV2+parts[2], []string{"memory.current"}
		}
	}
	return dir, files
}

// take moves processes in. Memory that they hold already stays counted in the old cgroup,
// so read differences.
func (g *cgroup) take(pids ...int) error {
	if g == nil {
		return nil
	}
	var errs []error
	for _, pid := range pids {
		errs = append(errs, os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600))
	}
	return errors.Join(errs...)
}

// usage is the memory in bytes, the kernel's included; -1 where it is not counted.
func (g *cgroup) usage() int64 {
	if g == nil {
		return -1
	}
	var sum int64
	for _, file := range g.usages {
		b, err := os.ReadFile(filepath.Join(g.dir, file))
		if err != nil {
			continue
		}
		n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		sum += n
	}
	return sum
}

func (g *cgroup) close() {
	if g != nil {
		removeCgroup(g.dir)
	}
}

// removeCgroup waits a moment for processes that have been killed to be gone.
func removeCgroup(dir string) {
	for range 20 {
		if err := os.Remove(dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
}
