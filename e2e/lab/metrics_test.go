//go:build linux

package lab

import (
	"maps"
	"testing"
)

func TestMetrics(t *testing.T) {
	const metrics = `# TYPE kproxy_addresses_total counter
kproxy_addresses_total{api="Fetch",kind="rewritten",listener="a"} 3
kproxy_addresses_total{api="Fetch",kind="rewritten",listener="b"} 4
kproxy_addresses_total{api="Fetch",kind="neutralised",listener="b"} 1.2e+03
kproxy_addresses_total{api="Metadata",kind="rewritten",listener="a"} 5
kproxy_addresses_total_of_others{api="Fetch",kind="rewritten"} 6
`
	got, err := Counts(metrics, "kproxy_addresses_total", "kind", map[string]string{"api": "Fetch"})
	if want := map[string]int{"rewritten": 7, "neutralised": 1200}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if n, err := Value("x_total 1\nx 2.5e+01\n", "x"); err != nil || n != 25 {
		t.Errorf("got %v, %v, want 25", n, err)
	}
	if _, err := Value("x_total 1\n", "x"); err == nil {
		t.Error("a value is taken that is not there")
	}
	if _, err := Counts("x{} many\n", "x", "kind", nil); err == nil {
		t.Error("a value that is no number is taken")
	}
}
