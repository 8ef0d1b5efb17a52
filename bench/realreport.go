//go:build linux

package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"text/template"
	"time"
)

// realReport is the result of `bench real`.
type realReport struct {
	Command   string       `json:"command"`
	Began     time.Time    `json:"began"`
	Took      string       `json:"took"`
	Machine   machine      `json:"machine"`
	Upstream  string       `json:"upstream"`
	Rounds    int          `json:"rounds"`
	Megabytes int          `json:"megabytes"`  // of records in a turn at the maximum
	RateShare float64      `json:"rate_share"` // the pinned rate, as a part of the slowest maximum
	Targets   []realTarget `json:"targets"`
	// Figures are by target, load and figure: mb_per_s, cpu_s_per_gb (the target's), broker_cpu_s_per_gb
	// and client_cpu_s_per_gb at the maximum; the same and p50_ms, p99_ms and p99.9_ms with pinned_ in front.
	Figures map[string]map[string]map[string]series `json:"figures"`
}

// realTarget is a target of `bench real`.
type realTarget struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Config  string `json:"config"`
}

func newRealReport(o realOptions) *realReport {
	return &realReport{
		Command: command(os.Args[1:]), Began: time.Now(), Machine: thisMachine(), Rounds: o.rounds, Megabytes: o.megabytes,
		RateShare: o.share, Figures: map[string]map[string]map[string]series{},
	}
}

// readRealReport reads what write has written.
func readRealReport(file string) (*realReport, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := new(realReport)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(r.Figures) == 0 || len(r.Targets) == 0 {
		return nil, fmt.Errorf("%s: no figures: it is not of real --json", file)
	}
	return r, nil
}

// add adds one turn's figures.
func (r *realReport) add(target, load string, f figures) {
	if r.Figures[target] == nil {
		r.Figures[target] = map[string]map[string]series{}
	}
	if r.Figures[target][load] == nil {
		r.Figures[target][load] = map[string]series{}
	}
	for name, v := range f {
		r.Figures[target][load][name] = append(r.Figures[target][load][name], v)
	}
}

func (r *realReport) series(target, load, name string) series { return r.Figures[target][load][name] }

func (r *realReport) write(file string, stdout io.Writer) error {
	if r.Took == "" {
		r.Took = time.Since(r.Began).Round(time.Second).String()
	}
	if file != "" {
		b, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	return r.writeTable(stdout)
}

// isPaced reports whether there are figures at a pinned rate.
func (r *realReport) isPaced() bool {
	return len(r.series(r.Targets[0].Name, "produce-1KB", pinned+"cpu_s_per_gb")) > 0
}

// writeTable writes the sentence, and a table for each load.
func (r *realReport) writeTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) } // Flush has the error
	say("%s\n%s, %d cores; %s; %s; %s\n", r.Command, r.Machine.CPU, r.Machine.Cores, r.Machine.Kernel, r.Machine.Go, r.Took)
	say("%s; %d rounds of %d MB; median (least..greatest)\n\n%s\n", r.Upstream, r.Rounds, r.Megabytes, r.Sentence())
	for _, l := range realLoads() {
		titles, rows := r.tableOf(l)
		say("\n%s\n%s\n", l.name, strings.Join(titles, "\t"))
		for _, row := range rows {
			say("%s\n", strings.Join(row, "\t"))
		}
	}
	return w.Flush()
}

// tableOf is the table of a load: a row for each target.
func (r *realReport) tableOf(l realLoad) (titles []string, rows [][]string) {
	titles = []string{"TARGET", "MB/s", "CPU s/GB", "broker's", "client's"}
	names := []string{"mb_per_s", "cpu_s_per_gb", "broker_cpu_s_per_gb", "client_cpu_s_per_gb"}
	if l.produce && r.isPaced() {
		titles = append(titles, "pinned CPU s/GB", "p50 ms", "p99 ms", "p99.9 ms")
		names = append(names, pinned+"cpu_s_per_gb", pinned+"p50_ms", pinned+"p99_ms", pinned+"p99.9_ms")
	}
	for _, t := range r.Targets {
		row := []string{t.Name}
		for _, name := range names {
			if t.Name == directName && (name == "cpu_s_per_gb" || name == pinned+"cpu_s_per_gb") {
				row = append(row, "-") // it has no process
				continue
			}
			row = append(row, spread(r.series(t.Name, l.name, name)))
		}
		rows = append(rows, row)
	}
	return titles, rows
}

// Sentence is the answer for an engineer who must choose a proxy, in medians.
func (r *realReport) Sentence() string {
	costs := func(load, name string) string {
		var all []string
		for _, t := range r.Targets {
			if t.Name != directName {
				all = append(all, t.Name+" "+short(r.series(t.Name, load, name).median()))
			}
		}
		return strings.Join(all, ", ")
	}
	text := fmt.Sprintf("In front of a real Kafka broker, a gigabyte of 1 KB records costs these CPU seconds: consumed, %s; produced, %s",
		costs("consume-1KB", "cpu_s_per_gb"), costs("produce-1KB", "cpu_s_per_gb"))
	if r.isPaced() {
		text += "; produced at half load, " + costs("produce-1KB", pinned+"cpu_s_per_gb")
	}
	return text + "."
}

//go:embed real.gosvg
var realPicture string

// realBar is a bar of the picture, in pixels.
type realBar struct {
	Target, Value    string
	Y, Middle        int
	Length, From, To float64 // the bar's end is the median; a line is from the least to the greatest round
	Ours             bool
}

// realChart is the bars of one load.
type realChart struct {
	Title string
	Y     int
	Bars  []realBar
}

// realCosts is a load of the picture, and the figure of its bars.
type realCosts struct{ title, load, figure string }

// costs has the loads at the maximum, and those that have figures of half load.
func (r *realReport) costs() (all []realCosts) {
	for _, l := range realLoads() {
		all = append(all, realCosts{l.name + " at the maximum", l.name, "cpu_s_per_gb"})
		if l.produce && r.isPaced() {
			all = append(all, realCosts{l.name + " at half load", l.name, pinned + "cpu_s_per_gb"})
		}
	}
	return all
}

// picture draws the CPU of a gigabyte of each target as SVG.
func (r *realReport) picture(out io.Writer) error {
	const pitch, head, room, labels = 26, 34, 400.0, 122
	var charts []realChart
	most, y := 0.0, 0
	for _, c := range r.costs() {
		for _, t := range r.Targets {
			if _, greatest := r.series(t.Name, c.load, c.figure).spread(); t.Name != directName {
				most = max(most, greatest)
			}
		}
	}
	for _, c := range r.costs() {
		chart := realChart{Title: c.title, Y: y}
		for _, t := range r.Targets {
			s := r.series(t.Name, c.load, c.figure)
			if t.Name == directName || len(s.known()) == 0 {
				continue
			}
			least, greatest := s.spread()
			top := y + head + pitch*len(chart.Bars)
			chart.Bars = append(chart.Bars, realBar{
				t.Name, short(s.median()), top, top + 9,
				room * s.median() / most, labels + room*least/most, labels + room*greatest/most, t.Name == kproxyName,
			})
		}
		y += head + pitch*len(chart.Bars) + 10
		charts = append(charts, chart)
	}
	t, err := template.New("").Parse(realPicture)
	if err != nil {
		return err
	}
	return t.Execute(out, map[string]any{"Charts": charts, "Height": y, "Sentence": r.Sentence()})
}

// charts are those of the picture, for the page.
func (r *realReport) charts(targets []*targetInfo) (all []chart) {
	for _, c := range r.costs() {
		var bars []measured
		for _, t := range targets {
			if t.Name != directName {
				bars = append(bars, measured{target: t.Name, class: classOf(t), series: r.series(t.Name, c.load, c.figure)})
			}
		}
		all = append(all, newChart(c.title, "CPU seconds for each gigabyte", "s/GB", bars))
	}
	return all
}
