package sockhash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kproxy/e2e/lab"
)

// EnterCgroup moves this process into a new cgroup of version 2 below its own. Processes that it has
// started before stay where they are. leave moves it back, and removes the cgroup.
func EnterCgroup() (cgroup string, leave func(), err error) {
	parent, err := ownCgroup()
	if err != nil {
		return "", nil, err
	}
	cgroup = filepath.Join(parent, fmt.Sprintf("kproxy-sockhash-%d", os.Getpid()))
	if err := os.Mkdir(cgroup, 0o755); err != nil {
		return "", nil, err
	}
	leave = func() {
		_ = move(parent)
		// Processes that were killed may take a moment to end.
		_ = lab.Poll(context.Background(), 5*time.Second, func() error { return os.Remove(cgroup) })
	}
	if err := move(cgroup); err != nil {
		leave()
		return "", nil, err
	}
	return cgroup, leave, nil
}

// move moves this process into a cgroup.
func move(cgroup string) error {
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
