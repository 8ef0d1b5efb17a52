package main

import (
	"cmp"
	"slices"
	"strings"
)

// suggest is the fix for a name that is unknown: the known one that was most
// likely meant, or, if there is none like it, those that there are.
func suggest(name string, known []string) string {
	apart := func(other string) int { return distance(strings.ToLower(name), strings.ToLower(other)) }
	nearest := slices.MinFunc(known, func(a, b string) int { return cmp.Compare(apart(a), apart(b)) })
	switch {
	case apart(nearest) <= max(1, (len(name)+1)/3):
		return "did you mean " + nearest + "?"
	case len(known) <= maxListed:
		return "known here: " + strings.Join(known, ", ")
	default:
		return "the nearest that there is: " + nearest
	}
}

// maxListed is how many names an error may list.
const maxListed = 12

// distance is how many letters must be added, removed or changed to get from a
// to b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1) // distances from a's beginning, so far, to b's
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
