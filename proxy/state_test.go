package proxy_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kproxy/proxy"
)

// stop ends a proxy and the writing of its state.
func stop(t *testing.T, p *proxy.Proxy) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p.Shutdown(ctx)
}

// known waits for p to have a row for every one of n nodes of a listener.
func known(t *testing.T, p *proxy.Proxy, n int) []proxy.Endpoint {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	rows := p.Table(ctx)
	if len(rows) != 2*n {
		t.Fatalf("%d rows, want %d for each of two listeners: %v", len(rows), n, rows)
	}
	return rows
}

// Without any broker to ask, a proxy that starts again knows who they were.
func TestBrokersAreRememberedAcrossARestart(t *testing.T) {
	dir := t.TempDir()
	var l lab
	fake := l.startKfake(t, 3)
	conf := l.config()
	conf.StateDir = dir
	first, err := proxy.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := known(t, first, 3)
	stop(t, first)
	fake.Close()

	info, err := os.Stat(filepath.Join(dir, "orders.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("state file has mode %o, want 600", got)
	}
	second, err := proxy.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer stop(t, second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // there is no response to wait for
	got := second.Table(ctx)
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("row %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

func TestAStateDirIsOneProxysAlone(t *testing.T) {
	var l lab
	l.startKfake(t, 1)
	conf := l.config()
	conf.StateDir = t.TempDir()
	l.start(t, conf)
	var other lab
	otherConf := other.config()
	otherConf.StateDir = conf.StateDir
	second, err := proxy.New(otherConf)
	if err != nil {
		t.Fatal(err)
	}
	err = second.Start(t.Context())
	if err == nil {
		stop(t, second)
		t.Fatal("two proxies share a state_dir")
	}
	if !strings.Contains(err.Error(), "in use by another kproxy") {
		t.Errorf("error %q does not name the problem", err)
	}
}

func TestABrokenStateFileIsSetAside(t *testing.T) {
	needsPlainTCP(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "orders.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	var l lab
	l.startKfake(t, 2)
	conf := l.config()
	conf.StateDir = dir
	l.start(t, conf)
	known(t, l.proxy, 2)
	if _, err := os.Stat(path + ".broken"); err != nil {
		t.Error(err)
	}
	l.log.has(t, "WARN", "set aside")
}

// A state file that cannot be written costs a restart's memory and nothing else.
func TestAStateFileThatCannotBeWritten(t *testing.T) {
	needsPlainTCP(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "orders.json")
	var l lab
	fake := l.startKfake(t, 2)
	conf := l.config()
	conf.StateDir = dir
	l.start(t, conf)
	known(t, l.proxy, 2)
	written := func() bool { _, err := os.Stat(path); return err == nil }
	waitUntil(t, "the state is written", written)

	// A directory in the file's place makes the rename fail, for root too.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := fake.AddNode(2, 0); err != nil {
		t.Fatal(err)
	}
	resp, err := kmsgMetadata(t.Context(), l.franz(t, "bob.test:9092"))
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Brokers) != 3 {
		t.Errorf("clients hear of %d brokers, want 3", len(resp.Brokers))
	}
	l.log.has(t, "ERROR", "cannot be written")
	left, err := filepath.Glob(path + ".*")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{path + ".lock"}; !slices.Equal(left, want) {
		t.Errorf("left behind %v, want %v", left, want)
	}
}

// waitUntil waits for done, and fails the test if it takes too long.
func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
