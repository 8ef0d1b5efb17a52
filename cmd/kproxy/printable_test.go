package main

import (
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	var out strings.Builder
	const text = "b0\x1b[2J.internal\r\x00\a\u009b — é\t:9092\n"
	n, err := printable{&out}.Write([]byte(text))
	if want := "b0[2J.internal — é\t:9092\n"; out.String() != want || n != len(text) || err != nil {
		t.Errorf("got %q, %d, %v; want %q", out.String(), n, err, want)
	}
}
