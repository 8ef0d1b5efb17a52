//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

// The time of the step of kproxy's clock, after its start, and its size.
const (
	stepBackAfter    = 12 * time.Second
	stepBack         = 24 * time.Hour
	stepForwardAfter = 20 * time.Second
	stepForward      = 31 * 24 * time.Hour // more than forget_after
)

// clockSteps runs a kproxy whose wall clock steps. The machine's own must not, and
// neither a time namespace nor a preloaded library can do it to one Go program. So kproxy
// is built with one difference, in the standard library's time.Now. No other function of
// it reads the wall clock; the clock of timers never steps, on any machine.
func clockSteps() fault {
	return fault{
		Name:   "clock steps",
		Done:   "kproxy's wall clock goes back by a day, then ahead by 31 (`time.Now` is built so); then kproxy is stopped and started at the true time, with a state file from the future",
		Own:    "the pause is that of the restart; the steps are not seen",
		Places: []place{direct, near},
		Setup:  func(s *site) setup { return setup{Binary: s.stepping} },
		Act: func(ctx context.Context, r *run) error {
			if err := wait(ctx, time.Until(r.kproxy.started.Add(stepForwardAfter+3*time.Second))); err != nil {
				return err
			}
			if err := r.ping(ctx); err != nil { // the state file has the time of its Metadata
				return err
			}
			r.note("longest pause during the steps %s", seconds(r.load.ackTimes.gap()))
			return r.without(func() error {
				if err := errors.Join(r.kproxy.Stop(), r.kproxy.fromTheFuture()); err != nil {
					return err
				}
				r.kproxy.Binary = r.site.kproxy
				return r.kproxy.Start(ctx)
			})
		},
		After: func(_ context.Context, r *run) error { return r.kproxy.says("brokers remembered") },
	}
}

// fromTheFuture checks by the state file that the clock has stepped.
func (k *kproxy) fromTheFuture() error {
	var state struct{ Nodes []struct{ Seen time.Time } }
	b, err := os.ReadFile(filepath.Join(k.stateDir(), "vpc.json"))
	if err == nil {
		err = json.Unmarshal(b, &state)
	}
	if err == nil && (len(state.Nodes) != brokers || time.Until(state.Nodes[0].Seen) < stepForward/2) {
		err = fmt.Errorf("the state file is not from the future: %s", b)
	}
	return err
}

// buildStepping builds a kproxy whose wall clock steps.
func buildStepping(ctx context.Context, dir string) (string, error) {
	dir = filepath.Join(dir, "stepping")
	root, err := lab.Output(lab.Command(ctx, "go", "env", "GOROOT"))
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w: %s", err, root)
	}
	original := filepath.Join(strings.TrimSpace(root), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	const now = "	sec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(source), now) != 1 {
		return "", errors.New("time.Now of this Go reads the clock in another way; change clock.go")
	}
	stepped := strings.Replace(string(source), now, now+fmt.Sprintf(
		"	switch up := mono - startNano; {\n	case up > %d:\n		sec += %d\n	case up > %d:\n		sec -= %d\n	}\n",
		stepForwardAfter, int(stepForward.Seconds()), stepBackAfter, int(stepBack.Seconds())), 1)
	changed, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(
		os.Mkdir(dir, 0o700),
		os.WriteFile(changed, []byte(stepped), 0o600),
		os.WriteFile(overlay, replace, 0o600),
	); err != nil {
		return "", err
	}
	return lab.BuildKproxy(ctx, dir, "-overlay", overlay)
}
