//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// bastion is a real sshd, as a process of this user's.
type bastion struct {
	*lab.Process
	dir  string // of its files
	port int
	me   string // the user that may log in, with the key "client"
}

// startBastion starts an sshd on loopback that forwards for one key and nothing else.
func startBastion(t *testing.T) *bastion {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	b := &bastion{dir: t.TempDir(), me: me.Username}
	if b.port, err = shared.ports.Block(t.Context(), "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"host", "other-host", "client", "stranger"} {
		b.run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", b.file(key))
	}
	b.write(t, "authorized", b.read(t, "client.pub"))
	b.write(t, "known", fmt.Sprintf("[127.0.0.1]:%d %s", b.port, b.read(t, "host.pub")))
	b.write(t, "known-other", fmt.Sprintf("[127.0.0.1]:%d %s", b.port, b.read(t, "other-host.pub")))
	b.write(t, "config", fmt.Sprintf(`ListenAddress 127.0.0.1:%d
HostKey %s
AuthorizedKeysFile %s
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding local
`, b.port, b.file("host"), b.file("authorized")))
	_ = os.MkdirAll("/run/sshd", 0o755) // Debian's sshd needs it; if it cannot be made, it exists
	b.start(t)
	t.Cleanup(func() {
		b.Kill()
		if t.Failed() {
			t.Log(b.LogTail())
		}
	})
	return b
}

func (b *bastion) file(name string) string { return filepath.Join(b.dir, name) }

func (b *bastion) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(b.file(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (b *bastion) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(b.file(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (b *bastion) run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func (b *bastion) url() string { return fmt.Sprintf("ssh://%s@127.0.0.1:%d", b.me, b.port) }

// through are kproxy connect's arguments to reach the shared cluster by a via.
func (b *bastion) through(url string, more ...string) []string {
	k := shared.kafka
	return append([]string{k.client(1), k.client(2), k.client(3), "--via", url}, more...)
}

// loop writes and reads one record.
func (c connection) loop(t *testing.T, topic, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	runTool(t, lab.Command(ctx, shared.kcat, "-b", c.bootstrap, "-P", "-t", topic), strings.NewReader(value+"\n"))
	got := runTool(t, lab.Command(ctx, shared.kcat, "-b", c.bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q"), nil).stdout
	if !strings.Contains(got, value) {
		t.Errorf("read %q, want %s in it", got, value)
	}
}

// TestViaSSHD goes through a real sshd: by key, by agent, with a wrong host key, and
// after its restart.
func TestViaSSHD(t *testing.T) {
	b := startBastion(t)
	topic := shared.kafka.NewTopic(t, "via-ssh", 3)
	t.Run("by key, dropped and restored", func(t *testing.T) {
		c := startConnect(t, nil, b.through(b.url(), "--via-key-file", b.file("client"), "--via-known-hosts", b.file("known"), "--verbose")...)
		c.loop(t, topic, "first")
		b.drop(t)
		c.fails(t)
		eventually(t, 10*time.Second, func() error {
			if !strings.Contains(c.said(t), "via_proxy_unreachable") && !strings.Contains(c.said(t), "cannot reach the proxy") {
				return fmt.Errorf("kproxy has not seen that the proxy is gone:\n%s", c.LogTail())
			}
			return nil
		})
		b.start(t)
		c.loop(t, topic, "second")
	})
	t.Run("by agent", func(t *testing.T) {
		socket := b.file("agent")
		agent, err := lab.StartProcess("ssh-agent", b.file("agent.log"), lab.Command(context.Background(), "ssh-agent", "-D", "-a", socket))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(agent.Kill)
		t.Setenv("SSH_AUTH_SOCK", socket)
		eventually(t, 10*time.Second, func() error {
			return exec.CommandContext(t.Context(), "ssh-add", "-q", b.file("stranger"), b.file("client")).Run()
		})
		c := startConnect(t, nil, b.through(b.url(), "--via-known-hosts", b.file("known"))...)
		c.loop(t, topic, "by-agent")
	})
	for _, tt := range []struct{ name, key, hosts, want string }{
		{"wrong host key", "client", "known-other", "the proxy is not the one that is known"},
		{"wrong key", "stranger", "known", "the proxy refuses the login"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"connect"}, b.through(b.url(), "--via-key-file", b.file(tt.key), "--via-known-hosts", b.file(tt.hosts))...)
			out, err := lab.Output(lab.Command(t.Context(), shared.kproxy, args...))
			if err == nil || !strings.Contains(out, tt.want) {
				t.Errorf("%v: %s; want %q", err, out, tt.want)
			}
		})
	}
}

// TestViaExec goes through commands: OpenSSH's client, and nc.
func TestViaExec(t *testing.T) {
	b := startBastion(t)
	topic := shared.kafka.NewTopic(t, "via-exec", 3)
	ssh := fmt.Sprintf("exec:ssh -F none -p %d -i %s -o UserKnownHostsFile=%s -o IdentitiesOnly=yes -o BatchMode=yes -W {host}:{port} %s@127.0.0.1",
		b.port, b.file("client"), b.file("known"), b.me)
	for name, url := range map[string]string{"ssh -W": ssh, "nc": "exec:nc {host} {port}"} {
		t.Run(name, func(t *testing.T) {
			c := startConnect(t, nil, b.through(url, "--verbose")...)
			c.loop(t, topic, "first")
			if name == "nc" {
				return
			}
			b.drop(t)
			c.fails(t)
			b.start(t)
			c.loop(t, topic, "second")
		})
	}
}

// drop ends sshd and the processes of its connections.
func (b *bastion) drop(t *testing.T) {
	t.Helper()
	// A session of sshd's is a process of its own, in a session of its own.
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", b.PID()))
	if err != nil {
		t.Fatal(err)
	}
	b.Kill()
	for child := range strings.FieldsSeq(string(children)) {
		pid, err := strconv.Atoi(child)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill() // it may have ended with its parent
		}
	}
}

// start starts sshd, again as it was.
func (b *bastion) start(t *testing.T) {
	t.Helper()
	sshd, err := lab.Tool("sshd", "OpenSSH's server (Debian: apt-get install openssh-server)")
	if err != nil {
		t.Fatal(err)
	}
	b.Process, err = lab.StartProcess("sshd", b.file("log"), lab.Command(context.Background(), sshd, "-D", "-e", "-f", b.file("config")))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error {
		if err := b.Alive(); err != nil {
			return lab.Permanent(err)
		}
		return exec.CommandContext(t.Context(), "ssh-keyscan", "-T", "1", "-p", strconv.Itoa(b.port), "127.0.0.1").Run()
	})
}

// fails wants a client to get nowhere.
func (c connection) fails(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	out, err := lab.Output(lab.Command(ctx, shared.kcat, "-b", c.bootstrap, "-L", "-m", "3"))
	if err == nil {
		t.Errorf("kcat gets through: %s", out)
	}
}
