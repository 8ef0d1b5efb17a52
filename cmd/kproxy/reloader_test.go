package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"kproxy/internal/admin"
	"kproxy/internal/portlab"
	"kproxy/internal/telemetry"
	"kproxy/proxy/config"
)

// fakeEngine is a proxy's side of a reload that notes its calls.
type fakeEngine struct {
	mu       sync.Mutex
	removals []admin.Removal
	err      error
	entered  chan struct{} // nil, or each prepare sends to it
	release  chan struct{} // nil, or each prepare receives from it
	calls    []string
}

func (e *fakeEngine) prepare(context.Context, *settings) (proxyChange, error) {
	if e.entered != nil {
		e.entered <- struct{}{}
		<-e.release
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, "prepare")
	if e.err != nil {
		return nil, e.err
	}
	return e, nil
}

func (e *fakeEngine) removed() []admin.Removal           { return e.removals }
func (e *fakeEngine) freed(string) (net.Listener, error) { return nil, nil }
func (e *fakeEngine) apply()                             { e.called("apply") }
func (e *fakeEngine) discard()                           { e.called("discard") }

func (e *fakeEngine) called(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, name)
}

// fail sets the error of prepare.
func (e *fakeEngine) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}

// since returns the calls since the last call of it.
func (e *fakeEngine) since() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	calls := strings.Join(e.calls, " ")
	e.calls = nil
	return calls
}

// reloading is a reloader of a file that a test writes.
type reloading struct {
	*reloader

	t      *testing.T
	engine *fakeEngine

	mu      sync.Mutex
	content string
	gone    bool
	log     strings.Builder
	reads   int // of certificates
}

// findings are the warnings of /readyz about the configuration.
func (r *reloading) findings() []string {
	if n := r.configuration().NotApplied; n != nil {
		return n.Reasons
	}
	return nil
}

// Write takes a log line.
func (r *reloading) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(line)
}

// logged returns the log since the last call.
func (r *reloading) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.log.Reset()
	return r.log.String()
}

func (r *reloading) write(keys string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.content, r.gone = oneListener+keys+"\n", false
}

func (r *reloading) remove() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
}

// newReloading returns a reloader whose reloads may begin, with keys below oneListener.
func newReloading(t *testing.T, keys string) *reloading {
	t.Helper()
	s, err := parseConfig("kproxy.yaml", []byte(oneListener+keys+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	logging, err := newLogSettings(s.Log)
	if err != nil {
		t.Fatal(err)
	}
	r := &reloading{t: t, engine: &fakeEngine{}}
	r.write(keys)
	r.reloader = newReloader(s, newLogger(r, logging), logging)
	r.ops = r.operate(nil)
	r.reloader.engine = r.engine
	r.readFiles = func() { r.reads++ }
	r.read = func(context.Context) ([]byte, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.gone {
			return nil, &fs.PathError{Op: "open", Path: "kproxy.yaml", Err: fs.ErrNotExist}
		}
		return []byte(r.content), nil
	}
	r.ready()
	return r
}

// wantLogged expects that the log since the last call holds each of want, in as many lines.
func (r *reloading) wantLogged(want ...string) {
	r.t.Helper()
	got := r.logged()
	if strings.Count(got, "\n") != len(want) || slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(got, w) }) {
		r.t.Errorf("the log has\n%swant %q", got, want)
	}
}

func (r *reloading) wantCalls(want string) {
	r.t.Helper()
	if got := r.engine.since(); got != want {
		r.t.Errorf("the proxy's calls are %q, want %q", got, want)
	}
}

// A reload applies the differences, and says so in the log, the result and the metrics.
func TestReload(t *testing.T) {
	r := newReloading(t, "")
	start := r.metrics().LastReload
	r.write("drain: {delay: 5s}\nlog: {level: debug}")
	result, err := r.reload(t.Context(), trigger{by: byAdmin, from: "127.0.0.1:5"})
	if err != nil || !result.Applied || result.Generation != 2 || len(result.Changes) != 2 || result.Changes[1].Now != "debug" {
		t.Errorf("got %+v, %v", result, err)
	}
	r.wantLogged(`level=INFO msg="configuration reloaded" generation=2 changes=2 by=admin from=127.0.0.1:5`)
	r.wantCalls("prepare apply")
	r.reloader.log.Debug("the level has changed")
	r.wantLogged("the level has changed")
	if s := r.settings(); s.DrainDelay != 5*time.Second || s.document != nil {
		t.Errorf("the settings in use are %+v", s)
	}
	if state := r.metrics(); state.Generation != 2 || state.Failed || !state.LastReload.After(start) || state.Reloads != (telemetry.Reloads{Applied: 1}) {
		t.Errorf("the metrics are %+v", state)
	}
	if _, err := r.reload(t.Context(), trigger{by: bySignal}); err != nil {
		t.Error(err)
	}
	r.wantLogged(`generation=2 changes=0 by=signal`)
	if r.reads != 2 {
		t.Errorf("certificates were read %d times", r.reads)
	}
	r.write("log: {level: error, format: json}")
	if _, err := r.reload(t.Context(), trigger{by: bySignal}); err != nil {
		t.Error(err)
	}
	r.wantLogged("generation=3 changes=3") // in the format of before
	r.reloader.log.Warn("left out")
	r.wantLogged()
}

// A mistake changes nothing, and is in the error, the log, the metrics and /readyz, until
// a reload succeeds.
func TestReloadWithMistakes(t *testing.T) {
	for _, tt := range []struct {
		name, keys string
		engine     error
		mistakes   []string // FILE:LINE:COLUMN: key: problem; fix
		calls      string
	}{
		{"form", "log: {level: loud, colour: red}", nil, []string{
			`kproxy.yaml:7:7: log.level: "loud" is not one of debug, info, warn, error; the default is info`,
			`kproxy.yaml:7:20: log.colour: unknown key; known here: level, format`,
		}, ""},
		{"YAML", "log: {", nil, []string{"kproxy.yaml:7:7: the file ends"}, ""},
		{"a file", "telemetry: {otlp: {endpoint: 'c:1', ca: /nowhere}}", nil, []string{
			"kproxy.yaml:7:37: telemetry.otlp.ca: open /nowhere: no such file or directory; name a file of certificates in PEM",
		}, "prepare discard"},
		{"the proxy", "log: {level: debug}", errors.Join(
			&config.Error{Key: "clusters.orders.bootstrap", Problem: "p", Fix: "f"}, &config.Error{Key: "log.level", Problem: "q", Fix: "g"},
		), []string{"kproxy.yaml:4:5: clusters.orders.bootstrap: p; f", "kproxy.yaml:7:7: log.level: q; g"}, "prepare"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newReloading(t, "")
			before := r.settings()
			r.write(tt.keys)
			r.engine.err = tt.engine
			_, dry := r.reload(t.Context(), trigger{by: byAdmin, dryRun: true})
			r.wantLogged()
			if r.metrics().Failed || r.findings() != nil {
				t.Error("a dry run counts")
			}
			r.engine.since()
			_, err := r.reload(t.Context(), trigger{by: bySignal})
			if err == nil || dry == nil || err.Error() != dry.Error() {
				t.Fatalf("got %v, and %v for a dry run", err, dry)
			}
			r.wantCalls(tt.calls)
			lines := strings.Split(err.Error(), "\n")
			for i, want := range tt.mistakes {
				if i >= len(lines) || !strings.HasPrefix(lines[i], want) || len(lines) != len(tt.mistakes) {
					t.Errorf("got %s, want %s", err, want)
				}
			}
			log := r.logged()
			if n := strings.Count(log, `level=ERROR msg="the configuration is not reloaded" by=signal`) + strings.Count(log, `msg="the configuration is not reloaded" error=`); n != len(lines) || !strings.Contains(log, "by=signal") {
				t.Errorf("the log has %s", log)
			}
			if f := r.findings(); len(f) != 1 || f[0] != "the last reload of the configuration failed: "+lines[0] {
				t.Errorf("/readyz warns of %q", f)
			}
			if state := r.metrics(); !state.Failed || state.Generation != 1 || state.Reloads != (telemetry.Reloads{Refused: 1}) || r.settings() != before {
				t.Errorf("something has changed: %+v", state)
			}
			r.write("")
			r.engine.err = nil
			if _, err := r.reload(t.Context(), trigger{by: bySignal}); err != nil || r.metrics().Failed || r.findings() != nil {
				t.Errorf("the next reload: %v, %q", err, r.findings())
			}
		})
	}
}

// A dry run prepares everything, and applies nothing.
func TestReloadDryRun(t *testing.T) {
	r := newReloading(t, "")
	r.engine.removals = []admin.Removal{{Cluster: "orders", Listener: "fred", Sessions: 2}}
	r.write("log: {level: debug}")
	result, err := r.reload(t.Context(), trigger{by: byAdmin, dryRun: true})
	if err != nil || result.Applied || result.Generation != 1 || len(result.Changes) != 1 || !slices.Equal(result.Removes, r.engine.removals) {
		t.Errorf("got %+v, %v", result, err)
	}
	r.wantCalls("prepare discard")
	r.wantLogged()
	if r.settings().Log.Level != "info" || r.reads > 0 || r.metrics().Reloads != (telemetry.Reloads{}) {
		t.Error("the dry run has changed something")
	}
}

// An address that was bound for a reload is free again if the reload is not applied.
func TestReloadFreesAddresses(t *testing.T) {
	r := newReloading(t, "")
	address := portlab.Host(t) + ":9400"
	r.write("admin: {bind: '" + address + "'}")
	for _, dry := range []bool{true, false} {
		if !dry {
			r.engine.err = &config.Error{Key: "clusters", Problem: "p", Fix: "f"}
		}
		if _, err := r.reload(t.Context(), trigger{by: byAdmin, dryRun: dry}); (err == nil) != dry {
			t.Fatal(err)
		}
		socket, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatalf("dry %t: %v", dry, err)
		}
		_ = socket.Close()
	}
}

// Reloads wait for each other, as long as their callers do.
func TestReloadsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReloading(t, "")
		r.engine.entered, r.engine.release = make(chan struct{}), make(chan struct{})
		done := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := r.reload(t.Context(), trigger{by: bySignal})
				done <- err
			}()
		}
		<-r.engine.entered
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.reload(ctx, trigger{by: byAdmin}); err == nil || !strings.Contains(err.Error(), "another reload has not ended yet; try again later") {
			t.Errorf("got %v", err)
		}
		r.engine.release <- struct{}{}
		<-r.engine.entered
		r.engine.release <- struct{}{}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		r.wantCalls("prepare apply prepare apply")
	})
}

// When kproxy stops, a reload that has begun ends, and no other begins.
func TestReloadAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReloading(t, "")
		r.engine.entered, r.engine.release = make(chan struct{}), make(chan struct{})
		done := make(chan error, 1)
		go func() {
			_, err := r.reload(t.Context(), trigger{by: bySignal})
			done <- err
		}()
		<-r.engine.entered
		wait := r.stop()
		waited := make(chan struct{})
		go func() {
			wait()
			close(waited)
		}()
		synctest.Wait()
		select {
		case <-waited:
			t.Error("the reload was not waited for")
		default:
		}
		r.engine.release <- struct{}{}
		<-waited
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := r.reload(t.Context(), trigger{by: byAdmin}); !errors.Is(err, admin.ErrStopping) {
			t.Errorf("got %v", err)
		}
	})
}

// A pipe cannot be read again.
func TestReloadOfAPipe(t *testing.T) {
	r := newReloading(t, "")
	r.piped = true
	if _, err := r.reload(t.Context(), trigger{by: bySignal}); err == nil || !strings.Contains(err.Error(), "kproxy.yaml is a pipe, and cannot be read again; restart kproxy") {
		t.Errorf("got %v", err)
	}
}

// A response lists some differences, and counts the others.
func TestReloadWithManyDifferences(t *testing.T) {
	n := &nextConfig{changes: make([]admin.Difference, maxDifferences+5)}
	if got := n.result(nil); len(got.Changes) != maxDifferences || got.LeftOut != 5 {
		t.Errorf("%d are listed, %d are left out", len(got.Changes), got.LeftOut)
	}
}

// Settings that are not in use any more are collected: none refers to those before it.
func TestReloadForgetsSettings(t *testing.T) {
	r := newReloading(t, "")
	var before []weak.Pointer[settings]
	for n := range 5 {
		before = append(before, weak.Make(r.settings()))
		r.write(fmt.Sprintf("drain: {delay: %ds}", n+1))
		if _, err := r.reload(t.Context(), trigger{by: bySignal}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	for n, old := range before {
		if old.Value() != nil {
			t.Errorf("the settings of generation %d are still there in generation %d", n+1, r.metrics().Generation)
		}
	}
	runtime.KeepAlive(r)
}

func TestUnreadableFix(t *testing.T) {
	for err, want := range map[error]string{
		&fs.PathError{Op: "open", Path: "kproxy.yaml", Err: fs.ErrPermission}: "let kproxy's user read",
		&fs.PathError{Op: "open", Path: "kproxy.yaml", Err: fs.ErrNotExist}:   "restore the file",
	} {
		if got := unreadableFix(fmt.Errorf("reload: %w", err)); !strings.HasPrefix(got, want) {
			t.Errorf("%v: %s", err, got)
		}
	}
}
