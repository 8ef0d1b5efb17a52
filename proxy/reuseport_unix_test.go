//go:build unix

package proxy_test

import (
	"strings"
	"testing"

	"kproxy/internal/portlab"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// Two proxies bind the same addresses if both are configured to share them.
func TestReusePort(t *testing.T) {
	t.Parallel()
	host := portlab.Host(t)
	start := func(reuse bool) error {
		p, err := proxy.New(&proxy.Config{Config: config.Config{
			ReusePort: reuse,
			Clusters: []config.Cluster{{
				Name: "orders", Bootstrap: []string{portlab.Closed(t)},
				Listeners: []config.Listener{{Name: "fred", Bind: host + ":9092", Nodes: config.Nodes{Ports: config.Range{First: 9100, Last: 9101}}}},
			}},
		}})
		if err != nil {
			return err
		}
		t.Cleanup(func() { stop(t, p) })
		return p.Start(t.Context())
	}
	if err := start(true); err != nil {
		t.Fatal(err)
	}
	if err := start(false); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("without the key: %v", err)
	}
	if err := start(true); err != nil {
		t.Errorf("with the key: %v", err)
	}
}
