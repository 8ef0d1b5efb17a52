package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/telemetry"
	"kproxy/proxy/config"
)

// watching runs a test in a bubble, with a reloader that watches its file.
func watching(t *testing.T, keys string, test func(t *testing.T, r *reloading), setup ...func(r *reloading)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newReloading(t, keys)
		for _, f := range setup {
			f(r)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.watch(ctx)
		}()
		test(t, r)
		cancel()
		<-done
	})
}

// after lets d pass in the bubble.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// poll lets the next look at the file pass, with the second one.
func poll() { after(config.DefaultWatchInterval + settleTime) }

// A change of the content is applied when two readings a second apart are equal.
func TestWatchAppliesAChange(t *testing.T) {
	watching(t, "", func(_ *testing.T, r *reloading) {
		poll()
		r.wantLogged()
		r.write("log: {level: debug}")
		poll()
		r.wantLogged(`msg="configuration reloaded" generation=2 changes=1 by=file`)
		r.wantCalls("prepare apply")
		poll()
		r.wantLogged()
		r.write("log: {level: debug} # a comment")
		poll()
		r.wantLogged(`generation=2 changes=0 by=file`)
	})
}

// A file that is being written is not applied.
func TestWatchWaitsForTheWriter(t *testing.T) {
	watching(t, "", func(_ *testing.T, r *reloading) {
		after(config.DefaultWatchInterval - settleTime/2)
		for _, half := range []string{"log: {level: debug}", "log: {level: debug}\ndrain: {delay: 1s}", "log: {level: warn}\ndrain: {delay: 2s}"} {
			r.write(half)
			after(settleTime)
		}
		r.wantLogged()
		after(settleTime)
		r.wantLogged("generation=2 changes=2 by=file")
		if r.settings().Log.Level != "warn" {
			r.t.Errorf("the level is %s", r.settings().Log.Level)
		}
	})
}

// Of many changes in a second the last one is applied, once.
func TestWatchAppliesTheLastOfManyChanges(t *testing.T) {
	watching(t, "", func(t *testing.T, r *reloading) {
		t.Helper()
		const changes = 50
		after(config.DefaultWatchInterval - settleTime/2) // the file is read in the middle of them
		for i := range changes {
			r.write(fmt.Sprintf("log: {level: debug}\ndrain: {delay: %ds}", i+1))
			after(settleTime / changes)
		}
		r.wantLogged()
		r.wantCalls("")
		after(2 * settleTime)
		r.wantLogged("generation=2 changes=2 by=file")
		r.wantCalls("prepare apply")
		if delay := r.settings().DrainDelay; delay != changes*time.Second {
			t.Errorf("drain.delay is %s, want the last one, %ds", delay, changes)
		}
	})
}

// A mistake is reported once for each content, and nothing is reported when the content
// of before is back.
func TestWatchReportsAMistakeOnce(t *testing.T) {
	watching(t, "", func(_ *testing.T, r *reloading) {
		r.write("log: {level: loud}")
		poll()
		r.wantLogged("log.level")
		poll()
		poll()
		r.wantLogged()
		r.write("log: {level: louder}")
		poll()
		r.wantLogged("louder")
		_, _ = r.reload(context.Background(), trigger{by: byAdmin})
		r.wantLogged("louder") // the operator asks again
		r.write("")
		poll()
		r.wantLogged("generation=1 changes=0 by=file")
		if r.metrics().Failed || r.findings() != nil {
			r.t.Errorf("/readyz warns of %q", r.findings())
		}
	})
}

// A failure that may pass, such as an address in use, is tried again at each look at the file,
// and reported once.
func TestWatchTriesAFailureAgain(t *testing.T) {
	watching(t, "", func(t *testing.T, r *reloading) {
		t.Helper()
		r.engine.fail(&config.Error{Key: "clusters.orders.listeners.fred.bind", Problem: "address in use", Fix: "f"})
		r.write("log: {level: debug}")
		poll()
		r.wantLogged("address in use")
		r.wantCalls("prepare")
		poll()
		r.wantLogged()
		r.wantCalls("prepare")
		r.engine.fail(&config.Error{Key: "state_dir", Problem: "it is locked", Fix: "f"})
		poll()
		r.wantLogged("it is locked")
		r.wantCalls("prepare")
		if !r.metrics().Failed || len(r.findings()) != 1 {
			t.Errorf("/readyz warns of %q", r.findings())
		}
		r.engine.fail(nil)
		poll()
		r.wantLogged("generation=2 changes=1 by=file")
		r.wantCalls("prepare apply")
		poll()
		r.wantCalls("")
		if r.metrics().Failed || r.findings() != nil {
			t.Errorf("/readyz warns of %q", r.findings())
		}
	})
}

// A failure is forgotten once the file has the content of the configuration in use again.
func TestWatchForgetsAFailure(t *testing.T) {
	watching(t, "", func(t *testing.T, r *reloading) {
		t.Helper()
		for name, fail := range map[string]func(){
			"the file is away":  r.remove,
			"an address in use": func() { r.engine.fail(&config.Error{Key: "clusters", Problem: "p", Fix: "f"}) },
			"a mistake":         func() { r.write("log: {level: loud}") },
		} {
			fail()
			if _, err := r.reload(t.Context(), trigger{by: bySignal}); err == nil || !r.metrics().Failed {
				t.Errorf("%s: the reload has not failed", name)
			}
			r.engine.fail(nil)
			r.write("")
			poll()
			if r.metrics().Failed || r.findings() != nil {
				t.Errorf("%s: /readyz warns of %q", name, r.findings())
			}
		}
	})
}

// A file that is away changes nothing, and costs one log line.
func TestWatchOfAMissingFile(t *testing.T) {
	watching(t, "", func(_ *testing.T, r *reloading) {
		r.remove()
		poll()
		r.wantLogged(`level=WARN msg="the configuration file cannot be read; the configuration in use stays" error="open kproxy.yaml`)
		poll()
		r.wantLogged()
		if got := r.findings(); len(got) != 1 || !strings.Contains(got[0], "cannot be read, and a restart would fail: open kproxy.yaml") {
			r.t.Errorf("/readyz warns of %q", got)
		}
		r.write("")
		poll()
		r.wantLogged()
		if got := r.findings(); got != nil {
			r.t.Errorf("the file is back, and /readyz warns of %q", got)
		}
		r.remove()
		poll()
		r.wantLogged("cannot be read")
		r.write("log: {level: debug}")
		poll()
		r.wantLogged("generation=2 changes=1 by=file")
		if r.metrics().Failed {
			r.t.Error("a missing file counts as a mistake")
		}
	})
}

// A change that removes a listener with sessions waits for the operator, who is told once.
func TestWatchHoldsARemovalBack(t *testing.T) {
	watching(t, "", func(t *testing.T, r *reloading) {
		t.Helper()
		r.engine.removals = []admin.Removal{{Cluster: "orders", Listener: "bob"}, {Cluster: "orders", Listener: "fred", Sessions: 3}}
		r.write("log: {level: debug}")
		poll()
		r.wantLogged(`level=WARN msg="the configuration file has changed, and is not applied: it removes a listener with sessions" cluster=orders listener=fred sessions=3 changes=1 by=file fix="kproxy reload, SIGHUP or a restart applies it, on Kubernetes kubectl rollout restart; `)
		r.wantCalls("prepare discard")
		poll()
		r.wantLogged()
		const finding = "the configuration file has changed, and is not applied: it removes listener fred of cluster orders, with 3 sessions; kproxy reload or a restart applies it"
		if f := r.findings(); len(f) != 1 || f[0] != finding {
			t.Errorf("/readyz warns of %q", f)
		}
		held := fmt.Sprintf("%x", sha256.Sum256([]byte(r.content)))
		if c := r.configuration(); c.SHA256 == held || c.NotApplied == nil || c.NotApplied.SHA256 != held || c.NotApplied.Reasons[0] != finding {
			t.Errorf("/readyz says %+v", c)
		}
		if _, err := r.reload(t.Context(), trigger{by: byAdmin, dryRun: true}); err != nil || len(r.findings()) != 1 {
			t.Errorf("a dry run: %v, %q", err, r.findings())
		}
		r.wantCalls("prepare discard")
		if result, err := r.reload(t.Context(), trigger{by: byAdmin}); err != nil || !result.Applied || r.findings() != nil {
			t.Errorf("the operator's reload: %+v, %v, %q", result, err, r.findings())
		}
		if n := r.metrics().Reloads; n != (telemetry.Reloads{HeldBack: 1, Applied: 1}) {
			t.Errorf("the metrics have %+v", n)
		}
		if c := r.configuration(); c.SHA256 != held || c.NotApplied != nil {
			t.Errorf("/readyz says %+v", c)
		}
		r.wantCalls("prepare apply")
		r.wantLogged("generation=2 changes=1 by=admin")
		poll()
		r.wantLogged()
	})
}

// A change that removes a protection waits for the operator.
func TestWatchHoldsALostProtectionBack(t *testing.T) {
	watching(t, "    brokers: ['*.internal:9092']\nlog: {level: debug}", func(t *testing.T, r *reloading) {
		t.Helper()
		r.write("")
		poll()
		r.wantLogged(`level=WARN msg="the configuration file has changed, and is not applied: it removes a protection" error="clusters.orders.brokers: removed, in whole or in part" changes=2 by=file fix="kproxy reload, SIGHUP or a restart applies it, on Kubernetes kubectl rollout restart; `)
		r.wantCalls("prepare discard")
		poll()
		r.wantCalls("")
		if f := r.findings(); len(f) != 1 || f[0] != "the configuration file has changed, and is not applied: it removes clusters.orders.brokers; kproxy reload or a restart applies it" {
			t.Errorf("/readyz warns of %q", f)
		}
		if result, err := r.reload(t.Context(), trigger{by: bySignal}); err != nil || !result.Applied || r.findings() != nil {
			t.Errorf("the operator's reload: %+v, %v, %q", result, err, r.findings())
		}
	})
}

// A listener without sessions is removed at once.
func TestWatchRemovesAnIdleListener(t *testing.T) {
	watching(t, "", func(_ *testing.T, r *reloading) {
		r.engine.removals = []admin.Removal{{Cluster: "orders", Listener: "bob"}}
		r.write("log: {level: debug}")
		poll()
		r.wantCalls("prepare apply")
	})
}

// A held-back change that is taken back is forgotten.
func TestWatchForgetsAHeldBackChange(t *testing.T) {
	watching(t, "", func(_ *testing.T, r *reloading) {
		r.engine.removals = []admin.Removal{{Cluster: "orders", Listener: "fred", Sessions: 3}}
		r.write("log: {level: debug}")
		poll()
		r.engine.removals = nil
		r.write("")
		poll()
		if f := r.findings(); f != nil {
			r.t.Errorf("/readyz warns of %q", f)
		}
	})
}

// Without reload.watch only the operator has the file read. The key itself can change.
func TestWatchCanBeTurnedOff(t *testing.T) {
	watching(t, "reload: {watch: false}", func(t *testing.T, r *reloading) {
		t.Helper()
		r.write("")
		poll()
		r.wantLogged()
		if _, err := r.reload(t.Context(), trigger{by: bySignal}); err != nil {
			t.Error(err)
		}
		r.wantLogged("generation=2 changes=1 by=signal")
		r.write("log: {level: debug}")
		poll()
		r.wantLogged("generation=3 changes=1 by=file")
	})
}

// A rewrite, a rename and the swap of a symbolic link, as Kubernetes makes it, are found.
func TestWatchFindsEachWayToChangeAFile(t *testing.T) {
	for name, change := range map[string]func(dir, content string) error{
		"rewrite": func(dir, content string) error {
			return os.WriteFile(filepath.Join(dir, "kproxy.yaml"), []byte(content), 0o600)
		},
		"rename": func(dir, content string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "next"), []byte(content), 0o600),
				os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "kproxy.yaml")))
		},
		"symbolic link": func(dir, content string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "v2"), 0o700), os.WriteFile(filepath.Join(dir, "v2", "kproxy.yaml"), []byte(content), 0o600),
				os.Symlink("v2", filepath.Join(dir, "..next")), os.Rename(filepath.Join(dir, "..next"), filepath.Join(dir, "..data")))
		},
	} {
		dir := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "v1"), 0o700), os.WriteFile(filepath.Join(dir, "v1", "kproxy.yaml"), []byte(oneListener), 0o600),
			os.Symlink("v1", filepath.Join(dir, "..data")), os.Symlink(filepath.Join("..data", "kproxy.yaml"), filepath.Join(dir, "kproxy.yaml"))); err != nil {
			if runtime.GOOS == "windows" {
				t.Skip("symbolic links need a privilege on Windows")
			}
			t.Fatal(err)
		}
		watching(t, "", func(t *testing.T, r *reloading) {
			t.Helper()
			poll()
			r.logged() // the test's content differs by a line end
			if err := change(dir, oneListener+"log: {level: debug}\n"); err != nil {
				t.Fatal(err)
			}
			poll()
			if got := r.logged(); !strings.Contains(got, "changes=1 by=file") {
				t.Errorf("%s: the log has %s", name, got)
			}
		}, func(r *reloading) {
			r.file = filepath.Join(dir, "kproxy.yaml")
			r.read = r.readFile
		})
	}
}

// SIGHUP reloads, one time for each, and the file is watched.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReloading(t, "")
		r.turn <- struct{}{} // as before ready
		hangups := make(chan os.Signal)
		stop := r.run(t.Context(), hangups)
		for range 2 {
			hangups <- os.Interrupt
			synctest.Wait()
		}
		r.wantCalls("prepare apply prepare apply")
		r.write("log: {level: debug}")
		poll()
		r.wantCalls("prepare apply")
		stop()
	})
}
