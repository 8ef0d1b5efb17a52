//go:build !unix

package proxy

// fileLimit says that there is none to know: Windows has no limit of open
// sockets but memory.
func fileLimit() (files int, limited bool) { return 0, false }
