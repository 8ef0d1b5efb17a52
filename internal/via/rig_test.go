package via_test

import (
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"kproxy/internal/via"
	"kproxy/internal/via/viatest"
)

// rig is a via, with its proxy.
type rig struct {
	*via.Dialer
	proxy *viatest.Gate // nil: a command
}

// rigs are all kinds of vias, each with a login.
func rigs() map[string]func(t *testing.T) rig {
	return map[string]func(t *testing.T) rig{
		"socks5": func(t *testing.T) rig {
			t.Helper()
			g := viatest.SOCKS5(t, true)
			return rig{viatest.Dialer(t, via.Config{URL: "socks5://" + viatest.User + "@" + g.Address, PasswordFile: viatest.File(t, viatest.Password+"\n")}), g}
		},
		"http": func(t *testing.T) rig {
			t.Helper()
			g := viatest.Connect(t, true)
			return rig{viatest.Dialer(t, via.Config{URL: "http://" + viatest.User + "@" + g.Address, PasswordFile: viatest.File(t, viatest.Password+"\n")}), g}
		},
		"ssh": func(t *testing.T) rig {
			t.Helper()
			host, key := viatest.NewKey(t), viatest.NewKey(t)
			g := viatest.SSH(t, host.Signer, key.Signer.PublicKey())
			return rig{viatest.Dialer(t, viatest.SSHConfig(t, g, host, key)), g}
		},
		"exec": func(t *testing.T) rig {
			t.Helper()
			return rig{viatest.Dialer(t, via.Config{URL: execURL(t, "relay")}), nil}
		},
	}
}

func execURL(t *testing.T, mode string) string {
	t.Helper()
	return execLine(t, mode+" {host} {port}")
}

// execLine is the URL of the test's binary as a command with these arguments.
func execLine(t *testing.T, arguments string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(helperEnv, "1")
	return "exec:'" + self + "' " + arguments
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

// holdings are counts that must not grow: goroutines, descriptors, children.
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
