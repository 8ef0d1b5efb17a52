//go:build linux

package main

import (
	"maps"
	"slices"
	"time"
)

// outcome is how one try of one test ended.
type outcome int

const (
	missing    outcome = iota // it was not started
	unfinished                // it was started, and the process ended before it
	passed
	failed
	skipped
)

var outcomeNames = map[outcome]string{
	missing: "not run", unfinished: "unfinished", passed: "passed", failed: "failed", skipped: "skipped",
}

func (o outcome) String() string { return outcomeNames[o] }

// result is one try of one test.
type result struct {
	outcome outcome
	took    time.Duration
	why     string // the last lines of its output, cleaned, if it did not pass
}

// results are those of a run, by test name.
type results map[string]result

// tries are all tries of one test.
type tries struct{ direct, through []result }

// verdict is the conclusion from the tries of a test.
type verdict int

const (
	alike      verdict = iota // the same outcome both ways
	onlyDirect                // it fails directly, and passes through kproxy
	once                      // it failed through kproxy, and passed in its second try
	both                      // it passes in no try, either way
	against                   // it passes directly, and in no try through kproxy
)

var verdictNames = map[verdict]string{
	alike: "alike", onlyDirect: "fails directly only", once: "failed once", both: "fails both ways", against: "AGAINST KPROXY",
}

func (v verdict) String() string { return verdictNames[v] }

// did reports whether one of the tries had this outcome.
func did(tries []result, o outcome) bool {
	return slices.ContainsFunc(tries, func(r result) bool { return r.outcome == o })
}

// verdict compares the tries. A test that is skipped both ways is alike; one that is
// skipped through kproxy alone fails there.
func (t tries) verdict() verdict {
	switch {
	case did(t.through, passed) && did(t.through[:1], passed):
		if did(t.direct, passed) {
			return alike
		}
		return onlyDirect
	case did(t.through, passed):
		return once
	case did(t.direct, passed):
		return against
	case did(t.through, skipped) && did(t.direct, skipped):
		return alike
	default:
		return both
	}
}

// again are the tests that need a second try: those that did not pass through kproxy. A
// test that did not pass directly either gets a second try there, too: it may be flaky.
func again(direct, throughIt results) (directAgain, throughAgain []string) {
	for _, name := range names(direct, throughIt) {
		d, t := direct[name].outcome, throughIt[name].outcome
		if t == passed || t == skipped && d == skipped {
			if d == missing || d == unfinished {
				directAgain = append(directAgain, name)
			}
			continue
		}
		throughAgain = append(throughAgain, name)
		if d != passed {
			directAgain = append(directAgain, name)
		}
	}
	return directAgain, throughAgain
}

// names are the tests of several runs, sorted.
func names(all ...results) []string {
	set := map[string]bool{}
	for _, r := range all {
		for name := range r {
			set[name] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// judge has the tries of each test. firsts are the first runs; a second run may be nil.
func judge(direct, throughIt, directAgain, throughAgain results) map[string]tries {
	judged := map[string]tries{}
	for _, name := range names(direct, throughIt) {
		t := tries{direct: []result{direct[name]}, through: []result{throughIt[name]}}
		if r, ok := directAgain[name]; ok {
			t.direct = append(t.direct, r)
		}
		if r, ok := throughAgain[name]; ok {
			t.through = append(t.through, r)
		}
		judged[name] = t
	}
	return judged
}
