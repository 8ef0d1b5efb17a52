//go:build linux

package main

import (
	"os"
	"testing"

	"kproxy/e2e/lab"
)

// The janitor removes the namespaces of its own run, which has ended, and not those
// of another one, which has them now.
func TestRemoveNamespace(t *testing.T) {
	const name = "kpb-test"
	remove(leftNamespace, name) // there is none
	if os.Geteuid() != 0 {
		t.Skip("making one needs root")
	}
	ns, err := lab.NewNamespace(name)
	if err != nil {
		t.Skip(err)
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
