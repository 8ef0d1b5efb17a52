//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"kproxy/e2e/lab"
)

// report is the result of a run.
type report struct {
	Command   string        `json:"command"`
	Began     time.Time     `json:"began"`
	Took      string        `json:"took"`
	Complete  bool          `json:"complete"` // false: the run was ended before its end
	Machine   machine       `json:"machine"`
	Upstream  string        `json:"upstream"`
	TLS       *tlsInfo      `json:"tls,omitempty"` // of the workloads that have it
	Rounds    int           `json:"rounds"`
	Duration  string        `json:"duration"`
	RateShare float64       `json:"rate_share"`
	Threads   int           `json:"threads"`
	Targets   []*targetInfo `json:"targets"`
	Workloads []workload    `json:"workloads"`
	Rows      []*row        `json:"rows"`
	Goals     []goal        `json:"goals"`
	Notes     []string      `json:"notes"`
	// Parts are the runs that it was joined of; a run by itself has none.
	Parts []part `json:"parts,omitempty"`
	// Real is the run in front of a real broker that join was given.
	Real *realReport `json:"real,omitempty"`
}

// machine is where it was measured.
type machine struct {
	CPU          string `json:"cpu"`
	Cores        int    `json:"cores"`
	MemoryMiB    int64  `json:"memory_mib"`
	Kernel       string `json:"kernel"`
	Go           string `json:"go"`
	Unprivileged bool   `json:"unprivileged"` // targets, load and broker ran as an unprivileged user
}

// targetInfo describes a target.
type targetInfo struct {
	Name    string `json:"name"`
	About   string `json:"about"`
	Blind   bool   `json:"blind"`
	Version string `json:"version,omitempty"`
	Config  string `json:"config,omitempty"` // whole, as it was started first
	// TLS has those of workloads with TLS, by the sides that have it.
	TLS     map[tlsSides]string `json:"tls,omitempty"`
	Missing string              `json:"missing,omitempty"` // why it was not measured, and how to get it
}

// row is a target and a workload.
type row struct {
	Target, Workload  string
	FrameBytes, Conns int
	Notes             []string
	leftOut           bool // on purpose; a note says why
	behind            int  // turns in which it did not carry the pinned rate
	figures           map[string]series
}

func newReport(p *plan) *report {
	return &report{
		Command: command(os.Args[1:]), Began: time.Now(), Machine: thisMachine(),
		Rounds: p.rounds, Duration: p.duration.String(), RateShare: p.share, Threads: p.threads,
		Workloads: p.work, Notes: slices.Clone(p.absent),
	}
}

func thisMachine() machine {
	m := machine{CPU: cmp.Or(lab.CPU(), "unknown"), Cores: runtime.NumCPU(), Go: runtime.Version(), Unprivileged: true}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.MemoryMiB = int64(info.Totalram) * int64(info.Unit) / mib
	}
	m.Kernel = firstLine(exec.CommandContext(context.Background(), "uname", "-sr"))
	return m
}

// found notes whether a target is installed. If not, it still has its rows.
func (r *report) found(t target, version string, err error) {
	info := &targetInfo{Name: t.name, About: t.about, Blind: t.blind, Version: version}
	if err != nil {
		info.Missing = err.Error()
	}
	r.Targets = append(r.Targets, info)
}

// configure keeps a target's configurations: without TLS, and with it on each side.
// Those of other networks differ in addresses only.
func (r *report) configure(name string, st *stage, config string) {
	config += "\n# " + st.place.about
	for _, info := range r.Targets {
		switch sides := st.work.TLS; {
		case info.Name != name:
		case sides == noTLS:
			info.Config = cmp.Or(info.Config, config)
		default:
			info.configureTLS(sides, config)
		}
	}
}

func (t *targetInfo) configureTLS(sides tlsSides, config string) {
	if t.TLS == nil {
		t.TLS = make(map[tlsSides]string)
	}
	t.TLS[sides] = cmp.Or(t.TLS[sides], config)
}

// takingPart is the targets that are measured in a workload.
func takingPart(w workload, installed []target) []target {
	return slices.DeleteFunc(slices.Clone(installed), func(t target) bool { return w.hasTLS() && t.noTLS != "" })
}

// rowsOf makes the rows of a workload. It returns those of targets that are there,
// and take part.
func (r *report) rowsOf(w workload, installed []target) []*row {
	var there []*row
	for _, info := range r.Targets {
		made := &row{Target: info.Name, Workload: w.Name, FrameBytes: w.frameBytes(), Conns: w.Conns + w.Others, figures: make(map[string]series)}
		r.Rows = append(r.Rows, made)
		i := slices.IndexFunc(installed, func(t target) bool { return t.name == info.Name })
		switch {
		case i < 0:
			made.Notes = append(made.Notes, info.Missing)
		case w.hasTLS() && installed[i].noTLS != "":
			made.Notes, made.leftOut = append(made.Notes, installed[i].noTLS), true
		default:
			there = append(there, made)
		}
	}
	return there
}

// leaveOut notes workloads whose network could not be made.
func (r *report) leaveOut(works []workload, err error) {
	for _, w := range works {
		r.Notes = append(r.Notes, w.Name+": "+err.Error())
	}
}

// note keeps an error, once.
func (r *row) note(err error) {
	if text := err.Error(); !slices.Contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
	}
}

func (r *row) add(round, rounds int, f figures) {
	for name, v := range f {
		s, ok := r.figures[name]
		if !ok {
			s = make(series, rounds)
			for i := range s {
				s[i] = math.NaN()
			}
			r.figures[name] = s
		}
		s[round] = v
	}
}

// series is empty where nothing was measured.
func (r *row) series(name string) series { return r.figures[name] }

// derive adds the comparisons with the direct run.
func (r *report) derive(rows []*row) {
	i := slices.IndexFunc(rows, func(r *row) bool { return r.Target == "direct" })
	if i < 0 {
		return
	}
	for _, prefix := range []string{"", pinned} {
		for name, from := range map[string]string{netPerGB: machinePerGB, netPerReq: machinePer} {
			base := rows[i].series(prefix + from)
			for _, r := range rows {
				if s := r.series(prefix + from); len(s) > 0 && len(base) > 0 && r != rows[i] {
					r.figures[prefix+name] = s.less(base)
				}
			}
		}
	}
}

// tooBusy is the share of the machine that other processes may use before a figure gets a
// warning.
const tooBusy = 0.05

// finish computes the goals, and warns about doubtful figures.
func (r *report) finish() {
	r.Took = time.Since(r.Began).Round(time.Second).String()
	r.Goals = goals(r)
	var foreign series
	for _, row := range r.Rows {
		foreign = append(foreign, row.series(foreignShare).known()...)
		if row.behind > 0 {
			row.note(fmt.Errorf(fellBehind+" in %s", plural(row.behind, "turn")))
		}
	}
	if m := foreign.median(); m > tooBusy {
		r.Notes = append(r.Notes, fmt.Sprintf(
			"Other processes took %.0f %% of the machine (median of all turns): read these figures as a proof that the suite runs, and no more.", 100*m))
	}
	if os.Geteuid() != 0 {
		r.Notes = append(r.Notes, "Not run as root: no namespaces, and memory of the kernel only where a cgroup was delegated.")
	}
}

// failed reports whether a target that is there could not be measured.
func (r *report) failed() bool {
	return slices.ContainsFunc(r.Rows, func(row *row) bool {
		installed := slices.ContainsFunc(r.Targets, func(t *targetInfo) bool { return t.Name == row.Target && t.Missing == "" })
		return installed && len(row.figures) == 0 && !row.leftOut
	})
}

func (r *report) row(target, workload string) *row {
	for _, row := range r.Rows {
		if row.Target == target && row.Workload == workload {
			return row
		}
	}
	return &row{}
}

// write writes the report everywhere it is wanted.
func (r *report) write(jsonFile, htmlFile string, stdout io.Writer) error {
	errs := []error{r.writeTable(stdout)}
	if jsonFile != "" {
		b, err := json.MarshalIndent(r, "", "  ")
		errs = append(errs, err, os.WriteFile(jsonFile, append(b, '\n'), 0o644))
	}
	if htmlFile != "" {
		err := r.writePage(htmlFile)
		if err == nil {
			_, err = fmt.Fprintf(stdout, "The page is %s.\n", htmlFile)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// number is null where nothing was measured.
func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// rowJSON is a row in a file: the medians of the usual figures as keys of their own,
// those of all others as more, and beside each its spread and its rounds.
type rowJSON struct {
	Target     string                `json:"target"`
	Workload   string                `json:"workload"`
	FrameBytes int                   `json:"frame_bytes"`
	Conns      int                   `json:"conns"`
	MBPerS     *float64              `json:"mb_per_s"`
	ReqPerS    *float64              `json:"req_per_s"`
	CPUPerGB   *float64              `json:"cpu_s_per_gb"`
	CPUPerReq  *float64              `json:"cpu_us_per_req"`
	P50        *float64              `json:"p50_us"`
	P99        *float64              `json:"p99_us"`
	KiBPerIdle *float64              `json:"kib_per_idle_conn"`
	More       map[string]*float64   `json:"more"`
	Spread     map[string][2]float64 `json:"spread"`
	Rounds     map[string][]*float64 `json:"rounds"`
	Notes      []string              `json:"notes"`
}

// UnmarshalJSON reads the rounds, and computes the rest from them.
func (r *row) UnmarshalJSON(b []byte) error {
	var in rowJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*r = row{
		Target: in.Target, Workload: in.Workload, FrameBytes: in.FrameBytes, Conns: in.Conns,
		Notes: in.Notes, figures: make(map[string]series),
	}
	for name, rounds := range in.Rounds {
		s := make(series, len(rounds))
		for i, v := range rounds {
			s[i] = math.NaN()
			if v != nil {
				s[i] = *v
			}
		}
		r.figures[name] = s
	}
	return nil
}

// MarshalJSON writes a rowJSON.
func (r *row) MarshalJSON() ([]byte, error) {
	usual := []string{mbPerS, reqPerS, cpuPerGB, cpuPerReq, p50, p99, kibPerIdle}
	median := func(name string) *float64 { return number(r.series(name).median()) }
	out := rowJSON{
		Target: r.Target, Workload: r.Workload, FrameBytes: r.FrameBytes, Conns: r.Conns,
		MBPerS: median(mbPerS), ReqPerS: median(reqPerS), CPUPerGB: median(cpuPerGB), CPUPerReq: median(cpuPerReq),
		P50: median(p50), P99: median(p99), KiBPerIdle: median(kibPerIdle),
		More: make(map[string]*float64), Spread: make(map[string][2]float64), Rounds: make(map[string][]*float64),
		Notes: append([]string{}, r.Notes...),
	}
	for name, s := range r.figures {
		if !slices.Contains(usual, name) {
			out.More[name] = median(name)
		}
		if len(s.known()) > 0 {
			least, greatest := s.spread()
			out.Spread[name] = [2]float64{least, greatest}
		}
		for _, v := range s {
			out.Rounds[name] = append(out.Rounds[name], number(v))
		}
	}
	return json.Marshal(out)
}
