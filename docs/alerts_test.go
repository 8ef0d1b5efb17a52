package docs

import (
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// TestAlerts holds the alerts of configs/prometheus to the pages: each asks for metrics that kproxy exports, has
// a section of docs/alerts.md, and a test by promtool.
func TestAlerts(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(read(t, root+"/configs/prometheus/kproxy.rules.yaml"), &rules); err != nil {
		t.Fatal(err)
	}
	metrics, alerts, tests := string(read(t, "metrics.md")), string(read(t, "alerts.md")), string(read(t, root+"/configs/prometheus/kproxy.test.yaml"))
	found := 0
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			names := regexp.MustCompile(`\b(?:kproxy|process)_[a-z_]+`).FindAllString(strings.ReplaceAll(rule.Expr, "(listener|cluster)", "cluster"), -1)
			if len(names) == 0 && !strings.Contains(rule.Expr, `"kproxy_.+"`) { // all of them
				t.Errorf("%s asks for no metric", rule.Expr)
			}
			for _, name := range names {
				if name = strings.TrimSuffix(name, "_bucket"); !strings.Contains(metrics, "`"+name+"`") {
					t.Errorf("%s asks for %s, which docs/metrics.md does not have", rule.Expr, name)
				}
			}
			if rule.Alert == "" {
				continue
			}
			found++
			if want := "docs/alerts.md#" + strings.ToLower(rule.Alert); rule.Annotations["runbook"] != want || rule.Annotations["summary"] == "" || rule.Labels["severity"] == "" {
				t.Errorf("%s: %v, %v; want a severity, a summary, and the runbook %s", rule.Alert, rule.Labels, rule.Annotations, want)
			}
			if !strings.Contains(alerts, "\n## "+rule.Alert+"\n") {
				t.Errorf("docs/alerts.md has no section %s", rule.Alert)
			}
			if !strings.Contains(tests, `alertname="`+rule.Alert+`"`) {
				t.Errorf("kproxy.test.yaml has no fault for %s", rule.Alert)
			}
		}
	}
	if sections := strings.Count(alerts, "\n## Kproxy"); found == 0 || sections != found {
		t.Errorf("%d alerts, and %d sections", found, sections)
	}
}
