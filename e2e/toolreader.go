//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"kproxy/e2e/lab"
)

// toolReader is a consumer such as `kcat -C`. Each of its lines is a record:
// partition@offset@value. A record that is read again from its
// place counts once; one that is in the log twice counts twice.
type toolReader struct {
	t     *testing.T
	start func(context.Context) *exec.Cmd
	all   *seen

	done   sync.WaitGroup
	places map[string]bool
}

// startToolReader runs a consumer until the test ends. When it is restarted, it must read
// on from its last place, or from the beginning.
func startToolReader(t *testing.T, all *seen, start func(context.Context) *exec.Cmd) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &toolReader{t: t, start: start, all: all, places: make(map[string]bool)}
	r.done.Go(func() { r.run(ctx) })
	t.Cleanup(func() {
		cancel()
		r.done.Wait()
	})
}

// corrupt is in consumers' errors about a broker that responds with an error about its
// own log, or with a piece of it that is no longer there. Kafka's followers meet it too
// ("Found invalid messages during fetch") and try again; the tools give up. The cause is
// a log that is truncated while it is read, which happens now and then when leaders move
// several times a second on a busy machine.
var corrupt = []string{"Invalid message", "corrupt", "Corrupt"}

// run ends with its context.
func (r *toolReader) run(ctx context.Context) {
	for ctx.Err() == nil {
		cmd := r.start(ctx)
		stderr, err := r.read(cmd)
		output{stderr: stderr}.refuseBrokerNames(r.t)
		if ctx.Err() != nil {
			return // killed: it would read for ever
		}
		r.t.Logf("%s ended by itself: %v\n%s", r.all.by, err, stderr)
		if !containsAny(stderr, corrupt) {
			r.t.Errorf("%v ended by itself", cmd.Args)
			return
		}
	}
}

// read runs the tool once.
func (r *toolReader) read(cmd *exec.Cmd) (stderr string, err error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := lab.Start(cmd); err != nil {
		return "", err
	}
	for in := bufio.NewReader(stdout); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			break // half a line is none
		}
		i := strings.LastIndexByte(line, '@')
		if place := line[:i+1]; !r.places[place] {
			r.places[place] = true
			r.all.Add(line[i+1:])
		}
	}
	err = cmd.Wait()
	return said.String(), err
}

func containsAny(s string, substrings []string) bool {
	for _, sub := range substrings {
		if strings.Contains(s, sub) {
			return true
		}
	}
	return false
}
