package helm

import "testing"

// The files that the chart renders are copies: helm reads no file outside of the chart.
func TestFiles(t *testing.T) {
	for file, source := range map[string]string{
		"kproxy/files/kproxy.rules.yaml":   "../prometheus/kproxy.rules.yaml",
		"kproxy/files/kproxy-fleet.json":   "../grafana/kproxy-fleet.json",
		"kproxy/files/kproxy-cluster.json": "../grafana/kproxy-cluster.json",
	} {
		golden(t, file, read(t, source))
	}
}
