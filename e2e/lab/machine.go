//go:build linux

package lab

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Revision is what was tested.
func Revision() string {
	out, err := exec.Command("git", "describe", "--tags", "--always").Output() //nolint:noctx // at once
	if err != nil {
		return "of this directory"
	}
	return strings.TrimSpace(string(out))
}

// Machine is this machine in a line.
func Machine() string {
	model := runtime.GOARCH
	if file, err := os.Open("/proc/cpuinfo"); err == nil {
		defer file.Close()
		for in := bufio.NewScanner(file); in.Scan(); {
			if name, value, ok := strings.Cut(in.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores of %s, Linux %s, %s", runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version())
}
