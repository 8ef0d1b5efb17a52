//go:build linux

package main

import (
	"context"
	"io"
	"os/exec"
	"strings"
	"time"
)

// suite is a test suite of another project.
type suite interface {
	about() about
	// fetch gets the package and builds the tests. It returns the package's name with its
	// version.
	fetch(ctx context.Context, s *site) (pkg string, err error)
	// brokers are those that its clients connect to.
	brokers() brokers
	// commands are the processes of one run, one after another. only are tests to try
	// again; nil is all of them.
	commands(ctx context.Context, at target, only []string) []*exec.Cmd
	// parse reads the output of one process to its end.
	parse(output io.Reader, note func(name string, r result)) error
}

// about describes a suite.
type about struct {
	name  string
	title string
	quick bool          // part of .ci/run: it needs no JVM
	limit time.Duration // of one run
	// processes is how many of a second try's processes run at one time; 0: one.
	processes int
	how       string // the settings that a reader needs to repeat the run
}

// way is one of the two ways to the brokers.
type way int

const (
	directly way = iota
	through
)

func (w way) String() string {
	if w == directly {
		return "directly"
	}
	return "through kproxy"
}

// target is where the clients of a suite connect to.
type target struct {
	way    way
	dir    string // for files of the run
	seeds  string // host:port, with commas
	scram  string // the same, where a client logs in by SCRAM; "": nowhere
	ca     string // a file with the authority of TLS; "": plaintext
	counts string // a file for counts, by a suite that has kproxy in itself
}

// brokers are the brokers of a suite.
type brokers interface {
	// start starts what both ways share.
	start(ctx context.Context, s *site) error
	// open makes the way to the brokers, and the function that ends it and has kproxy's
	// counts.
	open(ctx context.Context, s *site, w way) (target, func() (counts, error), error)
	close()
}

// suites are all suites, in the order of the page.
func suites(o options) []suite {
	records := o.records
	if o.quick {
		records = quickRecords
	}
	all := []suite{
		&kgo{on: &kafka{}, records: records},
		&kgo{on: &kafka{edge: true}, records: records},
		&kgo{on: &kafka{}, records: records, chaos: true},
	}
	for _, version := range fakeVersions {
		all = append(all, &kgo{on: &fake{version: version}, records: records})
	}
	return append(all,
		&kfakeOwn{},
		&librdkafka{protocol: "classic"},
		&librdkafka{protocol: "consumer"},
		&librdkafka{protocol: "classic", sockem: true},
		&sarama{},
	)
}

// topLevel are the tests of which these are, or are part of.
func topLevel(names []string) []string {
	var top []string
	seen := map[string]bool{}
	for _, name := range names {
		name, _, _ = strings.Cut(name, "/")
		if !seen[name] {
			seen[name] = true
			top = append(top, name)
		}
	}
	return top
}
