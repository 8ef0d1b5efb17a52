package main

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"

	"kproxy/internal/racelab"
)

// goodFile is a configuration without mistakes.
const goodFile = "clusters:\n  orders:\n    bootstrap: [127.0.0.1:1]\n    listeners:\n      local:\n        bind: 127.0.0.1:9092\n        nodes: {ports: 9100-9199}\n"

// A file with many mistakes takes time and memory in proportion to its size, and the
// text says how many mistakes it leaves out.
func TestBoundedMistakes(t *testing.T) {
	each := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	limit := 20 * time.Second // what grows faster than the file takes an hour
	if racelab.Enabled {
		limit *= 4
	}
	for name, tt := range map[string]struct {
		text, want string
		lines      int
	}{
		"anchors":      {each(150_000, "a%[1]d: &a%[1]d 1\n"), "and 149900 more; correct these first", 101},
		"unknown keys": {goodFile + each(150_000, "bogus%d: 1\n"), "and 149900 more; correct these first", 101},
		"long keys":    {goodFile + each(15, "%0500000d: 1\n"), "unknown key; ", 15},
		"same keys":    {goodFile + strings.Repeat("bogus: 1\n", 100_000), "and 99899 more;", 101},
		"no addresses": {strings.Replace(goodFile, "127.0.0.1:1", each(200_000, "h%d,"), 1), "clusters.orders.bootstrap: the list has 200000 items, and 10000 are the most; ", 1},
		"networks":     {goodFile + "        allow: [" + each(200_000, "10.%d.0.0,") + "]\n", "the list has 200000 items", 1},
		"rules":        {goodFile + "    dial: [" + each(100_000, "{node: %d},") + "]\n", "clusters.orders.dial: the list has 100000 items", 1},
		"clusters":     {"clusters:\n" + each(300_000, "  c%d:\n"), "more than 20000 clusters and listeners", 1},
		"values":       {goodFile + "x: [" + strings.Repeat("1,", 1_040_000) + "]\n", "x: unknown key", 1},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		_, errs := readConfig([]byte(tt.text))
		text := mistakes("kproxy.yaml", errs).Error()
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		if !strings.Contains(text, tt.want) {
			t.Errorf("%s: got %.500s, want %s", name, text, tt.want)
		}
		if n := strings.Count(text, "\n") + 1; n != tt.lines || len(text) > 100<<10 {
			t.Errorf("%s: got %d lines and %d bytes, want %d lines", name, n, len(text), tt.lines)
		}
		if allocated := (after.TotalAlloc - before.TotalAlloc) >> 20; took > limit || allocated > 1200 {
			t.Errorf("%s: %d bytes took %s and %d MiB", name, len(tt.text), took, allocated)
		}
	}
}

// Each mistake is one line that is fit for a terminal, whatever keys and values the file
// has. A long key is cut, and its mistake is still named.
func TestMistakeIsOneLine(t *testing.T) {
	const hostile = `"x: ok\nkproxy: /etc/passwd:1:1: all is well\r\x1b[31m\u2028\u202e"`
	long := strings.Repeat("k", 5000)
	for _, tt := range []struct{ text, want string }{
		{goodFile + hostile + ": 1\n", `8:1: x: ok\nkproxy: /etc/passwd:1:1: all is well\r\x1b[31m\u2028\u202e: unknown key; `},
		{goodFile + hostile + ": 1\n" + hostile + ": 1\n", `9:1: x: ok\nkproxy: /etc/passwd:1:1: all is well\r\x1b[31m\u2028\u202e: the key is there twice, first in line 8; `},
		{strings.Replace(goodFile, "orders", hostile, 1), `2:3: clusters.x: ok\nkproxy: /etc/passwd:1:1: all is well\r\x1b[31m\u2028\u202e: the name "x: ok\nkproxy: `},
		{strings.Replace(goodFile, "9100-9199", hostile, 1), `7:17: clusters.orders.listeners.local.nodes.ports: "x: ok\nkproxy: `},
		{strings.Replace(goodFile, "9100-9199", "99999999999999999999999", 1), "nodes.ports: 99999999999999999999999 is not a range"},
		{strings.Replace(goodFile, "9100-9199", ".inf", 1), "nodes.ports: .inf is not a range"},
		{goodFile + long + ": 1\n", "k…: unknown key; "},
		{strings.Replace(goodFile, "9100-9199", long, 1), `k"… is not a range; write one such as 9100-9199`},
	} {
		_, errs := readConfig([]byte(tt.text))
		text := mistakes("kproxy.yaml", errs).Error()
		if !strings.Contains(text, tt.want) {
			t.Errorf("got  %q\nwant %q in it", text, tt.want)
		}
		if len(text) > 2000 || strings.Count(text, "\n") != len(errs)-1 {
			t.Errorf("%d mistakes are %d bytes: %.300q", len(errs), len(text), text)
		}
		for _, r := range text {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%q is in %q", r, text)
			}
		}
	}
}
