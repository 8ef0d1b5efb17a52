package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// cgroupRootEnv makes the test's binary a process that sees another /proc and /sys.
const cgroupRootEnv = "KPROXY_TEST_CGROUP_ROOT"

// fileTree has the files, by path.
type fileTree map[string]string

func and(all ...fileTree) fileTree {
	sum := fileTree{}
	for _, f := range all {
		maps.Copy(sum, f)
	}
	return sum
}

// in is a process in a cgroup of version 2, or of version 1 in a hybrid system, as the
// kernel describes it. root is the mounted part of the hierarchy: not all of it, where a
// container sees the host's paths.
func inV2(path, root string) fileTree {
	return fileTree{
		"/proc/self/cgroup": "0::" + path + "\n",
		"/proc/self/mountinfo": "23 1 0:21 / /proc rw,nosuid - proc proc rw\n" +
			"30 23 0:26 " + root + " /sys/fs/cgroup rw,nosuid,nodev shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
	}
}

func inV1(path, root string) fileTree {
	return fileTree{
		"/proc/self/cgroup": "9:name=systemd:/\n4:cpu,cpuacct:/\n3:memory:" + path + "\n0::/\n",
		"/proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n" +
			"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
			"33 31 0:30 " + root + " /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
			"34 31 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
		"/sys/fs/cgroup/unified/memory.max": "1\n", // none, if version 1 controls the memory
	}
}

// From the kernel's files to Go's limit, and the log line about it.
func TestMemoryLimitFromCgroupFiles(t *testing.T) {
	if root := os.Getenv(cgroupRootEnv); root != "" {
		limitMemoryIn(root)
		return
	}
	const (
		v1     = "/sys/fs/cgroup/memory"
		v1None = "9223372036854771712\n"
		none   = 9223372036854775807
		has    = "90 % of the cgroup's"
		hasNo  = "the cgroup has none"
		broken = "cannot be read"
	)
	for _, c := range []struct {
		name  string
		files fileTree
		want  int64
		log   string
	}{
		{"v2, in a container", and(inV2("/", "/"), fileTree{"/sys/fs/cgroup/memory.max": "1000000000\n"}), 900000000, has},
		{"v2, max", and(inV2("/", "/"), fileTree{"/sys/fs/cgroup/memory.max": "max\n"}), none, hasNo},
		{"v2, the root of all", and(inV2("/", "/"), fileTree{"/sys/fs/cgroup/cgroup.procs": "1\n"}), none, hasNo},
		{"v2, nested", and(inV2("/pod/app", "/"), fileTree{
			"/sys/fs/cgroup/pod/memory.max": "max\n", "/sys/fs/cgroup/pod/app/memory.max": "500000000\n",
		}), 450000000, has},
		{"v2, the outer one is tighter", and(inV2("/pod/app", "/"), fileTree{
			"/sys/fs/cgroup/pod/memory.max": "300000000\n", "/sys/fs/cgroup/pod/app/memory.max": "500000000\n",
		}), 270000000, has},
		{"v2, only the outer one has any", and(inV2("/kubepods/pod/app", "/"), fileTree{
			"/sys/fs/cgroup/kubepods/memory.max": "300000000\n", "/sys/fs/cgroup/kubepods/pod/memory.max": "max\n",
			"/sys/fs/cgroup/kubepods/pod/app/memory.max": "max\n",
		}), 270000000, has},
		{"v2, with the host's path", and(inV2("/docker/abc", "/docker/abc"), fileTree{"/sys/fs/cgroup/memory.max": "700000000\n"}), 630000000, has},
		{"v2, no number", and(inV2("/", "/"), fileTree{"/sys/fs/cgroup/memory.max": "plenty\n"}), none, broken},
		{"v2, empty", and(inV2("/", "/"), fileTree{"/sys/fs/cgroup/memory.max": ""}), none, broken},
		{"v2, negative", and(inV2("/", "/"), fileTree{"/sys/fs/cgroup/memory.max": "-1\n"}), none, broken},
		{"v2, mounted nowhere", and(inV2("/", "/"), fileTree{"/proc/self/mountinfo": "23 1 0:21 / /proc rw - proc proc rw\n"}), none, broken},

		{"v1, in a container", and(inV1("/docker/abc", "/docker/abc"), fileTree{v1 + "/memory.limit_in_bytes": "1000000000\n"}), 900000000, has},
		{"v1, none", and(inV1("/", "/"), fileTree{v1 + "/memory.limit_in_bytes": v1None}), none, hasNo},
		{"v1, nested", and(inV1("/pod/app", "/"), fileTree{
			v1 + "/pod/memory.limit_in_bytes": v1None, v1 + "/pod/app/memory.limit_in_bytes": "500000000\n",
			v1 + "/pod/app/memory.stat": "cache 0\nhierarchical_memory_limit 500000000\n",
		}), 450000000, has},
		{"v1, the outer one is tighter", and(inV1("/pod/app", "/"), fileTree{
			v1 + "/pod/memory.limit_in_bytes": "300000000\n", v1 + "/pod/app/memory.limit_in_bytes": v1None,
			v1 + "/pod/app/memory.stat": "cache 0\nhierarchical_memory_limit 300000000\n",
		}), 270000000, has},
		{"v1, no number", and(inV1("/", "/"), fileTree{v1 + "/memory.limit_in_bytes": "plenty\n"}), none, broken},
		{"v1, without a file", inV1("/pod", "/"), none, broken},

		{"no memory controller", fileTree{"/proc/self/cgroup": "9:pids:/\n", "/proc/self/mountinfo": "23 1 0:21 / /proc rw - proc proc rw\n"}, none, "there is no cgroup"},
		{"garbage", fileTree{"/proc/self/cgroup": "hello\n", "/proc/self/mountinfo": "hello\n"}, none, broken},
		{"no /proc", fileTree{}, none, broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := runInRoot(t, c.files)
			if !strings.Contains(out, fmt.Sprintf("limit=%d\n", c.want)) || !strings.Contains(out, c.log) ||
				strings.Count(out, "memory limit") != 1 || strings.Contains(out, "level=WARN") != (c.log == broken) {
				t.Errorf("got %s\nwant limit=%d, and %q in the log", out, c.want, c.log)
			}
		})
	}
}

// runInRoot runs this test in a process whose whole file system consists of these files,
// and returns its output.
func runInRoot(t *testing.T, all fileTree) string {
	t.Helper()
	root := t.TempDir()
	for path, content := range all {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestMemoryLimitFromCgroupFiles$")
	cmd.Env = append(os.Environ(), cgroupRootEnv+"="+root, "GOMEMLIMIT=", "GORACE=atexit_sleep_ms=0")
	if os.Geteuid() != 0 { // in a user namespace any user may change the root
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("this system lets only root change the root directory: " + err.Error())
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// limitMemoryIn is the process that runInRoot runs.
func limitMemoryIn(root string) {
	var log strings.Builder
	if err := syscall.Chroot(root); err != nil {
		fmt.Fprintln(os.Stderr, "chroot:", err)
		return
	}
	limitMemory(plainLogger(&log), memlimit.FromCgroup)
	fmt.Fprintf(os.Stderr, "%slimit=%d\n", &log, debug.SetMemoryLimit(-1))
}
