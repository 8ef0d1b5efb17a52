//go:build e2e && linux

package lab

import "testing"

// A namespace is removed only by its own run: its name may belong to another run by then.
func TestRemoveNamespace(t *testing.T) {
	const name = "kpb-test"
	RemoveNamespace(name) // there is none
	ns, err := NewNamespace(name)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	RemoveNamespace(name)
	if err := ns.Run("true"); err != nil {
		t.Errorf("it was another's: %v", err)
	}
	ns.Close()
	RemoveNamespace(name)
	if err := ns.Run("true"); err == nil {
		t.Error("it is still there")
	}
}
