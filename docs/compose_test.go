package docs

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDashboards holds the dashboards of configs/compose to docs/metrics.md: each has panels, and each panel
// asks for metrics that kproxy exports.
func TestDashboards(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "configs/compose/grafana/dashboards/*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d dashboards, %v", len(files), err)
	}
	metrics := string(read(t, "metrics.md"))
	for _, file := range files {
		var dashboard struct {
			UID    string
			Title  string
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(read(t, file), &dashboard); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if dashboard.UID == "" || dashboard.Title == "" || len(dashboard.Panels) == 0 {
			t.Errorf("%s has no uid, no title or no panels", file)
		}
		for _, panel := range dashboard.Panels {
			names := 0
			for _, target := range panel.Targets {
				for _, name := range regexp.MustCompile(`\b(?:kproxy|process|go)_[a-z_]+`).FindAllString(target.Expr, -1) {
					names++
					if name = strings.TrimSuffix(name, "_bucket"); !strings.Contains(metrics, "`"+name+"`") {
						t.Errorf("%s: the panel %q asks for %s, which docs/metrics.md does not have", file, panel.Title, name)
					}
				}
			}
			if names == 0 {
				t.Errorf("%s: the panel %q asks for no metric", file, panel.Title)
			}
		}
	}
}
