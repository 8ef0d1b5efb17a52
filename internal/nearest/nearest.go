// Package nearest finds the known name that is most similar to a misspelt one. The
// configuration's keys, the commands and clients' keys share it.
package nearest

import "strings"

// maxCompared is how many bytes of a name are compared with known ones. It bounds the
// work for a name from a peer; known names are shorter.
const maxCompared = 100

// Of returns the known name with the least distance to name, and that distance. Upper and
// lower case count as the same. known must not be empty. The part of a name beyond 100
// bytes counts as letters that must be removed.
func Of(name string, known []string) (nearest string, apart int) {
	cut := name[:min(len(name), maxCompared)]
	lower := strings.ToLower(cut)
	for i, other := range known {
		if distance := Distance(lower, strings.ToLower(other)); i == 0 || distance < apart {
			nearest, apart = other, distance
		}
	}
	return nearest, apart + len(name) - len(cut)
}

// Distance returns how many letters must be added, removed or changed to get from a to
// b (Levenshtein).
func Distance(a, b string) int {
	row := make([]int, len(b)+1) // distances from the start of a, so far, to the starts of b
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
