package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kproxy/internal/wait"
)

// An address that overlaps one of before cannot be bound: kproxy itself has it, and says so.
func TestServeChangesTheFormOfABind(t *testing.T) {
	c := startChain(t, oneBroker(t))
	text, err := os.ReadFile(c.file)
	if err != nil {
		t.Fatal(err)
	}
	for port, next := range map[string]string{
		"9092": fmt.Sprintf("%q, advertise: %q", "0.0.0.0:9092", c.host+":9092"),
		"9400": `"0.0.0.0:9400"`,
	} {
		c.writeFile("kproxy.yaml", strings.Replace(string(text), fmt.Sprintf("%q", c.host+":"+port), next, 1))
		if _, errs := c.upgrade(exitFailed); !strings.Contains(errs, "the kproxy that hands over listens at "+c.host+":"+port) || strings.Contains(errs, "stop the process") {
			t.Errorf("port %s, a hand-over: %s", port, errs)
		}
		_, errs := runWith(t, exitFailed, "reload", "--admin", c.host+":9400", "--token-file", filepath.Join(c.dir, "token"))
		if !strings.Contains(errs, "kproxy itself listens at "+c.host+":"+port) || strings.Contains(errs, "stop the process") {
			t.Errorf("port %s, a reload: %s", port, errs)
		}
	}
}

// The new process gets a signal that is meant for another, as pkill sends it: it serves, or nothing has
// changed, and the next hand-over is successful.
func TestServeHandOverNewSignalled(t *testing.T) {
	t.Parallel()
	type asked struct {
		pid int
		err error
	}
	for sent, moment := range map[syscall.Signal]time.Duration{
		syscall.SIGHUP: 0, syscall.SIGUSR2: 15 * time.Millisecond, syscall.SIGTERM: 15 * time.Millisecond,
	} {
		c := startChain(t, oneBroker(t))
		result := make(chan asked, 1)
		go func() {
			pid, err := (&adminClient{}).upgradeAt(context.WithoutCancel(t.Context()), c.host+":9400", testToken)
			result <- asked{pid, err}
		}()
		c.want("handing over", 1)
		child := c.newChild()
		wait.Sleep(t.Context(), moment)
		_ = syscall.Kill(child, sent) // it may have ended by itself
		r := <-result
		t.Logf("%v after %v: %v", sent, moment, r.err)
		if r.err == nil {
			if c.pid = r.pid; sent == syscall.SIGTERM {
				continue // it served, and then it was stopped
			}
		}
		askVersions(t, c.connect())
		for end := time.Now().Add(10 * time.Second); ; {
			pid, err := (&adminClient{}).upgradeAt(t.Context(), c.host+":9400", testToken)
			if err == nil {
				c.pid = pid
				break
			}
			if time.Now().After(end) { // until then one may drain, or hand over by SIGUSR2
				t.Fatalf("%v after %v: %v", sent, moment, err)
			}
			wait.Sleep(t.Context(), 20*time.Millisecond)
		}
		askVersions(t, c.connect())
	}
}
