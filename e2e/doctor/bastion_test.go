//go:build e2e

package doctor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"kproxy/e2e/lab"
)

// The bastions' ports.
const (
	forwards = 22
	refuses  = 2222 // to forward
	down     = 2223 // nothing listens there
)

// startBastions starts two SSH servers, one of which forwards.
func (s *site) startBastions(t *testing.T) {
	t.Helper()
	for _, key := range []string{"host", "other-host", "me", "nobody"} {
		_ = os.Remove(filepath.Join(s.dir, key)) // of a run before
		out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", filepath.Join(s.dir, key)).CombinedOutput()
		if err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(s.dir, name))
		check(t, err)
		return string(text)
	}
	known := []byte("bastion.example " + read("host.pub"))
	for _, port := range []int{refuses, down, filteredPort} {
		known = fmt.Appendf(known, "[bastion.example]:%d %s", port, read("host.pub"))
	}
	s.files.Write(t, "known_hosts", known)
	s.files.Write(t, "wrong_hosts", fmt.Appendf(nil, "bastion.example %s", read("other-host.pub")))
	_ = os.MkdirAll("/run/sshd", 0o755) // Debian's sshd needs it; if it cannot be made, it exists
	sshd, err := lab.Tool("sshd", "OpenSSH's server (Debian: apt-get install openssh-server)")
	check(t, err)
	for port, forwarding := range map[int]string{forwards: "local", refuses: "no"} {
		config := s.files.Write(t, fmt.Sprintf("sshd-%d.conf", port), fmt.Appendf(nil, `ListenAddress %s:%d
HostKey %s
AuthorizedKeysFile %s
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
AllowTcpForwarding %s
`, servers, port, filepath.Join(s.dir, "host"), filepath.Join(s.dir, "me.pub"), forwarding))
		s.accepts(t, s.process(t, fmt.Sprintf("sshd %d", port), s.net, sshd, "-D", "-e", "-f", config), lab.HostPort(servers, port))
	}
}

// via are doctor's flags for a bastion.
func via(port int, key, hosts string) []string {
	url := "ssh://root@bastion.example"
	if port != forwards {
		url = fmt.Sprintf("%s:%d", url, port)
	}
	return []string{"--via", url, "--via-key-file", key, "--via-known-hosts", hosts}
}
