package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// Grafana's grid is 24 columns wide. Six figures, or two graphs, fill a line of it.
const (
	figureWidth, figureHeight = 4, 4
	graphWidth, graphHeight   = 12, 8
	listWidth                 = 24
)

// The colours of thresholds and states.
const (
	good = "green"
	warn = "orange"
	bad  = "red"
)

// board is a dashboard in the schema that every Grafana reads from a file, from a ConfigMap and by its import. The SDK
// prefers the second schema, which older ones do not read.
type board = dashboard.DashboardBuilder //nolint:staticcheck // deprecated for that

// source is the data source that the reader chooses.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: new("prometheus"), Uid: new("${datasource}")}
}

// fresh returns a dashboard without panels.
func fresh(uid, title, description string) *board {
	return dashboard.NewDashboardBuilder(title). //nolint:staticcheck // as board
							Uid(uid).Description(description).
							Tags([]string{"kproxy", "kafka"}).
							Timezone("browser").Refresh("30s").Time("now-1h", "now").
							Tooltip(dashboard.DashboardCursorSyncCrosshair).
							Link(dashboard.NewDashboardLinkBuilder("kproxy").Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{"kproxy"}).KeepTime(true).IncludeVars(true)).
							WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("data source").Type("prometheus"))
}

// choice is a variable with the values of a label. Where several may be chosen, all are at first.
func choice(name, query string, several bool) *dashboard.QueryVariableBuilder {
	b := dashboard.NewQueryVariableBuilder(name).Datasource(source()).
		Query(dashboard.StringOrMap{String: &query}).Definition(query).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortNaturalAsc)
	if several {
		all := func(text string) dashboard.StringOrArrayOfString {
			return dashboard.StringOrArrayOfString{ArrayOfString: []string{text}}
		}
		b.Multi(true).IncludeAll(true).Current(dashboard.VariableOption{Text: all("All"), Value: all("$__all")})
	}
	return b
}

// mark is an annotation: it marks the times at which the expression has a value.
func mark(name, colour, expr, title, text string) *dashboard.AnnotationQueryBuilder {
	return dashboard.NewAnnotationQueryBuilder().Name(name).Datasource(source()).Enable(true).IconColor(colour).
		Expr(expr).Step("60s").TitleFormat(title).TextFormat(text)
}

// targets are the queries of a panel.
func targets(queries []query, shape func(*prometheus.DataqueryBuilder)) []cog.Builder[variants.Dataquery] {
	var all []cog.Builder[variants.Dataquery]
	for i, q := range queries {
		b := prometheus.NewDataqueryBuilder().RefId(string(rune('A' + i))).Expr(q.expr).LegendFormat(q.legend)
		shape(b)
		all = append(all, b)
	}
	return all
}

func overTime(b *prometheus.DataqueryBuilder) { b.Range() }
func now(b *prometheus.DataqueryBuilder)      { b.Instant() }
func rows(b *prometheus.DataqueryBuilder)     { b.Instant().Format(prometheus.PromQueryFormatTable) }

// steps are the values from which on a figure is orange and red. The same value twice leaves orange out.
func steps(orange, red float64) *dashboard.ThresholdsConfigBuilder {
	all := []dashboard.Threshold{{Color: good}}
	if orange < red {
		all = append(all, dashboard.Threshold{Value: &orange, Color: warn})
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).
		Steps(append(all, dashboard.Threshold{Value: &red, Color: bad}))
}

// plain takes the thresholds from one figure of a panel.
func plain(b *stat.PanelBuilder, legend string) *stat.PanelBuilder {
	return b.OverrideByName(legend, []dashboard.DynamicConfigValue{{Id: "color", Value: map[string]string{"mode": "fixed", "fixedColor": "text"}}})
}

// figures shows the last values of queries, each with its name.
func figures(title, question, unit string, thresholds *dashboard.ThresholdsConfigBuilder, queries ...query) *stat.PanelBuilder {
	return stat.NewPanelBuilder().Title(title).Description(question).Unit(unit).
		Span(figureWidth).Height(figureHeight).Datasource(source()).Targets(targets(queries, now)).
		Thresholds(thresholds).ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdThresholds)).
		ColorMode(common.BigValueColorModeValue).GraphMode(common.BigValueGraphModeNone).TextMode(common.BigValueTextModeValueAndName).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
}

// lines shows queries over time.
func lines(title, question, unit string, queries ...query) *timeseries.PanelBuilder {
	return timeseries.NewPanelBuilder().Title(title).Description(question).Unit(unit).Min(0).
		Span(graphWidth).Height(graphHeight).Datasource(source()).Targets(targets(queries, overTime)).
		ShowPoints(common.VisibilityModeNever).FillOpacity(10).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeTable).Placement(common.LegendPlacementRight).Calcs([]string{"lastNotNull", "max"})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
}

// bars shows numbers of rare events.
func bars(title, question string, queries ...query) *timeseries.PanelBuilder {
	return lines(title, question, units.Short, queries...).Decimals(0).NoValue("none").
		DrawStyle(common.GraphDrawStyleBars).FillOpacity(80).
		Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal)).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeTable).Placement(common.LegendPlacementRight).Calcs([]string{"sum"}))
}

// states shows over time whether something is as it should be: texts are those of 0 and of 1, and fine is the good one.
func states(title, question string, texts [2]string, fine int, queries ...query) *statetimeline.PanelBuilder {
	options := map[string]dashboard.ValueMappingResult{}
	for i, value := range []string{"0", "1"} {
		colour := bad
		if i == fine {
			colour = good
		}
		options[value] = dashboard.ValueMappingResult{Text: &texts[i], Color: &colour, Index: new(int32(i))}
	}
	return statetimeline.NewPanelBuilder().Title(title).Description(question).Unit(units.NoUnit).
		Span(graphWidth).Height(graphHeight).Datasource(source()).Targets(targets(queries, overTime)).
		Mappings([]dashboard.ValueMapping{{ValueMap: &dashboard.ValueMap{Type: dashboard.MappingTypeValueToText, Options: options}}}).
		ShowValue(common.VisibilityModeNever).RowHeight(0.8).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom))
}

// column is one column of a list: the query of its values, its name and their unit.
type column struct{ expr, name, unit string }

// list shows a row for each set of labels, with the last value of each column.
func list(title, question string, columns ...column) *table.PanelBuilder {
	names, queries := map[string]string{}, []query{}
	for i, c := range columns {
		field := "Value"
		if len(columns) > 1 {
			field += " #" + string(rune('A'+i))
		}
		names[field] = c.name
		queries = append(queries, query{expr: c.expr})
	}
	b := table.NewPanelBuilder().Title(title).Description(question).Unit(units.NoUnit).NoValue("none").
		Span(listWidth).Height(graphHeight).Datasource(source()).Targets(targets(queries, rows)).
		WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"excludeByName": map[string]bool{"Time": true}, "renameByName": names,
		}})
	for _, c := range columns {
		b.OverrideByName(c.name, []dashboard.DynamicConfigValue{{Id: "unit", Value: c.unit}})
	}
	return b
}
