//go:build linux

package main

import (
	"fmt"
	"os"
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

// The README's table in front of the fake broker has the medians of the results.
func TestReadmeTable(t *testing.T) {
	b, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ title, workload, column string }{
		{"CPU of a produce of 4 KiB, µs", "produce-4KiB", "pinned CPU µs/req"},
		{"CPU for a gigabyte of fetches of 64 KiB, s", "fetch-v17-64KiB", "pinned CPU s/GB"},
		{"CPU of a new connection with one request, µs", "churn", "pinned CPU µs/conn"},
		{"the same with a whole TLS handshake, µs", "tls-down-churn", "pinned CPU µs/conn"},
		{"median latency of a produce of 4 KiB, µs", "produce-4KiB", "pinned p50 µs"},
		{"its 99th percentile, µs", "produce-4KiB", "pinned p99 µs"},
		{"median latency on 100 connections, µs", "produce-4KiB-100conns", "pinned p50 µs"},
		{"its 99th percentile on 100 connections, µs", "produce-4KiB-100conns", "pinned p99 µs"},
	} {
		line := "| " + row.title + " |"
		for _, target := range []string{directName, kproxyName, haproxyName, "nginx-64k"} {
			v, err := resultOf(target, row.workload, row.column)
			if err != nil || target == directName && strings.Contains(row.column, "CPU") {
				line += " |" // not measured, or no proxy
				continue
			}
			line += " " + short(v) + " |"
		}
		if !strings.Contains(string(b), line) {
			t.Errorf("README.md does not have the row\n%s", line)
		}
	}
}
