package config

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// CheckFiles names every file and secret that cannot be used, of a configuration that is not
// valid beside that, too.
func TestEveryFileIsNamed(t *testing.T) {
	t.Setenv("KPROXY_TEST_NOTHING", "")
	good, dir := valid(), t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("words"), 0o600); err != nil {
		t.Fatal(err)
	}
	good.StateDir = file
	one := &good.Clusters[0]
	one.TLS = &UpstreamTLS{CA: "/no/ca"}
	one.SASL = &SASL{Mechanism: "PLAIN", Username: "u", Password: Secret{Env: "KPROXY_TEST_NOTHING"}}
	one.Listeners[0].TLS = &ListenerTLS{Certs: []KeyPair{{Cert: file, Key: "/no/key"}}, ClientCA: file, TicketKeys: []string{file}}
	one.Listeners[1].Login = &Login{UsersFile: file, Mechanisms: []string{"PLAIN"}}
	want := []string{
		"state_dir: " + file + " is not a directory; name a directory in which kproxy may write, or leave the key out",
		"clusters.orders.sasl.password_env: environment variable KPROXY_TEST_NOTHING is empty; set the variable for kproxy, or have it read from a file",
		"clusters.orders.tls.ca: open /no/ca: no such file or directory; name a file in PEM that is there, and that kproxy may read",
		"clusters.orders.listeners.fred.tls.certs[0].key: open /no/key: no such file or directory; name a file in PEM that is there, and that kproxy may read",
		"clusters.orders.listeners.fred.tls.client_ca: " + file + ": has no certificate in PEM; name a file in PEM that begins with a certificate",
		"clusters.orders.listeners.fred.tls.ticket_keys[0]: " + file + ": a ticket key needs 32 bytes or more; name a file that kproxy may read, such as the output of: openssl rand 48",
		`clusters.orders.listeners.alice.login.users_file: ` + file + `: line 1: behind "words" there is no SHA-256 or SHA-512; name a file that kproxy may read, with lines of kproxy passwd`,
	}
	good.MaxRequestBytes = 1
	if err := good.CheckFiles(); err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("CheckFiles: got\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}
}

// A state directory that can be made or written to is no mistake, and is not made.
func TestStateDirectoryIsLookedAt(t *testing.T) {
	dir := t.TempDir()
	c := valid()
	c.StateDir = filepath.Join(dir, "a", "b")
	if err := c.CheckFiles(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("CheckFiles made %v, %v", left, err)
	}
	// A state file that cannot be read.
	c.StateDir = dir
	if err := os.Mkdir(filepath.Join(dir, "orders.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	want := "state_dir: " + filepath.Join(dir, "orders.json") + " is a directory, not a regular file; "
	if err := c.CheckFiles(); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		return // root may write everywhere
	}
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	c.StateDir = filepath.Join(closed, "state")
	if err := c.CheckFiles(); err == nil || !strings.HasPrefix(err.Error(), "state_dir: write "+closed+": permission denied; ") {
		t.Errorf("got %v", err)
	}
}
