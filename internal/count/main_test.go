package main

import (
	"fmt"
	"testing"
)

func TestMeasure(t *testing.T) {
	sizes, err := measure("./testdata/two")
	if err != nil {
		t.Fatal(err)
	}
	if len(sizes) != 1 {
		t.Fatalf("got %d packages, want 1", len(sizes))
	}
	s := sizes[0]
	got := fmt.Sprint(s.files, s.lines, s.types, s.exported, s.functions, s.longest, s.largest(), len(s.arrows))
	// a.go uses clamp of b.go, and b.go nothing of a.go.
	if want := fmt.Sprint(2, 21, 2, 1, 4, 6, "A, 2 in 1", 1); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
