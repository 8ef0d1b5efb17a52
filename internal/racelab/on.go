//go:build race

package racelab

// Enabled reports whether the race detector is on.
const Enabled = true
