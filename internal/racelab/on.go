//go:build race

package racelab

// Enabled says whether the race detector watches.
const Enabled = true
