//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// seen counts the record values that consumers have read.
type seen struct {
	by string // the reader's name, for messages

	mu    sync.Mutex
	times map[string]int
	total int
}

func newSeen(by string) *seen { return &seen{by: by, times: make(map[string]int)} }

// Add counts one record.
func (s *seen) Add(value string) {
	name := nameOf(value)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times[name]++
	s.total++
}

// nameOf is a value's first word; the rest is padding, which must not be kept in
// memory for the sake of the name.
func nameOf(value string) string {
	name, _, _ := strings.Cut(strings.TrimSuffix(value, "\n"), " ")
	return strings.Clone(name)
}

// Total is the count of records, Distinct that of their values.
func (s *seen) Total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

func (s *seen) Distinct() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.times)
}

// missing are the records of want that were not read.
func (s *seen) missing(want []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(want), func(v string) bool { return s.times[v] > 0 })
}

// WaitFor waits until at least n different values have been read.
func (s *seen) WaitFor(t *testing.T, timeout time.Duration, n int) {
	t.Helper()
	eventually(t, timeout, func() error {
		if got := s.Distinct(); got < n {
			return fmt.Errorf("records read by %s: got %d, want %d", s.by, got, n)
		}
		return nil
	})
}

// missingAfter waits until all of want have been read, and returns those that are not after a time.
func (s *seen) missingAfter(t *testing.T, timeout time.Duration, want []string) []string {
	t.Helper()
	_ = lab.Poll(t.Context(), timeout, func() error {
		if len(s.missing(want)) > 0 {
			return errMissing
		}
		return nil
	})
	return s.missing(want)
}

var errMissing = errors.New("records are missing")

// WaitForAll waits until all of want have been read from a topic, and fails if
// anything else has.
func (s *seen) WaitForAll(t *testing.T, timeout time.Duration, topic string, want []string) {
	t.Helper()
	if missing := s.missingAfter(t, timeout, want); len(missing) > 0 {
		t.Fatalf("after %v: records not read by %s: %d of %d\n%s", timeout, s.by, len(missing), len(want), shared.kafka.locate(t, topic, missing))
	}
	if got := s.Distinct(); got != len(want) {
		t.Errorf("different records read by %s: got %d, want %d", s.by, got, len(want))
	}
}

// NoDuplicates fails if a record was read twice.
func (s *seen) NoDuplicates(t *testing.T) {
	t.Helper()
	if got, want := s.Total(), s.Distinct(); got != want {
		t.Errorf("records read by %s: got %d, want each of %d once", s.by, got, want)
	}
}
