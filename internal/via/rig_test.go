package via_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"kproxy/internal/via"
)

// helperEnv makes the test's binary the command of exec.
const helperEnv = "KPROXY_VIA_HELPER"

var stdin, stdout, stderr = os.Stdin, os.Stdout, os.Stderr

type stdio struct{}

func (stdio) Read(p []byte) (int, error)  { return stdin.Read(p) }
func (stdio) Write(p []byte) (int, error) { return stdout.Write(p) }

func ignoreSignals() { signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT) }

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		os.Exit(helper(os.Args[1:])) //nolint:forbidigo // the command's status
	}
	m.Run()
}

// rig is a way through, with its proxy.
type rig struct {
	*via.Dialer
	proxy *gate // nil: a command
}

// rigs are all ways through, each logged in.
func rigs() map[string]func(t *testing.T) rig {
	return map[string]func(t *testing.T) rig{
		"socks5": func(t *testing.T) rig {
			t.Helper()
			g := socksServer(t, true)
			return rig{dialer(t, via.Config{URL: "socks5://" + user + "@" + g.address, PasswordFile: file(t, password+"\n")}), g}
		},
		"http": func(t *testing.T) rig {
			t.Helper()
			g := connectServer(t, true)
			return rig{dialer(t, via.Config{URL: "http://" + user + "@" + g.address, PasswordFile: file(t, password+"\n")}), g}
		},
		"ssh": func(t *testing.T) rig {
			t.Helper()
			host, key := newKey(t), newKey(t)
			g := sshServer(t, host.signer, key.signer.PublicKey())
			return rig{dialer(t, sshConfig(t, g, host, key)), g}
		},
		"exec": func(t *testing.T) rig {
			t.Helper()
			return rig{dialer(t, via.Config{URL: execURL(t, "relay")}), nil}
		},
	}
}

func sshConfig(t *testing.T, g *gate, host, key sshKey) via.Config {
	t.Helper()
	return via.Config{
		URL:        "ssh://" + user + "@" + g.address,
		KeyFile:    file(t, key.pem),
		KnownHosts: file(t, knownhosts.Line([]string{knownhosts.Normalize(g.address)}, host.signer.PublicKey())+"\n"),
	}
}

func execURL(t *testing.T, mode string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(helperEnv, "1")
	return "exec:'" + self + "' " + mode + " {host} {port}"
}

func dialer(t *testing.T, c via.Config) *via.Dialer {
	t.Helper()
	d, err := via.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// connect dials, and closes at the test's end.
func (r rig) connect(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := r.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// outcome dials in vain.
func outcome(t *testing.T, ctx context.Context, d *via.Dialer, address string) (via.Outcome, error) { //nolint:revive // t comes first in tests
	t.Helper()
	conn, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		conn.Close()
		t.Fatalf("a connection to %s, want an error", address)
	}
	e, ok := errors.AsType[*via.Error](err)
	if !ok {
		t.Fatalf("%T %v, want a *via.Error", err, err)
	}
	if bytes.Contains([]byte(err.Error()), []byte(password)) {
		t.Errorf("the password is in the error: %v", err)
	}
	return e.Outcome, err
}

// exchange says something and hears it again.
func exchange(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v; want %q", got, err, text)
	}
}

func endWrite(t *testing.T, conn net.Conn) {
	t.Helper()
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		t.Fatalf("%T has no CloseWrite", conn)
	}
	if err := half.CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

type sshKey struct {
	private ed25519.PrivateKey
	signer  ssh.Signer
	pem     string
}

func newKey(t *testing.T) sshKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return sshKey{private, signer, string(pem.EncodeToMemory(block))}
}

// holdings are what must not grow: goroutines, descriptors, children.
type holdings struct{ goroutines, files int }

func held() holdings {
	files, _ := os.ReadDir("/proc/self/fd")
	return holdings{runtime.NumGoroutine(), len(files)}
}

// settles waits until no more is held than before.
func settles(t *testing.T, before holdings) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		runtime.GC() // the pipes of splice are kept in a pool, as the servers' copies leave them
		now := held()
		if now.goroutines <= before.goroutines && now.files <= before.files {
			return
		}
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("held %+v, now %+v\n%s", before, now, stacks[:runtime.Stack(stacks, true)])
		}
		<-time.After(5 * time.Millisecond)
	}
}
