//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"kproxy/e2e/lab"
	"kproxy/e2e/sockhash"
)

// agent puts every TCP socket of the campaign into an eBPF sockhash: those of the brokers, of
// kproxy, and of all clients. So do agents that observe or secure a machine. They attach their
// program to a cgroup; that of the campaign is its own, and has every process that it starts.
type agent struct {
	hash     *sockhash.Hash
	follower *sockhash.Follower
	parent   string // the cgroup of this process before
	cgroup   string
}

// startAgent moves this process into a cgroup of its own. Processes that it has started before stay.
func startAgent() (a *agent, err error) {
	a = &agent{}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if a.parent, err = ownCgroup(); err != nil {
		return nil, err
	}
	cgroup := filepath.Join(a.parent, fmt.Sprintf("kproxy-faults-%d", os.Getpid()))
	if err := os.Mkdir(cgroup, 0o755); err != nil {
		return nil, err
	}
	a.cgroup = cgroup
	if err := enter(a.cgroup); err != nil {
		return nil, err
	}
	if a.hash, err = sockhash.New(sockhash.Passes); err != nil {
		return nil, err
	}
	a.follower, err = a.hash.Follow(a.cgroup)
	return a, err
}

// enter moves this process into a cgroup.
func enter(cgroup string) error {
	return os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0)
}

// ownCgroup is the directory of this process's cgroup of version 2.
func ownCgroup() (string, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(own)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
			var fs unix.Statfs_t
			if err := unix.Statfs(root, &fs); err == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
				return filepath.Join(root, path), nil
			}
		}
	}
	return "", errors.New("there is no cgroup of version 2 here, to which a program for sockets could be attached")
}

// Close moves this process back, and makes the sockets ordinary ones.
func (a *agent) Close() {
	if a == nil {
		return
	}
	if a.hash != nil {
		a.hash.Close()
	}
	if a.cgroup != "" {
		_ = enter(a.parent)
		_ = os.Remove(a.cgroup) // fails while a process of the run has not ended
	}
}

// lookAtCopies notes how much kproxy has copied because splice did not find the bytes, and checks
// that its log says so. It is for loads with large frames.
func (r *run) lookAtCopies(ctx context.Context) error {
	if r.agent == nil || r.kproxy == nil {
		return nil
	}
	metrics, err := r.kproxy.at.Get(ctx, adminBind, "/metrics")
	if err != nil {
		return err
	}
	hidden, err := lab.Value(metrics, "kproxy_splice_hidden_total")
	if err != nil {
		return err
	}
	if hidden == 0 {
		return errors.New("kproxy has spliced: its sockets were not in the sockhash")
	}
	r.note("%d directions copied", int(hidden))
	return r.kproxy.says("splice does not find the bytes of a connection")
}

// tell says in the progress how many sockets were in the hash.
func (a *agent) tell(s *site) error {
	if a == nil {
		return nil
	}
	c, err := a.follower.Counts()
	if err != nil {
		return err
	}
	s.progress("%d sockets came into the sockhash, %d were refused", c.Added, c.Refused)
	if c.Refused > 0 || c.Added == 0 {
		return fmt.Errorf("the kernel has refused %d of %d sockets in the sockhash", c.Refused, c.Added+c.Refused)
	}
	return nil
}
