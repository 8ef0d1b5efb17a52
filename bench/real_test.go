//go:build linux

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"os"
	"strings"
	"testing"
	"time"
)

func TestParseProducerPerf(t *testing.T) {
	const out = `60000 records sent, 28801.5 records/sec (27.47 MB/sec), 912.2 ms avg latency, 1203.0 ms max latency.
100000 records sent, 29034.1 records/sec (27.69 MB/sec), 860.11 ms avg latency, 1231.00 ms max latency, 2 ms 50th, 8 ms 95th, 78 ms 99th, 99 ms 99.9th.
`
	sent, perS, latency, err := parseProducerPerf(out)
	if err != nil || sent != 100_000 || perS != 29034.1 {
		t.Errorf("got %d records, %v a second, %v", sent, perS, err)
	}
	for percent, want := range map[string]time.Duration{"50": 2 * time.Millisecond, "99": 78 * time.Millisecond, "99.9": 99 * time.Millisecond} {
		if got := latency[percent]; got != want {
			t.Errorf("p%s: got %v, want %v", percent, got, want)
		}
	}
	for _, out := range []string{"", "60000 records sent, 28801.5 records/sec (27.47 MB/sec)", strings.Replace(out, "29034.1", "0", 1)} {
		if _, _, _, err := parseProducerPerf(out); !errors.Is(err, errNoPerfResult) {
			t.Errorf("%q: got %v", out, err)
		}
	}
}

func TestParseConsumerPerf(t *testing.T) {
	const header = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n"
	const values = "2026-11-30 00:11:00:000, 2026-11-30 00:11:04:512, 57.22, 12.68, 60000, 13297.9, 3512, 1000, 57.22, 60000.0\n"
	read, took, err := parseConsumerPerf("a warning\n" + header + values)
	if err != nil || read != 60_000 || took != time.Second {
		t.Errorf("got %d records in %v, %v", read, took, err)
	}
	for _, out := range []string{"", header, values, header + strings.Replace(values, " 1000,", " 0,", 1), header + "x\n"} {
		if _, _, err := parseConsumerPerf(out); !errors.Is(err, errNoPerfResult) {
			t.Errorf("%q: got %v", out, err)
		}
	}
}

// aRealReport has 0.4 CPU seconds of kproxy's and twice as many of HAProxy's in each load.
func aRealReport() *realReport {
	r := newRealReport(realOptions{rounds: 2})
	for i, name := range []string{directName, kproxyName, haproxyName} {
		r.Targets = append(r.Targets, realTarget{Name: name})
		for _, l := range realLoads() {
			for range 2 {
				r.add(name, l.name, figures{"cpu_s_per_gb": 0.4 * float64(i), pinned + "cpu_s_per_gb": 0.4 + float64(i), "mb_per_s": 100})
			}
		}
	}
	return r
}

func TestRealSentence(t *testing.T) {
	const want = "In front of a real Kafka broker, a gigabyte of 1 KB records costs these CPU seconds: " +
		"consumed, kproxy 0.40, haproxy 0.80; produced, kproxy 0.40, haproxy 0.80; produced at half load, kproxy 1.40, haproxy 2.40."
	if got := aRealReport().Sentence(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRealReportIsReadAgain(t *testing.T) {
	file := t.TempDir() + "/real.json"
	r := aRealReport()
	if err := r.write(file, io.Discard); err != nil {
		t.Fatal(err)
	}
	again, err := readRealReport(file)
	if err != nil || again.Sentence() != r.Sentence() {
		t.Errorf("got %v, %v", again, err)
	}
	var out strings.Builder
	if err := execute(t.Context(), []string{"real", "--from", file}, &out, io.Discard); err != nil || !strings.Contains(out.String(), r.Sentence()) {
		t.Errorf("got %v:\n%s", err, out.String())
	}
}

func TestRealPicture(t *testing.T) {
	var svg strings.Builder
	if err := aRealReport().picture(&svg); err != nil {
		t.Fatal(err)
	}
	d, bars := xml.NewDecoder(strings.NewReader(svg.String())), map[string]int{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			for _, a := range e.Attr {
				if a.Name.Local == "width" {
					bars[a.Value]++
				}
			}
		}
	}
	// Of 2.4 CPU seconds for 400 pixels.
	if want := map[string]int{"66.7": 4, "133.3": 4, "233.3": 2, "400.0": 2}; !maps.Equal(bars, want) {
		t.Errorf("got the bars %v, want %v", bars, want)
	}
}

// The README's sentence and picture are those of the committed results.
func TestRealResults(t *testing.T) {
	r, err := readRealReport("results/real.json")
	if err != nil {
		t.Fatal(err)
	}
	var svg strings.Builder
	if err := r.picture(&svg); err != nil {
		t.Fatal(err)
	}
	picture, err := os.ReadFile("results/real.svg")
	if err != nil || string(picture) != svg.String() {
		t.Errorf("results/real.svg is not that of results/real.json (%v): go run ./bench real --from bench/results/real.json --picture bench/results/real.svg", err)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(readme)), " "), r.Sentence()) {
		t.Errorf("README.md does not have this sentence (%v):\n%s", err, r.Sentence())
	}
}

// A run without a pinned rate has no figures of one, in no sentence and in no table.
func TestRealReportWithoutPinnedRate(t *testing.T) {
	r := aRealReport()
	for _, loads := range r.Figures {
		for _, figures := range loads {
			delete(figures, pinned+"cpu_s_per_gb")
		}
	}
	var out strings.Builder
	if err := r.writeTable(&out); err != nil || strings.Contains(out.String(), "half load") || strings.Contains(out.String(), "pinned") {
		t.Errorf("got %v:\n%s", err, out.String())
	}
}

// kcat's records are lines, as many and as long as the load has.
func TestKcatRecords(t *testing.T) {
	k := &kcat{dir: t.TempDir()}
	file, err := k.records(realLoad{"produce-1KB", true, 1000}, 50)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if err != nil || len(lines) != 50 || len(lines[0]) != 1000 || lines[0] == lines[1] || strings.ContainsAny(string(b), " \t\r") {
		t.Errorf("%d lines of %d characters, %v", len(lines), len(lines[0]), err)
	}
}
