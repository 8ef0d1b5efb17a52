//go:build e2e && linux

package chart

import (
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// Every pod keeps Kubernetes' restricted security standard, and has no token, no writable root and
// no subPath, which would hide changes of a ConfigMap.
func TestPods(t *testing.T) {
	t.Parallel()
	specs := 0
	for _, name := range names(t) {
		for _, spec := range podSpecs(t, objects(t, rendered(t, name))) {
			specs++
			if spec["enableServiceLinks"] != false {
				t.Errorf("%s: variables of Services", name)
			}
			if name != "sidecar" && (spec["automountServiceAccountToken"] != false || spec.at("securityContext", "runAsNonRoot") != true) {
				t.Errorf("%s: a token, or root", name)
			}
			for _, c := range append(spec.list("containers"), spec.list("initContainers")...) {
				held(t, name, c)
			}
		}
	}
	if specs < 2*len(names(t))-1 {
		t.Errorf("only %d pods", specs)
	}
}

// held checks one container.
func held(t *testing.T, name string, c object) {
	t.Helper()
	for key, want := range map[string]any{"runAsNonRoot": true, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "privileged": nil} {
		if got := c.at("securityContext", key); got != want {
			t.Errorf("%s, %s: %s is %v", name, c["name"], key, got)
		}
	}
	drop, _ := c.at("securityContext", "capabilities", "drop").([]any)
	if len(drop) != 1 || drop[0] != "ALL" || c.at("securityContext", "capabilities", "add") != nil || c.text("securityContext", "seccompProfile", "type") != "RuntimeDefault" {
		t.Errorf("%s, %s: capabilities or seccomp", name, c["name"])
	}
	for _, m := range c.list("volumeMounts") {
		if m["subPath"] != nil || m["subPathExpr"] != nil {
			t.Errorf("%s, %s: a subPath at %v", name, c["name"], m["mountPath"])
		}
	}
}

// The grace period is longer than drain.delay, drain.timeout and the last push of metrics.
func TestGracePeriod(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{nil, {"--set", "drain.delay=1m0.5s,drain.timeout=1h2m3s"}, {"--set", "drain.delay=0s,drain.timeout=1500ms"}} {
		for _, name := range names(t) {
			all := objects(t, rendered(t, name, flags...))
			var config struct {
				Drain struct{ Delay, Timeout string }
			}
			if err := yaml.Unmarshal([]byte(configuration(t, all)), &config); err != nil {
				t.Fatal(err)
			}
			delay, err := time.ParseDuration(config.Drain.Delay)
			if err != nil {
				t.Fatal(err)
			}
			timeout, err := time.ParseDuration(config.Drain.Timeout)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range all {
				if o.kind() != "Deployment" {
					continue
				}
				seconds, _ := o.at("spec", "template", "spec", "terminationGracePeriodSeconds").(int)
				if over := time.Duration(seconds)*time.Second - delay - timeout; over < 8*time.Second || over > 11*time.Second {
					t.Errorf("%s: %d s for %v and %v", name, seconds, delay, timeout)
				}
			}
		}
	}
}
