package proxy

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"

	"kproxy/internal/auth"
)

// kept returns the bytes that stay in memory for each result of text.
func kept(text func() string) uint64 {
	const texts = 64
	all := make([]string, texts)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range all {
		all[i] = text()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(all)
	if after.HeapAlloc < before.HeapAlloc {
		return 0
	}
	return (after.HeapAlloc - before.HeapAlloc) / texts
}

// A text that a session keeps is bounded, and does not keep the longer one that it comes from.
func TestTextsOfClientsAreNotKeptWhole(t *testing.T) {
	const long = 1 << 16
	for name, text := range map[string]func() string{
		"server name": func() string {
			a := &arrival{s: &session{entry: &entry{}}, conf: &listenerConf{}}
			if _, err := a.route(strings.Repeat("x", long)); err != nil {
				t.Error(err)
			}
			return a.s.client.serverName
		},
		"TLVs": func() string {
			return describeTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: make([]byte, long)}})
		},
		"client.id": func() string { return loggedID([]byte(strings.Repeat("x", long))) },
	} {
		if n := kept(text); n > long/16 {
			t.Errorf("%s: %d bytes stay of a text of %d", name, n, long)
		}
	}
}

// After a login nothing of it stays but the user's name.
func TestALoginIsDropped(t *testing.T) {
	line, err := auth.UserLine("alice", "secret", auth.ScramSHA256, auth.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	users, err := auth.NewUsers(t.Context(), file, auth.UserMechanisms(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &clientLogin{s: &session{}}
	if c.exchange, err = users.Begin(auth.Plain, auth.Peer{}); err != nil {
		t.Fatal(err)
	}
	if reply := c.step(t.Context(), []byte("\x00alice\x00secret")); reply.why != nil {
		t.Fatal(reply.why)
	}
	if c.exchange != nil || c.s.client.user != "alice" {
		t.Errorf("user %q; the exchange stays: %t", c.s.client.user, c.exchange != nil)
	}
}
