package main

import (
	"bytes"
	"flag"
	"os"
	"testing"
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
