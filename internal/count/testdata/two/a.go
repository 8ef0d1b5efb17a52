// Package two is counted by a test.
package two

// A is exported.
type A struct{ n int }

func (a *A) Get() int { return a.n }

func (a *A) Set(n int) { a.n = clamp(n) }
