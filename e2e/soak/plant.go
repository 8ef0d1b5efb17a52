//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kproxy/e2e/lab"
)

// leak is a fault that a run must find.
type leak struct {
	name   string
	figure string // that grows
	code   string // for every 20th session that ends
}

var leaks = []leak{
	{"memory", "heap in use", "plantedSessions = append(plantedSessions, s)\n\tplantedBytes = append(plantedBytes, make([]byte, 16<<10))"},
	{"files", "descriptors", "_, _ = syscall.Dup(0)"},
	{"goroutines", "goroutines", "go func() { select {} }()"},
}

// plantedFile is added to package proxy.
const plantedFile = `package proxy

import (
	"sync"
	"sync/atomic"
	"syscall"
)

var (
	plantedMu       sync.Mutex
	plantedEnds     atomic.Int64
	plantedSessions []*session
	plantedBytes    [][]byte
	_               = syscall.Dup
)

func planted(s *session) {
	if plantedEnds.Add(1)%%20 != 0 {
		return
	}
	plantedMu.Lock()
	defer plantedMu.Unlock()
	%s
}
`

// The function of package proxy that ends a session.
const (
	sessionFile  = "proxy/session.go"
	sessionClose = "func (s *session) close() {\n"
)

// planted are the leaks of the run.
func (o options) planted() (chosen []leak, err error) {
	if o.Plant == "" {
		return nil, nil
	}
	for name := range strings.SplitSeq(o.Plant, ",") {
		i := slices.IndexFunc(leaks, func(l leak) bool { return l.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-plant: there is no leak %q", name)
		}
		chosen = append(chosen, leaks[i])
	}
	return chosen, nil
}

// build builds kproxy, with the leaks of the run.
func (s *site) build(ctx context.Context) (string, error) {
	chosen, err := s.planted()
	if err != nil {
		return "", err
	}
	if len(chosen) == 0 {
		return lab.BuildKproxy(ctx, s.dir)
	}
	var code []string
	for _, l := range chosen {
		code = append(code, l.code)
	}
	root, err := lab.ModuleRoot()
	if err != nil {
		return "", err
	}
	original := filepath.Join(root, sessionFile)
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	if strings.Count(string(source), sessionClose) != 1 {
		return "", fmt.Errorf("%s ends a session in another way; change plant.go", sessionFile)
	}
	changed, added, overlay := filepath.Join(s.dir, "session.go"), filepath.Join(s.dir, "planted.go"), filepath.Join(s.dir, "overlay.json")
	replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{
		original: changed,
		filepath.Join(filepath.Dir(original), "planted.go"): added,
	}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(
		os.WriteFile(changed, []byte(strings.Replace(string(source), sessionClose, sessionClose+"\tplanted(s)\n", 1)), 0o600),
		os.WriteFile(added, fmt.Appendf(nil, plantedFile, strings.Join(code, "\n\t")), 0o600),
		os.WriteFile(overlay, replaced, 0o600),
	); err != nil {
		return "", err
	}
	return lab.BuildKproxy(ctx, s.dir, "-overlay", overlay)
}

// found is an error if the run has not found one of its leaks.
func (s *site) found(r *report, chosen []leak) error {
	var errs []error
	for _, l := range chosen {
		i := slices.IndexFunc(r.Growth, func(g growth) bool { return g.Figure == l.figure })
		if i < 0 || !r.Growth[i].Grows {
			errs = append(errs, fmt.Errorf("the planted leak of %s was not found", l.name))
			continue
		}
		g := r.Growth[i]
		s.progress("the planted leak of %s was found: %s: %.1f %s more in the second half, 95 %% interval %.1f to %.1f",
			l.name, g.Figure, g.Sen, g.Unit, g.Low, g.High)
	}
	return errors.Join(errs...)
}
