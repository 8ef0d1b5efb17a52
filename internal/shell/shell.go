// Package shell finds the system's shell, for commands that users write.
package shell

import (
	"os/exec"
	"runtime"
)

// Command returns the shell, and its flag in front of a command's text. Where PATH has
// no sh, it is where POSIX systems have it.
func Command() (path, flag string) {
	if runtime.GOOS == "windows" {
		return "cmd.exe", "/C"
	}
	if path, err := exec.LookPath("sh"); err == nil {
		return path, "-c"
	}
	return "/bin/sh", "-c"
}
