//go:build linux

package lab

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Revision is the tested revision: the last commit that changed the sources of kproxy.
// Later commits, such as those of a page or of a test, may be merged under other hashes.
func Revision() string {
	const unknown = "of this directory"
	last, err := exec.Command("git", "rev-list", "-1", "HEAD", "--", //nolint:noctx // at once
		":/cmd", ":/internal", ":/proxy", ":/rewrite", ":/go.mod").Output()
	if err != nil || len(last) == 0 {
		return unknown
	}
	out, err := exec.Command("git", "describe", "--tags", "--always", strings.TrimSpace(string(last))).Output() //nolint:noctx // at once
	if err != nil {
		return unknown
	}
	return strings.TrimSpace(string(out))
}

// CPU is the model that the kernel reports; "" if it reports none.
func CPU() string {
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpuinfo)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Machine is this machine in a line.
func Machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores of %s, Linux %s, %s", runtime.NumCPU(), cmp.Or(CPU(), runtime.GOARCH), strings.TrimSpace(string(kernel)), runtime.Version())
}
