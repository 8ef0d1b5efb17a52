// Command prose checks the English of comments and documentation.
//
//	go run ./internal/prose        # every file of the repository
//	go run ./internal/prose -all   # also the paths that are not finished
//
// It reports two kinds of text (words.go): words that hide the subject of a sentence, and noun clauses that begin with
// "what" in place of a noun. Questions are allowed. It exits with 1 for a finding that allow.txt does not list. At the
// end it prints the counts per 1,000 words, also of "told", which is not a finding.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// unfinished lists the paths that are not checked yet. A path that ends in a slash stands for everything below it.
var unfinished = []string{
	"proxy/",
	"internal/cluster/",
	"docs/",
	"ARCHITECTURE.md",
	"CONTRIBUTING.md",
	"README.md",
	"SECURITY.md",
}

//go:embed allow.txt
var allowText string

func main() {
	all := flag.Bool("all", false, "check the paths that are not finished, too")
	flag.Parse()
	ok, err := run(os.Stdout, *all)
	if err != nil {
		fmt.Fprintln(os.Stderr, "prose:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// run checks the tracked files of the repository and prints the findings and the counts to w. It reports whether
// there is no finding beyond the allow-list.
func run(w io.Writer, all bool) (bool, error) {
	allowed, err := parseAllow(allowText)
	if err != nil {
		return false, err
	}
	names, err := tracked()
	if err != nil {
		return false, err
	}
	var checked, left counts
	for _, name := range names {
		src, err := os.ReadFile(name)
		if err != nil {
			return false, err
		}
		texts, err := extract(name, src)
		if err != nil {
			return false, err
		}
		skip := isUnfinished(name)
		into := &checked
		if skip {
			into = &left
		}
		for _, t := range texts {
			into.add(t)
			for _, f := range findings(t) {
				if allowed.allows(name, f) {
					continue
				}
				into.findings++
				if !skip || all {
					fmt.Fprintf(w, "%s:%d: %q: %s\n", name, f.line, f.match, f.context)
				}
			}
		}
	}
	for _, unused := range allowed.unused() {
		checked.findings++
		fmt.Fprintf(w, "allow.txt: nothing matches %q\n", unused)
	}
	checked.print(w, "checked")
	left.print(w, "unfinished")
	return checked.findings == 0 && (!all || left.findings == 0), nil
}

// tracked returns the files that git knows, from the root of the repository.
func tracked() ([]string, error) {
	out, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	var names []string
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		info, err := os.Lstat(name)
		if err != nil || !info.Mode().IsRegular() || strings.Contains("/"+name, "/testdata/") || path.Base(name) == "LICENSE" {
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func isUnfinished(name string) bool {
	return slices.ContainsFunc(unfinished, func(p string) bool {
		return name == p || strings.HasSuffix(p, "/") && strings.HasPrefix(name, p)
	})
}
