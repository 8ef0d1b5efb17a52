//go:build !unix

package admission

// FileLimit says that there is no limit: on Windows only memory limits open sockets.
func FileLimit() (files int, limited bool) { return 0, false }
