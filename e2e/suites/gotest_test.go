//go:build linux

package main

import (
	"strings"
	"testing"
	"time"
)

// parsed are the results of an output.
func parsed(t *testing.T, output string, s suite) results {
	t.Helper()
	got := results{}
	if err := s.parse(strings.NewReader(output), func(name string, r result) { got[name] = r }); err != nil {
		t.Fatal(err)
	}
	return got
}

func compare(t *testing.T, got, want results) {
	t.Helper()
	for _, name := range names(got, want) {
		if g, w := got[name], want[name]; g.outcome != w.outcome || g.took != w.took || !strings.Contains(g.why, w.why) || (w.why == "") != (g.why == "") {
			t.Errorf("%s: got %v, want %v", name, g, w)
		}
	}
}

func TestParseGoTest(t *testing.T) {
	const output = `{"Action":"start"}
{"Action":"run","Test":"TestGood"}
{"Action":"output","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"pass","Test":"TestGood","Elapsed":1.5}
{"Action":"run","Test":"TestBad"}
{"Action":"run","Test":"TestBad/part"}
{"Action":"output","Test":"TestBad/part","Output":"    bad_test.go:7: got 1, want 2\n"}
{"Action":"fail","Test":"TestBad/part","Elapsed":0.25}
{"Action":"fail","Test":"TestBad","Elapsed":0.25}
{"Action":"skip","Test":"TestSkipped","Elapsed":0}
no event at all
{"Action":"run","Package":"other","Test":"TestGood"}
{"Action":"pass","Package":"other","Test":"TestGood","Elapsed":0}
{"Action":"run","Test":"TestHangs"}
{"Action":"output","Output":"panic: test timed out after 1s\n"}
{"Action":"fail","Elapsed":2}
`
	compare(t, parsed(t, output, &kgo{}), results{
		"TestGood":       {outcome: passed, took: 1500 * time.Millisecond},
		"TestBad":        {outcome: failed, took: 250 * time.Millisecond},
		"TestBad/part":   {outcome: failed, took: 250 * time.Millisecond, why: "got 1, want 2"},
		"TestSkipped":    {outcome: skipped},
		"other.TestGood": {outcome: passed},
		"TestHangs":      {outcome: unfinished, why: "timed out"},
	})
}

func TestParseTestRunner(t *testing.T) {
	const output = "\x1b[36m[<MAIN>                      /  0.000s] Git version: HEAD\n\x1b[0m" +
		"\x1b[36m[0001_multiobj               /  0.000s] ================= Running test 0001_multiobj =================\n\x1b[0m" +
		"\x1b[36m[0012_produce_consume        /  0.000s] ================= Running test 0012_produce_consume =================\n\x1b[0m" +
		"\x1b[31m[0012_produce_consume        /  7.250s] Expected 10 messages, got 9\n\x1b[0m" +
		"\x1b[36m[0012_produce_consume        /  7.250s] \x1b[31m================= Test 0012_produce_consume FAILED =================\x1b[0m\n\x1b[0m" +
		"\x1b[36m[0099_commit_metadata        /  0.000s] ================= Running test 0099_commit_metadata =================\n\x1b[0m" +
		"TEST 20261129000000 (bare, scenario default) SUMMARY\n" +
		"|\x1b[32m <MAIN>                                   |     PASSED |   9.000s \x1b[0m|\n" +
		"|\x1b[36m 0000_unittests                           |    SKIPPED |   0.000s \x1b[0m|\x1b[36m Filtered due to negative test flags\x1b[0m\n" +
		"|\x1b[36m 0170_share_consumer_subscription         |    SKIPPED |   0.000s \x1b[0m|\x1b[36m included in TESTS_SKIP list\x1b[0m\n" +
		"|\x1b[32m 0001_multiobj                            |     PASSED |   1.500s \x1b[0m|\n" +
		"|\x1b[31m 0012_produce_consume                     |     FAILED |   7.250s \x1b[0m|\x1b[31m test_consume:9: Expected 10\x1b[0m\n" +
		"|\x1b[33m 0013_null_msgs                           |        DNS |   0.000s \x1b[0m|\n" +
		"|\x1b[36m 0097_ssl_verify                          |    SKIPPED |   0.001s \x1b[0m|\x1b[36m Test requires SSL_ env-vars\x1b[0m\n" +
		"|\x1b[35m 0099_commit_metadata                     |    RUNNING |  30.000s \x1b[0m|\n"
	want := results{
		"0001_multiobj":        {outcome: passed, took: 1500 * time.Millisecond},
		"0012_produce_consume": {outcome: failed, took: 7250 * time.Millisecond, why: "Expected 10 messages"},
		"0097_ssl_verify":      {outcome: skipped, took: time.Millisecond, why: "SSL_"},
		"0099_commit_metadata": {outcome: unfinished, took: 30 * time.Second, why: "Running"},
	}
	compare(t, parsed(t, output, &librdkafka{}), want)

	// A process that is killed prints no table.
	killed, _, _ := strings.Cut(output, "TEST 2026")
	compare(t, parsed(t, killed, &librdkafka{}), results{
		"0001_multiobj":        {outcome: unfinished, why: "Running"},
		"0012_produce_consume": {outcome: failed, why: "Expected 10 messages"},
		"0099_commit_metadata": {outcome: unfinished, why: "Running"},
	})
}

// A line of any length, and an escape sequence, do no harm.
func TestOutputIsBounded(t *testing.T) {
	output := `{"Action":"output","Test":"TestBad","Output":"` + strings.Repeat("x", 100_000) + `\u001b[2J\n"}
{"Action":"fail","Test":"TestBad"}
` + strings.Repeat("y", 3*maxLine)
	why := parsed(t, output, &kgo{})["TestBad"].why
	if len(why) == 0 || len(why) > 1000 || strings.Contains(why, "\x1b") {
		t.Errorf("got %d bytes, want 1 to 1000 without an escape sequence: %.100q", len(why), why)
	}
	var kept strings.Builder
	b := &bounded{w: &kept, left: 5}
	for _, part := range []string{"abc", "def", "ghi"} {
		if n, err := b.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("Write(%q): got %d, %v", part, n, err)
		}
	}
	if kept.String() != "abcde" {
		t.Errorf("got %q, want abcde", &kept)
	}
}
