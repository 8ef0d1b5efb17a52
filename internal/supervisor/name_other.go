//go:build !linux

package supervisor

// nameOf returns "": there is no portable way to the name of another process.
func nameOf(int) string { return "" }
