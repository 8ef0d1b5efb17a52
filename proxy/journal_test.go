package proxy_test

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// journal keeps events in order, and lets a test wait for them.
type journal[T any] struct {
	mu    sync.Mutex
	all   []T
	read  int           // of all, by next
	grown chan struct{} // closed and renewed when all grows
}

func newJournal[T any]() *journal[T] { return &journal[T]{grown: make(chan struct{})} }

func (j *journal[T]) add(x T) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, x)
	close(j.grown)
	j.grown = make(chan struct{})
}

// next returns the oldest entry that next has not returned yet, and waits for
// it.
func (j *journal[T]) next(t *testing.T) T {
	t.Helper()
	j.waitFor(t, "an entry", func(all []T) bool { return len(all) > j.read })
	j.mu.Lock()
	defer j.mu.Unlock()
	j.read++
	return j.all[j.read-1]
}

// waitFor waits until the entries are as they should be.
func (j *journal[T]) waitFor(t *testing.T, what string, done func(all []T) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		j.mu.Lock()
		isDone, grown := done(j.all), j.grown
		j.mu.Unlock()
		if isDone {
			return
		}
		select {
		case <-grown:
		case <-deadline:
			t.Fatalf("no %s in %+v", what, j.entries())
		}
	}
}

func (j *journal[T]) entries() []T {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.all)
}

// lines are the lines of a log, as slog's text handler writes them.
type lines struct{ *journal[string] }

// Write takes one line.
func (l lines) Write(b []byte) (int, error) {
	l.add(string(b))
	return len(b), nil
}

// has waits for a line with all these parts.
func (l lines) has(t *testing.T, parts ...string) {
	t.Helper()
	l.waitFor(t, "line with "+strings.Join(parts, ", "), func(all []string) bool { return matching(all, parts) > 0 })
}

// times waits for n lines with all these parts, of which there must not be more.
func (l lines) times(t *testing.T, n int, parts ...string) {
	t.Helper()
	l.waitFor(t, strconv.Itoa(n)+" lines with "+strings.Join(parts, ", "), func(all []string) bool { return matching(all, parts) >= n })
	if got := l.count(parts...); got != n {
		t.Errorf("the log says %s %d times, want %d", strings.Join(parts, ", "), got, n)
	}
}

// count returns how many lines have all these parts.
func (l lines) count(parts ...string) int { return matching(l.entries(), parts) }

func matching(lines, parts []string) int {
	n := 0
	for _, line := range lines {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			n++
		}
	}
	return n
}
