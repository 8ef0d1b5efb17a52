//go:build linux

package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
)

// docs/sizing.md has the figures of the results, and the command prints its example.
func TestSizing(t *testing.T) {
	b, err := os.ReadFile("../docs/sizing.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	cell := func(workload, column string) string {
		v, err := sizeFigure(workload, column)
		if err != nil {
			t.Fatal(err)
		}
		return short(v)
	}
	const perReq, perGB = "pinned CPU µs/req", "pinned CPU s/GB"
	rows := []string{
		fmt.Sprintf("| 256 B, µs a request | %s | %s | as 4 KiB | as 4 KiB |", cell("produce-256B", perReq), cell("fetch-v17-256B", perReq)),
	}
	for name, column := range map[string]string{"4 KiB, µs a request": perReq, "64 KiB, CPU s/GB": perGB, "1 MiB, CPU s/GB": perGB} {
		size := strings.ReplaceAll(strings.SplitN(name, ",", 2)[0], " ", "")
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s | %s |", name, cell("produce-"+size, column), cell("fetch-v17-"+size, column),
			cell("tls-down-produce-"+size, column), cell("tls-down-fetch-v17-"+size, column)))
	}
	for _, row := range rows {
		if !strings.Contains(doc, row) {
			t.Errorf("docs/sizing.md does not have the row\n%s", row)
		}
	}
	plain, err := sizeIdle(false)
	if err != nil {
		t.Fatal(err)
	}
	secure, err := sizeIdle(true)
	if err != nil {
		t.Fatal(err)
	}
	if formula := fmt.Sprintf("connections × %s KiB (%s KiB with TLS)", short(plain), short(secure)); !strings.Contains(doc, formula) {
		t.Errorf("docs/sizing.md does not have %s", formula)
	}
	example := strings.SplitN(doc, "```", 5)
	args := strings.Fields(strings.TrimPrefix(strings.TrimSpace(strings.TrimPrefix(example[1], "sh")), "go run ./bench"))
	var out strings.Builder
	if err := execute(t.Context(), args, &out, &out); err != nil {
		t.Fatal(err)
	}
	trim := func(s string) string {
		lines := strings.Split(strings.Trim(s, "\n"), "\n")
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " ")
		}
		return strings.Join(lines, "\n")
	}
	if got, want := trim(out.String()), trim(example[3]); got != want {
		t.Errorf("%v prints\n%s\ndocs/sizing.md has\n%s", args, got, want)
	}
}

// Small frames cost by the request, large ones by the byte; a figure that was not measured is an error.
func TestSize(t *testing.T) {
	small, err := traffic{produce: 10, frame: 500, share: 1}.size()
	if err != nil || short(small.cores) != "0.23" { // 20,000 requests of 11.7 µs
		t.Errorf("got %+v, %v", small, err)
	}
	large, err := traffic{consume: 1000, frame: mib, share: 0.5}.size()
	if err != nil || short(large.cores) != "1.26" { // 0.63 s/GB, and half of the processors
		t.Errorf("got %+v, %v", large, err)
	}
	if _, err := sizeFigure("produce-2MiB", "CPU s/GB"); err == nil {
		t.Error("a workload that was not measured has a figure")
	}
	if _, err := sizeFigure("churn", "CPU s/GB"); err == nil {
		t.Error("a figure that a workload does not have is there")
	}
}

// Figures that no traffic has are refused by the flag's name, and a handshake costs more than a connection.
func TestSizeOfWrongTraffic(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "there is no traffic"},
		{"--produce NaN", "--produce NaN: write a number from 0 to 1000000"},
		{"--consume +Inf", "--consume +Inf"},
		{"--arrivals -1", "--arrivals -1"},
		{"--active 500 --connections 10", "there are 10 connections"},
		{"--produce 1 --frame 0", "--frame 0"},
		{"--produce 1 --share 1.5", "--share 1.5"},
	} {
		var out strings.Builder
		if err := execute(t.Context(), append([]string{"size"}, strings.Fields(c.args)...), &out, &out); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
	}
	plain, err := traffic{arrivals: 1000, frame: mib, share: 1}.size()
	if err != nil {
		t.Fatal(err)
	}
	if secure, err := (traffic{arrivals: 1000, frame: mib, share: 1, tls: true}).size(); err != nil || secure.arrivals <= plain.arrivals {
		t.Errorf("with TLS %+v, %v; without %+v", secure, err, plain)
	}
}

// The README's table to plan with has the medians of the results.
func TestReadmeTable(t *testing.T) {
	b, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := strings.Join(strings.Fields(string(b)), " ")
	want := func(line string) {
		if !strings.Contains(readme, line) {
			t.Errorf("README.md does not have the row\n%s", line)
		}
	}
	median := func(target, name, figure string) float64 {
		for _, w := range workloads() {
			for _, c := range columnsOf(w) {
				if w.Name != name || c.name != figure {
					continue
				}
				if v, err := resultOf(target, name, c.title); err == nil {
					return v
				}
			}
		}
		return math.NaN()
	}
	targets := []string{kproxyName, haproxyName, "nginx-64k"}
	for _, d := range decisions() {
		line := "| " + d.title + " |"
		for _, target := range targets {
			line += " " + short(d.of(target, median)) + " |"
		}
		want(line)
	}
	run, err := readRealReport("results/real.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		title, load, figure string
		mbPerS              float64
	}{
		{"cores for 200 MB/s consumed, at the maximum", "consume-1KB", "cpu_s_per_gb", 200},
		{"cores for 50 MB/s produced, at the maximum", "produce-1KB", "cpu_s_per_gb", 50},
		{"cores for 50 MB/s produced, by producers at half load", "produce-1KB", pinned + "cpu_s_per_gb", 50},
	} {
		line := "| " + c.title + " |"
		for _, target := range targets {
			line += fmt.Sprintf(" %.3f |", run.series(target, c.load, c.figure).median()*c.mbPerS/1000)
		}
		want(line)
	}
	want(largeFrames(t))
	consumed := func(target string) float64 { return run.series(target, "consume-1KB", "cpu_s_per_gb").median() / 5 }
	want(fmt.Sprintf("for 200 MB/s of records consumed kproxy takes %.2f cores, HAProxy %.2f, nginx %.2f;",
		consumed(kproxyName), consumed(haproxyName), consumed("nginx-64k")))
	added := func(workload, target string) string {
		return short((median(target, workload, p50) - median(directName, workload, p50)) / 1000)
	}
	want(fmt.Sprintf("A produce of 4 KiB takes %s ms more on 8 connections (HAProxy: %s), and %s ms more on 100 (%s).",
		added("produce-4KiB", kproxyName), added("produce-4KiB", haproxyName), added("produce-4KiB-100conns", kproxyName), added("produce-4KiB-100conns", haproxyName)))
	arriving := func(target string) string { return short(median(target, "churn", pinned+cpuPerReq) / 1000) }
	want(fmt.Sprintf("for 1,000 new connections a second %s, %s, %s.", arriving(kproxyName), arriving(haproxyName), arriving("nginx-64k")))
}

// largeFrames is the range of kproxy's CPU for a gigabyte beside HAProxy's, as the README says it.
func largeFrames(t *testing.T) string {
	t.Helper()
	plain, secure := series{}, series{}
	for line := range strings.Lines(sizeResults) {
		cells := columnGap.Split(line, -1)
		if len(cells) < 6 || !strings.HasPrefix(cells[0], "CPU per GB") || cells[2] != "pinned" || cells[3] != haproxyName {
			continue
		}
		median, _, _ := strings.Cut(cells[5], " ")
		v, err := strconv.ParseFloat(median, 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if strings.HasPrefix(cells[1], "tls-") {
			secure = append(secure, v)
		} else {
			plain = append(plain, v)
		}
	}
	if len(plain) < 10 || len(secure) < 8 {
		t.Fatalf("%d workloads without TLS, %d with it", len(plain), len(secure))
	}
	most := func(s series) string {
		least, greatest := s.spread()
		return short(least) + " to " + short(greatest)
	}
	return most(plain) + " of HAProxy's CPU, with TLS " + most(secure)
}
