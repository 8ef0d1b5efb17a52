package proxy

import "golang.org/x/sys/unix"

// machineMemory is how much memory the machine has.
func machineMemory() (bytes int64, known bool) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, false
	}
	return int64(uint64(info.Totalram) * uint64(info.Unit)), true //nolint:unconvert // 32 bits wide on some systems
}
