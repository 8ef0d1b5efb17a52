//go:build linux

// Command herd tests kproxy with many clients that come at once, or come and do not go
// on: clients that dawdle, floods of connects, half handshakes, more clients than are let
// in, and a herd in TLS that is cut off and comes back. It writes docs/herd.md.
//
//	this process: thousands of clients ──┐
//	                                     ├──▶ kproxy ──▶ a fake broker, a process
//	untouched clients, a process: TLS ───┤                 ▲
//	                              plain ─┘                 │
//	                              direct ──────────────────┘
//
// The untouched clients are there before anything happens, ask every 5 ms, and must have
// every response. Their latencies are reported. The one that goes past kproxy shows the
// machine's part, because all of this shares its cores. The herd comes to a bare TLS
// server too, for the same reason.
//
// Requirements that hold on any machine are checked (stage.judge, stage.ends and the
// scenes themselves), and none of them is a time: no untouched client without a response,
// every session ended for the reason that it should, all clients of the herd served
// again, memory for each client within a bound, descriptors and goroutines given back.
// The test (tag e2e) plays the same scenes with fewer clients.
//
//	go run ./e2e/herd                 all of them, about four minutes; writes docs/herd.md
//	go run ./e2e/herd -only flood     those whose name contains this; prints the page
//	go run ./e2e/herd -seen           new connections among 9,000, while kproxy is looked at (seen.go); prints a table
//
// scenes.go lists the scenes, dawdle.go, flood.go and herd.go play them, stage.go runs
// and judges them, site.go and broker.go are kproxy's surroundings, probe.go the
// untouched clients, client.go a client, roles.go the children, report.go the page.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	played, err := playRole()
	if !played {
		err = campaign()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "herd:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

// full is the size for the page.
var full = size{Herd: 5000, Rounds: 3, Dawdlers: 2000, Most: 1000, Flood: 5 * time.Second, Calm: 3 * time.Second}

func campaign() error {
	only := flag.String("only", "", "play the scenes whose name contains this, and print the page")
	out := flag.String("out", "", "the file to write, docs/herd.md if all are played")
	n := full
	viewed := flag.Bool("seen", false, "measure new connections among 9,000, with the status page open and a scrape each second; prints a table")
	flag.StringVar(&n.Limits, "limits", "", "more of kproxy's limits, such as \"max_handshakes: 1\"")
	flag.Parse()
	if n.Limits != "" {
		n.Limits = ", " + n.Limits
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "kproxy-herd-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%4.0fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	say("building kproxy")
	s, err := newSite(ctx, dir, n, say)
	if err != nil {
		return errors.Join(err, s.close())
	}
	if *viewed {
		return errors.Join(s.seenTable(ctx, os.Stdout), s.close())
	}
	outcomes, err := s.playAll(ctx, *only)
	if err := errors.Join(err, s.close()); err != nil {
		return err
	}
	page := document(outcomes)
	if *only != "" && *out == "" {
		_, err = os.Stdout.WriteString(page)
	} else {
		err = os.WriteFile(cmp.Or(*out, "docs/herd.md"), []byte(page), 0o644)
	}
	for _, o := range outcomes {
		for _, wrong := range o.Wrong {
			err = errors.Join(err, fmt.Errorf("%s: %s", o.Name, wrong))
		}
	}
	return err
}

// playAll plays the scenes whose name contains a text.
func (s *site) playAll(ctx context.Context, only string) (outcomes []*outcome, err error) {
	all := scenes(s.size)
	for i, what := range all {
		if !strings.Contains(what.Name, only) {
			continue
		}
		s.say("%d/%d  %s", i+1, len(all), what.Name)
		o, err := s.play(ctx, what)
		if err != nil {
			return nil, errors.Join(context.Cause(ctx), err)
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}
