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
	say("%s; %d rounds of %d MB; median (least..greatest)\n\n%s\n", r.Upstream, r.Rounds, r.Megabytes, r.sentence())
	for _, l := range realLoads() {
		say("\n%s\nTARGET\tMB/s\tCPU s/GB\tbroker's\tclient's", l.name)
		paced := l.produce && r.isPaced()
		if paced {
			say("\tpinned CPU s/GB\tp50 ms\tp99 ms\tp99.9 ms")
		}
		say("\n")
		for _, t := range r.Targets {
			cell := func(name string) { say("\t%s", spread(r.series(t.Name, l.name, name))) }
			say("%s", t.Name)
			for _, name := range []string{"mb_per_s", "cpu_s_per_gb", "broker_cpu_s_per_gb", "client_cpu_s_per_gb"} {
				if t.Name == directName && name == "cpu_s_per_gb" {
					say("\t-")
					continue
				}
				cell(name)
			}
			if paced {
				if t.Name == directName {
					say("\t-")
				} else {
					cell(pinned + "cpu_s_per_gb")
				}
				for _, name := range []string{"p50_ms", "p99_ms", "p99.9_ms"} {
					cell(pinned + name)
				}
			}
			say("\n")
		}
	}
	return w.Flush()
}

// sentence is the answer for an engineer who must choose a proxy: medians, with the least and the
// greatest round.
func (r *realReport) sentence() string {
	costs := func(load, name string) string {
		var all []string
		for _, t := range r.Targets {
			if t.Name != directName {
				all = append(all, t.Name+" "+spread(r.series(t.Name, load, name)))
			}
		}
		return strings.Join(all, ", ")
	}
	text := fmt.Sprintf("In front of a real Kafka broker, a gigabyte of 1 KB records costs, in CPU seconds: to consume it %s; to produce it %s",
		costs("consume-1KB", "cpu_s_per_gb"), costs("produce-1KB", "cpu_s_per_gb"))
	if r.isPaced() {
		text += "; to produce it at half load " + costs("produce-1KB", pinned+"cpu_s_per_gb")
	}
	return text + "."
}

//go:embed real.gosvg
var realPicture string

// realBar is a bar of the picture, in pixels.
type realBar struct {
	Target, Value string
	Y             int
	Length        float64
	Ours          bool
}

// realChart is the bars of one load.
type realChart struct {
	Title string
	Y     int
	Bars  []realBar
}

// picture draws the CPU of a gigabyte of each target as SVG.
func (r *realReport) picture(out io.Writer) error {
	const pitch, head, room = 26, 34, 420.0
	var charts []realChart
	most, y := 0.0, 0
	for _, l := range realLoads() {
		for _, t := range r.Targets {
			if t.Name != directName {
				most = max(most, r.series(t.Name, l.name, "cpu_s_per_gb").median())
			}
		}
	}
	for _, l := range realLoads() {
		c := realChart{Title: l.name, Y: y}
		for _, t := range r.Targets {
			if t.Name == directName {
				continue
			}
			v := r.series(t.Name, l.name, "cpu_s_per_gb").median()
			c.Bars = append(c.Bars, realBar{t.Name, short(v), y + head + pitch*len(c.Bars), max(1, room*v/most), t.Name == kproxyName})
		}
		y += head + pitch*len(c.Bars) + 10
		charts = append(charts, c)
	}
	t, err := template.New("").Parse(realPicture)
	if err != nil {
		return err
	}
	return t.Execute(out, map[string]any{"Charts": charts, "Height": y, "Upstream": r.Upstream, "Sentence": r.sentence()})
}
