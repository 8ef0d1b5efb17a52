//go:build e2e && linux

package chart

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// No key of values.yaml crashes a template when it is null. The schema or a rule refuses the values, or kproxy
// check accepts the configuration. A null takes the chart's own value out.
func TestNulls(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := yaml.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	// With these, the templates read most values.
	const on = "autoscaling.enabled=true,limits.max_age=1h,metrics.serviceMonitor.enabled=true,metrics.prometheusRule.enabled=true,metrics.dashboard.enabled=true,networkPolicy.enabled=true"
	paths := pathsOf(all, "")
	if len(paths) < 80 {
		t.Errorf("values.yaml has the keys %q", paths)
	}
	for _, path := range paths {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			out, err := helm(t, "template", "edge", chart, "-n", "kafka", "-f", filepath.Join(values, "load-balancer-nlb.yaml"), "--set", on, "--set", path+"=null")
			if err == nil {
				checked(t, configuration(t, objects(t, out)))
				return
			}
			if !strings.Contains(err.Error(), "execution error at ") && !strings.Contains(err.Error(), "values don't meet the specifications of the schema") {
				t.Error(err)
			}
		})
	}
}

// pathsOf are the paths of all keys, and of the sections.
func pathsOf(section map[string]any, prefix string) []string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(section)) {
		all = append(all, prefix+key)
		if below, ok := section[key].(map[string]any); ok {
			all = append(all, pathsOf(below, prefix+key+".")...)
		}
	}
	return all
}
