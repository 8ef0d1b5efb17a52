//go:build e2e && linux

package packages

import (
	"os"
	"strings"
	"testing"
)

// TestRPM installs, verifies, upgrades and removes the package by rpm. Debian's rpm knows of no
// package that is installed, so that dependencies are not looked for.
func TestRPM(t *testing.T) { overEach(t, testRPM) }

func testRPM(t *testing.T, r *root) {
	t.Helper()
	r.withSystemctl(t)
	old, next := r.put(t, packageOf(t, older, "rpm")), r.put(t, packageOf(t, newer, "rpm"))
	rpm := func(args ...string) string {
		t.Helper()
		return r.run(t, "rpm", append([]string{"--force-debian", "--nodeps"}, args...)...)
	}
	if got := r.run(t, "rpm", "-K", "--nosignature", old); !strings.Contains(got, "digests OK") {
		t.Errorf("rpm -K: %s", got)
	}
	if got := r.run(t, "rpm", "-qp", "--requires", "--recommends", old); !strings.Contains(got, "shadow-utils") || !strings.Contains(got, "ca-certificates") {
		t.Errorf("requires and recommends: %s", got)
	}
	if got := r.run(t, "rpm", "-qp", "--configfiles", old); got != "/etc/kproxy/kproxy.yaml\n" {
		t.Errorf("configuration files: %s", got)
	}
	rpm("-i", old)
	r.installed(t)
	if got := r.run(t, "rpm", "-V", "kproxy", "--nodeps"); got != "" {
		t.Errorf("rpm -V: %s", got)
	}
	r.edit(t, "kafka.example.com", "broker.example.com")
	rpm("-U", next)
	if got := r.run(t, "kproxy", "version"); !strings.HasPrefix(got, "kproxy v"+newer+"\n") {
		t.Errorf("version: got %s", got)
	}
	if content, err := os.ReadFile(r.path("/etc/kproxy/kproxy.yaml")); err != nil || !strings.Contains(string(content), "broker.example.com") {
		t.Errorf("the configuration has changed: %v\n%s", err, content)
	}
	if calls := r.calls(t); strings.Contains(calls, "disable") {
		t.Errorf("the upgrade asked systemctl for\n%s", calls)
	}
	rpm("-e", "kproxy")
	if calls := r.calls(t); !strings.Contains(calls, "disable --now kproxy.socket kproxy.service") {
		t.Errorf("the removal asked systemctl for\n%s", calls)
	}
	// As rpm does it: a changed configuration is kept under another name.
	got := strings.Join(r.left(t), " ")
	if want := "/etc/kproxy /etc/kproxy/kproxy.yaml.rpmsave"; got != want {
		t.Errorf("the removal leaves %s, want %s", got, want)
	}
}
