package main

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the tests' results to testdata")

// The golden schema shows the author of a new key the text that editors will show for it.
func TestSchemaGolden(t *testing.T) {
	const golden = "testdata/schema.json"
	var got bytes.Buffer
	if err := printSchema(&got); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the schema differs from %s; if it should, run go test ./cmd/kproxy -run Golden -update", golden)
	}
}

// The schema takes the durations that kproxy takes.
func TestSchemaOfDurations(t *testing.T) {
	pattern := regexp.MustCompile(durationPattern)
	parts := []string{"", "0", "15", ".", "+", "-", "s", "ms", "us", "µs", "μs", "ns", "m", "h", "d", " ", "e"}
	accepted := 0
	for i := range len(parts) * len(parts) * len(parts) * len(parts) {
		var text string
		for n := i; n > 0; n /= len(parts) {
			text += parts[n%len(parts)]
		}
		d, err := time.ParseDuration(text)
		want := err == nil && !strings.HasPrefix(text, "-")
		if pattern.MatchString(text) != want {
			t.Fatalf("%q is %v, %v for kproxy, and the schema takes it: %v", text, d, err, !want)
		}
		if want {
			accepted++
		}
	}
	if accepted < 500 {
		t.Errorf("%d durations were tried", accepted)
	}
}
