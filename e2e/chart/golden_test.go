//go:build e2e && linux

package chart

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The manifests and the notes of each values file are those in golden.
func TestGolden(t *testing.T) {
	var want []string
	for _, name := range names(t) {
		want = append(want, name+".txt", name+".yaml")
		compare(t, name+".yaml", rendered(t, name))
		out, err := helm(t, "install", "edge", chart, "-n", "kafka", "--dry-run=client", "-f", filepath.Join(values, name+".yaml"))
		_, notes, ok := strings.Cut(out, "\nNOTES:\n")
		if err != nil || !ok {
			t.Fatalf("%s has no notes: %v", name, err)
		}
		compare(t, name+".txt", notes)
	}
	entries, err := os.ReadDir(golden)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !slices.Contains(want, entry.Name()) {
			t.Errorf("%s/%s belongs to no values file", golden, entry.Name())
		}
	}
}

// compare holds a golden file to a text, or writes it.
func compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join(golden, name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; if it should, run make e2e-chart FLAGS=-update, and read the difference.\n%s", file, got)
	}
}

// helm lint finds nothing, for each values file.
func TestLint(t *testing.T) {
	for _, name := range names(t) {
		if out, err := helm(t, "lint", chart, "--strict", "-f", filepath.Join(values, name+".yaml")); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// Values that would not work are refused, with the key and the reason.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name string // of the values file
		set  string
		want string
	}{
		{"cluster-ip", "clusters=null", "clusters is empty"},
		{"cluster-ip", "exposure.mode=route", "/exposure/mode"},
		{"cluster-ip", "clusters.orders.conect_timeout=3s", "conect_timeout"},
		{"cluster-ip", "clusters.orders.listener.nodes.port=9100-9109", "port"},
		{"cluster-ip", "limits.max_age=1 hour", "/limits/max_age"},
		{"cluster-ip", "clusters.audit.bootstrap={audit:9092}", "with several clusters, each needs ports of its own"},
		{"cluster-ip", "clusters.orders.certificate.secret=a,clusters.orders.certificate.issuerRef.name=b", "/clusters/orders/certificate"},
		{"cluster-ip", "autoscaling.enabled=true", "max_age"},
		{"cluster-ip", "autoscaling.enabled=true,limits.max_age=0s", "autoscaling.enabled needs limits.max_age"},
		{"cluster-ip", "podDisruptionBudget.maxUnavailable=0", "/podDisruptionBudget/maxUnavailable"},
		{"cluster-ip", "metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true", "would scrape each pod twice"},
		{"load-balancer", "clusters.audit.bootstrap={a:9092},clusters.audit.listener.advertise=a.example.com:443", "clusters.audit.certificate is missing"},
		{"load-balancer", "clusters.audit.bootstrap={a:9092}", "clusters.audit.listener.advertise is missing"},
		{"load-balancer", "clusters.orders.listener.advertise=kafka.example.com", "has no port"},
		{"load-balancer-gcp", "clusters.orders.listener.proxy_protocol.from={10.0.0.0/8}", "sends no such header"},
		{"gateway", "exposure.gateway.parentRefs=null", "name the Gateway in parentRefs"},
		{"node-ports", "clusters.orders.listener.nodes.advertise_ports=29990-29999", "advertise_ports"},
		{"node-ports", "clusters.orders.listener.nodes.advertise_ports=32760-32769", "advertise_ports"},
		{"node-ports", "clusters.orders.listener.advertise=nodes.example.com:9092", "advertise"},
		{"node-ports", "clusters.orders.listener.nodes=null", "nodes"},
	} {
		set := []string{"--set", tt.set}
		if strings.Contains(tt.set, "null") {
			set = []string{"--set-json", tt.set}
		}
		out, err := helm(t, append([]string{"template", "edge", chart, "-n", "kafka", "-f", filepath.Join(values, tt.name+".yaml")}, set...)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, %s: got %v, want %q\n%.200s", tt.name, tt.set, err, tt.want, out)
		}
	}
}
