//go:build linux

package main

import (
	"slices"
	"testing"
)

func TestVerdict(t *testing.T) {
	tests := []struct {
		name            string
		direct, through []outcome
		want            verdict
	}{
		{"passes", []outcome{passed}, []outcome{passed}, alike},
		{"is skipped", []outcome{skipped}, []outcome{skipped}, alike},
		{"fails through kproxy twice", []outcome{passed}, []outcome{failed, failed}, against},
		{"fails, then does not end", []outcome{passed}, []outcome{failed, unfinished}, against},
		{"fails, then is not run", []outcome{passed}, []outcome{failed, missing}, against},
		{"is never run through kproxy", []outcome{passed}, []outcome{missing, missing}, against},
		{"is skipped through kproxy", []outcome{passed}, []outcome{skipped, skipped}, against},
		{"fails once", []outcome{passed}, []outcome{failed, passed}, once},
		{"fails directly too", []outcome{failed, failed}, []outcome{failed, failed}, both},
		{"fails directly, then passes there", []outcome{failed, passed}, []outcome{failed, failed}, against},
		{"fails directly alone", []outcome{failed}, []outcome{passed}, onlyDirect},
		{"fails through kproxy, is skipped directly", []outcome{skipped, skipped}, []outcome{failed, failed}, both},
		{"flaky both ways", []outcome{failed, passed}, []outcome{failed, passed}, once},
	}
	for _, test := range tests {
		tried := tries{}
		for _, o := range test.direct {
			tried.direct = append(tried.direct, result{outcome: o})
		}
		for _, o := range test.through {
			tried.through = append(tried.through, result{outcome: o})
		}
		if got := tried.verdict(); got != test.want {
			t.Errorf("a test that %s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestAgain(t *testing.T) {
	direct := results{
		"good": {outcome: passed}, "bad": {outcome: passed}, "worse": {outcome: failed}, "skipped": {outcome: skipped},
		"lost": {outcome: passed}, "half": {outcome: unfinished}, "directly bad": {outcome: failed},
	}
	throughIt := results{
		"good": {outcome: passed}, "bad": {outcome: failed}, "worse": {outcome: failed}, "skipped": {outcome: skipped},
		"half": {outcome: passed}, "directly bad": {outcome: passed},
	}
	gotDirect, gotThrough := again(direct, throughIt)
	if want := []string{"half", "worse"}; !slices.Equal(gotDirect, want) {
		t.Errorf("directly: got %v, want %v", gotDirect, want)
	}
	if want := []string{"bad", "lost", "worse"}; !slices.Equal(gotThrough, want) {
		t.Errorf("through kproxy: got %v, want %v", gotThrough, want)
	}
}
