//go:build linux

package main

import (
	"os"
	"os/exec"
	"testing"

	"kproxy/e2e/lab"
)

// The janitor removes the namespaces of its own run, which has ended, and not those
// of another one, which has them now.
func TestRemoveNamespace(t *testing.T) {
	const name = "kpb-test"
	remove(leftNamespace, name) // there is none
	if _, err := exec.LookPath("ip"); os.Geteuid() != 0 || err != nil {
		t.Skip("making one needs root, and ip")
	}
	ns, err := lab.NewNamespace(name)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	remove(leftNamespace, name)
	if err := ns.Run("true"); err != nil {
		t.Errorf("it was another's: %v", err)
	}
	ns.Close()
	remove(leftNamespace, name)
	if err := ns.Run("true"); err == nil {
		t.Error("it is still there")
	}
}
