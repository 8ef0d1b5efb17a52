// Command dashboards writes kproxy's dashboards for Grafana beside its sources:
//
//	make dashboards
//
// kproxy-fleet.json (fleet.go) is about every kproxy that a Prometheus scrapes, kproxy-cluster.json (cluster.go) about
// one cluster behind them. Both begin with the question "is it us?". queries.go has the expressions, panels.go the
// shapes of panels.
//
// It is a module of its own: Grafana's SDK is no dependency of kproxy's.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// dashboards are the builders of the files.
var dashboards = map[string]func() *board{
	"kproxy-fleet.json":   fleet,
	"kproxy-cluster.json": cluster,
}

func main() {
	for file, build := range dashboards {
		text, err := render(build())
		if err == nil {
			err = os.WriteFile(file, text, 0o644) //nolint:gosec // a file of the repository, which holds no secret
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "dashboards: %s: %v\n", file, err)
			os.Exit(1) //nolint:forbidigo // this is main
		}
	}
}

// render returns a dashboard as Grafana reads it. Panels are numbered in their order.
func render(builder *board) ([]byte, error) {
	built, err := builder.Build()
	if err != nil {
		return nil, err
	}
	for i := range built.Panels {
		id := uint32(i + 1)
		if row := built.Panels[i].RowPanel; row != nil {
			row.Id = id
		} else {
			built.Panels[i].Panel.Id = &id
		}
	}
	text, err := json.MarshalIndent(built, "", "  ")
	return append(text, '\n'), err
}
