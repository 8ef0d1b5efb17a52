//go:build e2e && linux

// Package packages tests the packages of .goreleaser.yaml where their users meet them: dpkg and rpm
// install, upgrade and remove them in a root of their own, over a kproxy that runs and has load.
//
// The root is a file system over another one (overlay): over this machine's, or over the one in
// E2E_ROOT, such as debootstrap's. Nothing below is changed; the files that a package leaves are those
// above. Networks and mounts are the test's own. No systemd runs here: systemctl is a
// stand-in, which has the protocol of systemd's notifications behind it.
//
// nfpm makes the packages from the section nfpms of .goreleaser.yaml, as goreleaser does, which has it
// as a library; package release runs goreleaser itself.
package packages

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(run(m)) } //nolint:forbidigo // this is main

// inside is set in the process that has networks and mounts of its own.
const inside = "KPROXY_PACKAGES_INSIDE"

func run(m *testing.M) int {
	if os.Getenv(inside) == "" {
		return again()
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		fmt.Fprintln(os.Stderr, "mounts of their own:", err)
		return 1
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		fmt.Fprintln(os.Stderr, "ip link set lo up:", err, string(out))
		return 1
	}
	var err error
	if work, err = os.MkdirTemp("", "kproxy-packages-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(work)
	return m.Run()
}

// work is a folder for the files of all tests.
var work string

// again runs the tests in another process.
func again() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1", "CGO_ENABLED=0")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "a network and mounts of its own (it needs root):", err)
		return 1
	}
	return 0
}
