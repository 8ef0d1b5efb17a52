package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"kproxy/internal/api"
)

// The configuration in use has each value with its source, and no secret.
func TestEffectiveConfiguration(t *testing.T) {
	t.Setenv("KPROXY_CLUSTERS_ORDERS_CONNECT_TIMEOUT", "7s")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := load(t, fmt.Sprintf(`log: {level: debug}
clusters:
  orders:
    bootstrap: [b:9092]
    via: "exec:%s --token hunter22 {host} {port}"
    dial: [{node: 0, to: "h:1"}]
    listeners:
      edge:
        bind: 127.0.0.1:9092
        nodes: {ports: 9100-9109, pin: {7: 9105}}
`, self))
	if err != nil {
		t.Fatal(err)
	}
	s.forget()
	all := s.effective()
	for _, want := range []api.Setting{
		{Key: "log.level", Value: "debug", From: api.FromFile, Line: 1},
		{Key: "log.format", Value: "text", From: api.FromDefault},
		{Key: "clusters.orders.bootstrap", Value: "[\"b:9092\"]", From: api.FromFile, Line: 4},
		{Key: "clusters.orders.connect_timeout", Value: "7s", From: api.FromEnvironment, Variable: "KPROXY_CLUSTERS_ORDERS_CONNECT_TIMEOUT"},
		{Key: "clusters.orders.dial[0].to", Value: "h:1", From: api.FromFile, Line: 6},
		{Key: "clusters.orders.listeners.edge.nodes.ports", Value: "9100-9109", From: api.FromFile, Line: 10},
		{Key: "clusters.orders.listeners.edge.nodes.pin.7", Value: "9105", From: api.FromFile, Line: 10},
		{Key: "drain.timeout", Value: "1m", From: api.FromDefault},
	} {
		i := slices.IndexFunc(all, func(s api.Setting) bool { return s.Key == want.Key })
		if i < 0 {
			t.Errorf("%s is missing", want.Key)
			continue
		}
		got := all[i]
		got.Value, want.Value = strings.ReplaceAll(got.Value, `"`, ""), strings.ReplaceAll(want.Value, `"`, "")
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	for _, s := range all {
		if strings.Contains(s.Value, "hunter22") {
			t.Errorf("a secret is shown: %+v", s)
		}
	}
}
