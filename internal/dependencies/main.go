// Command dependencies keeps docs/dependencies.md true: every module that go.mod requires has a row
// with its reason, and every module that the kproxy binary links has its licence.
//
//	go run ./internal/dependencies          # exits with 1 where the page is wrong
//	go run ./internal/dependencies -write   # writes the list of licences
//
// The reasons are written by hand. A licence is recognized by its own words; one that is not in
// the table of licences, or a module without one, is an error.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// page is the file that is kept true.
const page = "docs/dependencies.md"

// begin and end surround the list of licences in the page.
const (
	begin = "<!-- licences: go run ./internal/dependencies -write -->\n"
	end   = "<!-- end -->\n"
)

// platforms are those for which the binary is built. Some modules are linked for one alone.
var platforms = []string{"linux", "darwin", "windows"}

func main() {
	write := flag.Bool("write", false, "write the list of licences")
	flag.Parse()
	if err := run(*write, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dependencies:", err)
		os.Exit(1)
	}
}

func run(write bool, out io.Writer) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	required, err := requirements()
	if err != nil {
		return err
	}
	linked, err := linkedModules()
	if err != nil {
		return err
	}
	list, err := licences(linked)
	if err != nil {
		return err
	}
	before, after, err := split(string(text))
	if err != nil {
		return err
	}
	if err := checkReasons(before, required); err != nil {
		return err
	}
	now := before + begin + list + end + after
	switch {
	case now == string(text):
	case write:
		if err := os.WriteFile(page, []byte(now), 0o644); err != nil {
			return err
		}
	default:
		return fmt.Errorf("the list of licences in %s is old; go run ./internal/dependencies -write", page)
	}
	_, err = fmt.Fprintf(out, "dependencies: %d modules are required, %d are linked\n", len(required), len(linked))
	return err
}

// split returns the page's text before and after the list of licences.
func split(text string) (before, after string, err error) {
	before, rest, found := strings.Cut(text, begin)
	_, after, ends := strings.Cut(rest, end)
	if !found || !ends {
		return "", "", fmt.Errorf("%s has no place for the list of licences", page)
	}
	return before, after, nil
}

// requirements returns the paths of the modules that go.mod requires directly.
func requirements() ([]string, error) {
	text, err := command("go", "mod", "edit", "-json")
	if err != nil {
		return nil, err
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(text, &mod); err != nil {
		return nil, err
	}
	var paths []string
	for _, r := range mod.Require {
		if !r.Indirect {
			paths = append(paths, r.Path)
		}
	}
	return paths, nil
}

// linkedModules returns the modules that the binary links, by path, with their directories.
func linkedModules() (map[string]string, error) {
	linked := map[string]string{}
	for _, platform := range platforms {
		text, err := command("env", "GOOS="+platform, "CGO_ENABLED=0", "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}", "./cmd/kproxy")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			if path, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
				linked[path] = dir
			}
		}
	}
	return linked, nil
}

func command(name string, args ...string) ([]byte, error) {
	c := exec.Command(name, args...)
	var errs bytes.Buffer
	c.Stderr = &errs
	text, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", c, err, errs.Bytes())
	}
	return text, nil
}

// checkReasons reports the required modules that no row of the tables is for, and rows that no
// requirement is for.
func checkReasons(text string, required []string) error {
	var rows []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			path, _, _ := strings.Cut(rest, "`")
			rows = append(rows, path)
		}
	}
	var errs []error
	for _, path := range required {
		if !slices.Contains(rows, path) {
			errs = append(errs, fmt.Errorf("%s has no row for %s, which go.mod requires: add it, with its use and the reason", page, path))
		}
	}
	for _, path := range rows {
		if !slices.Contains(required, path) {
			errs = append(errs, fmt.Errorf("%s has a row for %s, which go.mod does not require", page, path))
		}
	}
	return errors.Join(errs...)
}

// known has the licences that kproxy may link, each with words that it alone has here. The first
// that fits is the one.
var known = []struct {
	name  string
	words []string
}{
	{"Apache-2.0 and MIT", []string{"covered by two different licenses: MIT and Apache"}},
	{"Apache-2.0", []string{"Apache License", "Version 2.0, January 2004"}},
	{"MIT", []string{"Permission is hereby granted, free of charge", "WITHOUT WARRANTY OF ANY KIND"}},
	{"BSD-3-Clause", []string{"Redistribution and use in source and binary forms", "Neither the name"}},
	{"BSD-3-Clause", []string{"Redistribution and use in source and binary forms", "may not be used to endorse"}},
	{"BSD-2-Clause", []string{"Redistribution and use in source and binary forms"}},
}

// licenceOf recognizes the text of a licence.
func licenceOf(text string) (name string, ok bool) {
	text = strings.Join(strings.Fields(strings.ReplaceAll(text, ">", " ")), " ")
	for _, l := range known {
		if !slices.ContainsFunc(l.words, func(w string) bool { return !strings.Contains(text, w) }) {
			return l.name, true
		}
	}
	return "", false
}

// licences returns the list of the page: each module with its licence.
func licences(linked map[string]string) (string, error) {
	var errs []error
	var list strings.Builder
	list.WriteString("| module | licence |\n|---|---|\n")
	paths := make([]string, 0, len(linked))
	for path := range linked {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		name, err := licenceIn(linked[path])
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		}
		fmt.Fprintf(&list, "| %s | %s |\n", path, name)
	}
	return list.String(), errors.Join(errs...)
}

// licenceIn recognizes the licence in a module's directory.
func licenceIn(dir string) (string, error) {
	for _, pattern := range []string{"LICEN[SC]E*", "COPYING*"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(files) == 0 {
			continue
		}
		text, err := os.ReadFile(files[0])
		if err != nil {
			return "", err
		}
		if name, ok := licenceOf(string(text)); ok {
			return name, nil
		}
		return "", fmt.Errorf("the licence in %s is not one that kproxy may link", filepath.Base(files[0]))
	}
	return "", errors.New("there is no licence")
}
