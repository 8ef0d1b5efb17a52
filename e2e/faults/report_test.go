//go:build linux

package main

import (
	"testing"
)

func TestMerge(t *testing.T) {
	old := []row{{Fault: "nothing", Verdict: "same", Near: "a `|` b<br>c", Run: "1"}, {Fault: "loss", Verdict: "worse", Run: "1"}}
	hashed := []row{{Fault: "delay", Run: "3"}}
	plain, alsoHashed, err := tables(document(old, hashed))
	if err != nil {
		t.Fatal(err)
	}
	merged := merge(plain, []row{{Fault: "delay", Run: "2"}, {Fault: "loss", Verdict: "same", Run: "2"}})
	want := []row{
		{Fault: "nothing", Done: "—", Direct: "—", Near: "a `|` b<br>c", Far: "—", Verdict: "same", Run: "1"},
		{Fault: "loss", Verdict: "same", Run: "2"},
		{Fault: "delay", Run: "2"},
	}
	if got, want := document(merged, alsoHashed), document(want, hashed); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, hashed, err := tables(document(old, nil)); err != nil || hashed != nil {
		t.Errorf("without the second table: got %v, %v", hashed, err)
	}
	if _, _, err := tables("something else"); err == nil {
		t.Error("found a table in a text without one")
	}
}
