package main

import (
	"strings"

	"kproxy/internal/nearest"
)

// suggest is the fix for an unknown name: the most likely known one, or, if none is
// similar, the list of known ones.
func suggest(name string, known []string) string {
	closest, apart := nearest.Of(name, known)
	switch {
	case apart <= max(1, (len(name)+1)/3):
		return "did you mean " + closest + "?"
	case len(known) <= maxListed:
		return "known here: " + strings.Join(known, ", ")
	default:
		return "the nearest that there is: " + closest
	}
}

// maxListed is how many names an error may list.
const maxListed = 20
