//go:build linux

package main

import (
	"testing"
)

func TestMerge(t *testing.T) {
	old := []row{{Fault: "nothing", Verdict: "same", Near: "a `|` b<br>c", Run: "1"}, {Fault: "loss", Verdict: "worse", Run: "1"}}
	merged, err := merge(document(old), []row{{Fault: "delay", Run: "2"}, {Fault: "loss", Verdict: "same", Run: "2"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []row{
		{Fault: "nothing", Done: "—", Direct: "—", Near: "a `|` b<br>c", Far: "—", Verdict: "same", Run: "1"},
		{Fault: "loss", Verdict: "same", Run: "2"},
		{Fault: "delay", Run: "2"},
	}
	if got, want := document(merged), document(want); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := merge("something else", nil); err == nil {
		t.Error("merged into a text without a table")
	}
}
