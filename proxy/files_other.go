//go:build !unix

package proxy

// fileLimit says that there is none to know: Windows has no limit of open
// sockets but memory.
func fileLimit() (files int, limited bool) { return 0, false }

// mayWrite would return an error if the process may not make files in a directory; here
// the first write tells.
func mayWrite(string) error { return nil }
