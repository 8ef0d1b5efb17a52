package main

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"text/tabwriter"

	"kproxy/internal/api"
	"kproxy/internal/columns"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// printTable writes the addresses that are advertised to clients and the brokers behind
// them: for each listener a heading, and a line for each node.
func printTable(w io.Writer, rows []proxy.Endpoint) error {
	var t *columns.Table
	var before proxy.Endpoint
	for _, r := range rows {
		if t == nil || r.Cluster != before.Cluster || r.Listener != before.Listener {
			if err := t.Write(w); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "cluster %s, listener %s: bootstrap at %s\n", r.Cluster, r.Listener, r.Bootstrap); err != nil {
				return err
			}
			t = columns.New("NODE", "BIND", "ADVERTISED", "DIALLED")
		}
		before = r
		if r.Node == proxy.NoNode {
			t.Line("?", "-", "-", "no broker has answered yet")
			continue
		}
		t.Line(strconv.Itoa(int(r.Node)), r.Bind, r.Advertised, api.Dialled(r.Dialled))
	}
	return t.Write(w)
}

// logTable writes the same as lines of the log, one for each node.
func logTable(logger *slog.Logger, rows []proxy.Endpoint) {
	for _, r := range rows {
		listener := logger.With(slog.String(logkey.Cluster, r.Cluster), slog.String(logkey.Listener, r.Listener), slog.String(logkey.Bootstrap, r.Bootstrap))
		if r.Node == proxy.NoNode {
			listener.Info("no broker has answered yet")
			continue
		}
		listener.Info("node advertised", slog.Int(logkey.Node, int(r.Node)), slog.String(logkey.Bind, r.Bind),
			slog.String(logkey.Advertised, r.Advertised), slog.String(logkey.Upstream, r.Dialled))
	}
}

// printPlan writes the addresses that would be bound, before any broker has been asked.
func printPlan(w io.Writer, plan []config.Endpoints) error {
	var t *columns.Table
	var before config.Endpoints
	for _, p := range plan {
		if t == nil || p.Cluster != before.Cluster || p.Listener != before.Listener {
			if err := t.Write(w); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "cluster %s, listener %s\n", p.Cluster, p.Listener); err != nil {
				return err
			}
			t = columns.New("NODE", "BIND", "ADVERTISED")
		}
		before = p
		node := fmt.Sprintf("%d-%d", p.FirstNode, p.LastNode)
		switch p.FirstNode {
		case proxy.NoNode:
			node = "bootstrap"
		case config.AnyNode:
			node = "each"
		case p.LastNode:
			node = strconv.Itoa(int(p.FirstNode))
		}
		t.Line(node, addresses(p.FirstBind, p.LastBind), addresses(p.FirstAdvertised, p.LastAdvertised))
	}
	return t.Write(w)
}

// addresses writes a range of addresses in short form: 127.0.0.1:9100-9199,
// 127.0.1.{1-254}:9092.
func addresses(first, last string) string {
	if first == last {
		return first
	}
	firstHost, _, firstErr := hostport.Parse(first)
	lastHost, port, lastErr := hostport.Parse(last)
	if firstErr == nil && lastErr == nil && firstHost == lastHost {
		return first + "-" + strconv.Itoa(int(port))
	}
	digits := func(c rune) bool { return '0' <= c && c <= '9' }
	start := 0
	for start < min(len(first), len(last)) && first[start] == last[start] {
		start++
	}
	start = len(strings.TrimRightFunc(first[:start], digits))
	low, lowRest := cutFunc(first[start:], digits)
	high, highRest := cutFunc(last[start:], digits)
	if low == "" || high == "" || lowRest != highRest {
		return first + " to " + last
	}
	return first[:start] + "{" + low + "-" + high + "}" + lowRest
}

// cutFunc splits a text after its leading characters for which is returns true.
func cutFunc(text string, is func(rune) bool) (head, rest string) {
	rest = strings.TrimLeftFunc(text, is)
	return text[:len(text)-len(rest)], rest
}

// table aligns columns. A cell is one line of bounded length, also where a peer
// wrote its text. flush returns the error of a failed write.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, columns ...string) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.line(columns...)
	return t
}

func (t table) line(cells ...string) {
	for i, cell := range cells {
		if i > 0 {
			_, _ = io.WriteString(t.w, "\t") // buffered until flush
		}
		_, _ = io.WriteString(t.w, foreign.Line(cell)) // it may be a broker's
	}
	_, _ = io.WriteString(t.w, "\n")
}

func (t table) flush() error { return t.w.Flush() }
