//go:build !linux

package proxy

// machineMemory is not known here.
func machineMemory() (bytes int64, known bool) { return 0, false }
