package config_test

import (
	"testing"

	"kproxy/proxy/config"
)

// A few words name the requests that a listener refuses.
func TestRefusals(t *testing.T) {
	for want, apis := range map[string]config.APIs{
		"":          {Allow: []string{"CreateDelegationToken"}},
		"read-only": {Preset: config.ReadOnly},
		"read-only, but allows CreateTopics, refuses DescribeAcls": {Preset: config.ReadOnly, Allow: []string{"CreateTopics"}, Deny: []string{"DescribeAcls"}},
		"refuses A, B, C":            {Deny: []string{"A", "B", "C"}, Allow: []string{"D"}},
		"refuses A, B, C and 2 more": {Deny: []string{"A", "B", "C", "D", "E"}},
	} {
		if got := apis.Refusals(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
