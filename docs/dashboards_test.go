package docs

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// panel is a part of a dashboard that Grafana draws.
type panel struct {
	Type, Title, Description string
	Targets                  []struct{ Expr, RefID string }
	GridPos                  struct{ H, W, X, Y int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
}

// TestDashboards holds the dashboards of configs/grafana to docs/metrics.md and to their reader: each panel answers a
// question, has a unit and a place, and asks for metrics and labels that kproxy has; each metric is on a dashboard.
func TestDashboards(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "configs/grafana/*.json"))
	if err != nil || len(files) != 2 {
		t.Fatalf("found %d dashboards, %v", len(files), err)
	}
	metrics := metricsPage(t)
	asked := map[string]bool{}
	for _, file := range files {
		var dashboard struct {
			UID, Title  string
			Panels      []panel
			Annotations struct{ List []struct{ Expr string } }
			Templating  struct {
				List []struct{ Name, Definition string }
			}
		}
		if err := json.Unmarshal(read(t, file), &dashboard); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if dashboard.UID != strings.TrimSuffix(filepath.Base(file), ".json") || dashboard.Title == "" || len(dashboard.Panels) == 0 || dashboard.Panels[0].Title != "Is it us?" {
			t.Errorf("%s: got uid %q, title %q and %d panels; want the file's name, a title, and the row Is it us? first", file, dashboard.UID, dashboard.Title, len(dashboard.Panels))
		}
		for _, p := range dashboard.Panels {
			readable(t, file, p)
			for _, target := range p.Targets {
				names := known(t, metrics, target.Expr)
				if len(names) == 0 {
					t.Errorf("%s: the panel %q asks for no metric: %s", file, p.Title, target.Expr)
				}
				for _, name := range names {
					asked[name] = true
				}
			}
		}
		inPlace(t, file, dashboard.Panels)
		for _, a := range dashboard.Annotations.List {
			known(t, metrics, a.Expr)
		}
		for _, v := range dashboard.Templating.List {
			known(t, metrics, v.Definition)
		}
	}
	for name := range metrics {
		if strings.HasPrefix(name, "kproxy_") && !asked[name] {
			t.Errorf("no dashboard has %s", name)
		}
	}
}

// metricsPage returns the labels of each metric of docs/metrics.md.
func metricsPage(t *testing.T) map[string][]string {
	t.Helper()
	page := string(read(t, "metrics.md"))
	metrics := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(kproxy_[a-z_]+)` \\| [a-z]+ \\| [^|]* \\| ([a-z, ]*)\\|").FindAllStringSubmatch(page, -1) {
		metrics[m[1]] = strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' || r == ' ' })
	}
	if len(metrics) < 30 {
		t.Fatalf("docs/metrics.md has %d metrics", len(metrics))
	}
	for _, m := range regexp.MustCompile("`((?:go|process)_[a-z_]+|target_info)`").FindAllStringSubmatch(page, -1) {
		metrics[m[1]] = []string{"service_name", "service_version", "service_instance_id"}
	}
	return metrics
}

// known returns the metrics of an expression. It fails for one that kproxy does not have, and for a label that none of
// them has.
func known(t *testing.T, metrics map[string][]string, expr string) (names []string) {
	t.Helper()
	labels := []string{"instance", "job", "le", "__name__"}
	either := []string{strings.ReplaceAll(expr, "(listener|cluster)", "listener"), strings.ReplaceAll(expr, "(listener|cluster)", "cluster")}
	for _, text := range slices.Compact(either) {
		for _, name := range regexp.MustCompile(`\b(?:kproxy|process|go|target)_[a-z_]+`).FindAllString(text, -1) {
			name = strings.TrimSuffix(name, "_bucket")
			has, ok := metrics[name]
			if !ok {
				t.Errorf("%s: docs/metrics.md has no %s", expr, name)
			}
			names, labels = append(names, name), append(labels, has...)
		}
	}
	if strings.Contains(expr, "ALERTS") {
		labels = append(labels, "alertname", "alertstate", "cluster")
	}
	used := regexp.MustCompile(`[{,]\s*([a-z_]+)\s*(?:=|!)`).FindAllStringSubmatch(expr, -1)
	for _, m := range regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`).FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(m[1], ", ") {
			used = append(used, []string{"", label})
		}
	}
	for _, m := range used {
		if !slices.Contains(labels, m[1]) {
			t.Errorf("%s: none of %q has the label %s", expr, names, m[1])
		}
	}
	return names
}

// readable wants a panel that answers a question, in a unit, and that is wide enough for Grafana's usual width: a
// figure a sixth of it, everything else a half.
func readable(t *testing.T, file string, p panel) {
	t.Helper()
	if p.Type == "row" {
		return
	}
	if p.Title == "" || len(p.Title) > 30 || !strings.Contains(p.Description, "?") || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
		t.Errorf("%s: the panel %q has the description %q, the unit %q and %d queries; want a title that fits, a question, a unit and a query", file, p.Title, p.Description, p.FieldConfig.Defaults.Unit, len(p.Targets))
	}
	width, height := 12, 8
	if p.Type == "stat" {
		width, height = 4, 4
	}
	if p.GridPos.W < width || p.GridPos.H < height {
		t.Errorf("%s: the panel %q is %d wide and %d high, want at least %d and %d", file, p.Title, p.GridPos.W, p.GridPos.H, width, height)
	}
}

// inPlace wants panels that fill lines of Grafana's 24 columns, none over another.
func inPlace(t *testing.T, file string, panels []panel) {
	t.Helper()
	taken := map[[2]int]string{}
	bottom := 0
	for _, p := range panels {
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if at[0] >= 24 || taken[at] != "" {
					t.Fatalf("%s: the panel %q is beyond the edge, or on %q", file, p.Title, taken[at])
				}
				taken[at] = p.Title
				bottom = max(bottom, at[1]+1)
			}
		}
	}
	if free := 24*bottom - len(taken); free > 0 {
		t.Errorf("%s leaves %d cells free", file, free)
	}
}
