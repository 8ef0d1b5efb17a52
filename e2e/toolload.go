//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// toolLoad is a producer such as `kcat -P`, fed with numbered lines until it is
// stopped.
type toolLoad struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer
	cancel context.CancelFunc

	stop     chan struct{}
	stopOnce sync.Once
	done     sync.WaitGroup
	sent     []string // read it after Stop
	err      error    // of the pipe to the tool
}

// startToolLoad runs the tool that start makes and writes it perSecond lines.
func startToolLoad(t *testing.T, prefix string, perSecond int, start func(context.Context) *exec.Cmd) *toolLoad {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &toolLoad{cmd: start(ctx), cancel: cancel, stop: make(chan struct{})}
	p.cmd.Stderr = &p.stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := lab.Start(p.cmd); err != nil {
		t.Fatal(err)
	}
	p.done.Go(func() { p.feed(prefix, time.Second/time.Duration(perSecond)) })
	t.Cleanup(func() {
		cancel()
		p.halt()
		_ = p.cmd.Wait() // killed, unless Stop has waited for it
		output{stderr: p.stderr.String()}.refuseBrokerNames(t)
		if t.Failed() {
			t.Logf("%v said:\n%s", p.cmd.Args, &p.stderr)
		}
	})
	return p
}

// feed ends with Stop, or with the tool.
func (p *toolLoad) feed(prefix string, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		id := fmt.Sprintf("%s-%06d", prefix, len(p.sent))
		if _, p.err = io.WriteString(p.stdin, id+"\n"); p.err != nil {
			return
		}
		p.sent = append(p.sent, id)
	}
}

func (p *toolLoad) halt() {
	p.stopOnce.Do(func() { close(p.stop) })
	p.done.Wait()
	p.stdin.Close()
}

// Stop waits until the tool has had every record acknowledged, which its end
// with exit code 0 says, and returns their names.
func (p *toolLoad) Stop(t *testing.T) []string {
	t.Helper()
	p.halt()
	giveUp := time.AfterFunc(toolTimeout, p.cancel)
	defer giveUp.Stop()
	if err := p.cmd.Wait(); err != nil || p.err != nil {
		t.Fatalf("%v, fed %d lines: %v, %v\n%s", p.cmd.Args, len(p.sent), err, p.err, &p.stderr)
	}
	return p.sent
}
