//go:build linux

package main

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the texts of docs/faults.md anew, around its rows")

func TestMerge(t *testing.T) {
	old := []row{{Fault: "nothing", Verdict: "same", Near: "a `|` b<br>c", Run: "1", Machine: "A"}, {Fault: "loss", Verdict: "worse", Run: "1", Machine: "B"}}
	hashed := []row{{Fault: "delay", Run: "3", Machine: "C"}}
	plain, alsoHashed, err := tables(document(old, hashed))
	if err != nil {
		t.Fatal(err)
	}
	merged := merge(plain, []row{{Fault: "delay", Run: "2", Machine: "A"}, {Fault: "loss", Verdict: "same", Run: "2", Machine: "C"}})
	want := []row{
		{Fault: "nothing", Done: "—", Direct: "—", Near: "a `|` b<br>c", Far: "—", Verdict: "same", Run: "1", Machine: "A"},
		{Fault: "loss", Verdict: "same", Run: "2", Machine: "C"},
		{Fault: "delay", Run: "2", Machine: "A"},
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
	if _, _, err := tables(strings.ReplaceAll(document(old, nil), "- Machine 2:", "- Machine 3:")); err == nil {
		t.Error("a row has a machine that is not described")
	}
}

// TestMachines: each table says on which machines its rows were made.
func TestMachines(t *testing.T) {
	doc := document([]row{{Fault: "a", Machine: "A"}, {Fault: "b", Machine: "B"}, {Fault: "c", Machine: "A"}}, []row{{Fault: "d", Machine: "B"}})
	for _, want := range []string{
		"\n- Machine 1: A.\n- Machine 2: B.\n\n| fault |",
		"\n- Machine 1: B.\n\n| fault |",
		"| a | — | — | — | — | — | — | 1 |\n| b | — | — | — | — | — | — | 2 |\n| c | — | — | — | — | — | — | 1 |\n",
		"| d | — | — | — | — | — | — | 1 |\n",
	} {
		if !strings.Contains(doc, want) {
			t.Errorf("the page has no\n%s\nin\n%s", want, doc)
		}
	}
}

// TestPage: the page has the texts and the form of today.
func TestPage(t *testing.T) {
	const file = "../../docs/faults.md"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	plain, hashed, err := tables(string(page))
	if err != nil {
		t.Fatal(err)
	}
	want := document(plain, hashed)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(page) != want {
		t.Error("docs/faults.md has other texts than report.go; after a change of them: go test ./e2e/faults -update")
	}
}
