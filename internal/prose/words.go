package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

var (
	// These words have no subject that a reader knows.
	riddle = regexp.MustCompile(`(?i)\b(whoever|nobody|somebody|everybody|whom)\b`)
	// A pronoun, an article or a verb after "what" makes a clause that stands for a noun.
	clause = regexp.MustCompile(`(?i)\bwhat\s+(is|isn't|are|was|were|has|have|had|does|do|did|comes|came|goes|follows|happens|happened|makes|made|says|said|it|they|we|he|one|a|an|the|this|that|its|no|another|kproxy|clients|brokers)\b`)
	told   = regexp.MustCompile(`(?i)\btold\b`)
	word   = regexp.MustCompile(`[\pL][\pL'-]*`)
)

// A finding is one word or clause, with the words around it.
type finding struct {
	line    int
	match   string
	context string
}

// findings returns the words and clauses of t that the check forbids.
func findings(t text) []finding {
	joined := strings.Join(t.lines, "\n")
	places := append(riddle.FindAllStringIndex(joined, -1), clauses(joined)...)
	slices.SortFunc(places, func(a, b []int) int { return a[0] - b[0] })
	var found []finding
	for _, at := range places {
		found = append(found, finding{
			line:    t.line + strings.Count(joined[:at[0]], "\n"),
			match:   strings.Join(strings.Fields(joined[at[0]:at[1]]), " "),
			context: around(joined, at[0], at[1]),
		})
	}
	return found
}

// clauses returns the places of the noun clauses in s.
func clauses(s string) [][]int {
	places := clause.FindAllStringIndex(s, -1)
	return slices.DeleteFunc(places, func(at []int) bool { return question(s, at[0]) })
}

// question reports whether the sentence that begins at i ends in a question mark.
func question(s string, i int) bool {
	if s[i] != 'W' {
		return false
	}
	end := strings.IndexAny(s[i:], ".?;")
	return end >= 0 && s[i+end] == '?'
}

// around returns the match with some words on each side, on one line.
func around(s string, from, to int) string {
	return strings.Join(strings.Fields(s[max(0, from-40):min(len(s), to+50)]), " ")
}

// counts adds up words and findings.
type counts struct {
	words, riddles, clauses, told [3]int // by kind
	findings                      int
}

func (c *counts) add(t text) {
	joined := strings.Join(t.lines, "\n")
	c.words[t.kind] += len(word.FindAllString(joined, -1))
	c.riddles[t.kind] += len(riddle.FindAllString(joined, -1))
	c.told[t.kind] += len(told.FindAllString(joined, -1))
	c.clauses[t.kind] += len(clauses(joined))
}

func (c *counts) print(w io.Writer, title string) {
	for k, name := range []string{"comments", "Markdown", "strings"} {
		per := func(n int) float64 { return 1000 * float64(n) / float64(max(1, c.words[k])) }
		fmt.Fprintf(w, "%-10s  %-8s  %6d words; per 1,000: riddles %.2f (%d), what-clauses %.2f (%d), told %.2f (%d)\n",
			title, name, c.words[k], per(c.riddles[k]), c.riddles[k], per(c.clauses[k]), c.clauses[k], per(c.told[k]), c.told[k])
	}
}

// An allowance lets findings of one file pass: those with the quote around them, or all for "*".
type allowance struct {
	file, quote string
	used        bool
}

type allowances []*allowance

// parseAllow reads the allow-list: file, tab, quote, tab, reason.
func parseAllow(list string) (allowances, error) {
	var all allowances
	lines := bufio.NewScanner(strings.NewReader(list))
	for lines.Scan() {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 3 || slices.Contains(fields, "") {
			return nil, fmt.Errorf("allow.txt: %q is not file, tab, quote, tab, reason", line)
		}
		all = append(all, &allowance{file: fields[0], quote: fields[1]})
	}
	return all, lines.Err()
}

func (all allowances) allows(file string, f finding) bool {
	for _, a := range all {
		if a.file == file && (a.quote == "*" || strings.Contains(f.context, a.quote)) {
			a.used = true
			return true
		}
	}
	return false
}

// unused returns the lines that let nothing pass.
func (all allowances) unused() []string {
	var list []string
	for _, a := range all {
		if !a.used {
			list = append(list, a.file+": "+a.quote)
		}
	}
	return list
}
