package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kproxy/proxy"
)

// FuzzReadConfig holds any file to: a configuration whose every address can be
// computed, or mistakes that each say where, what, and what to do instead.
func FuzzReadConfig(f *testing.F) {
	samples, err := filepath.Glob("../../configs/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, sample := range samples {
		data, err := os.ReadFile(sample)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(minimalFile))
	f.Add([]byte("clusters: {a: {dial: [{node: 1, match: x}], listeners: {b: {nodes: {pin: {1: 2}}}}}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := readConfig(data)
		if err == nil {
			s.Proxy.Plan()
			if usesTLS(&s.Proxy) {
				return // New would read its files, whatever they are
			}
			if _, err := proxy.New(&s.Proxy); err != nil {
				t.Errorf("New refuses what Validate takes: %v", err)
			}
			return
		}
		for _, mistake := range unjoin(err) {
			if !strings.Contains(mistake.Error(), "; ") {
				t.Errorf("no fix in %q", mistake)
			}
		}
	})
}

func usesTLS(c *proxy.Config) bool {
	return slices.ContainsFunc(c.Clusters, func(c proxy.Cluster) bool {
		return c.TLS != nil || slices.ContainsFunc(c.Listeners, func(l proxy.Listener) bool { return l.TLS != nil })
	})
}
