// Package racelab helps tests to run two goroutines at the same moment, and many tests at once.
package racelab

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Together runs one and other at the same moment, rounds times, with one a little earlier
// or later than the other in each round. It calls before ahead of each round and
// after behind it.
func Together(rounds int, before func(), one, other func(), after func(round int)) {
	var begun, done atomic.Int64
	const widest = 64 // steps
	wait := func(steps int) {
		for range steps {
			_ = begun.Load()
		}
	}
	var running sync.WaitGroup
	running.Go(func() {
		for round := range rounds {
			for begun.Load() <= int64(round) {
				runtime.Gosched()
			}
			wait(round % widest)
			other()
			done.Store(int64(round) + 1)
		}
	})
	for round := range rounds {
		before()
		begun.Store(int64(round) + 1)
		wait(widest / 2)
		one()
		for done.Load() <= int64(round) {
			runtime.Gosched()
		}
		after(round)
	}
	running.Wait()
}
