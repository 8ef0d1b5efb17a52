package main

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"kproxy/internal/logkey"
)

// limitMemory lets the garbage collector work harder before the kernel kills the process:
// the memory limit of Go becomes nine tenths of the cgroup's, unless GOMEMLIMIT is set.
// The last tenth is for memory that Go does not count: mostly the kernel's socket
// buffers.
//
// The library only reads the cgroup (both versions, and its parents): its Set would also
// follow an environment variable of its own, without a log line.
func limitMemory(logger *slog.Logger, ofCgroup func() (uint64, error)) {
	if limit := os.Getenv("GOMEMLIMIT"); limit != "" { // Go ignores an empty value, too
		logger.Info("memory limit: as GOMEMLIMIT says", slog.String(logkey.Max, limit))
		return
	}
	cgroup, err := ofCgroup()
	switch {
	case errors.Is(err, memlimit.ErrNoLimit):
		logger.Info("memory limit: none, the cgroup has none")
	case errors.Is(err, memlimit.ErrNoCgroup), errors.Is(err, memlimit.ErrCgroupsNotSupported):
		logger.Info("memory limit: none, there is no cgroup", slog.Any(logkey.Error, err))
	case err != nil:
		logger.Warn("memory limit: none, the cgroup's cannot be read",
			slog.Any(logkey.Error, err), slog.String(logkey.Fix, "set GOMEMLIMIT to 90 % of the memory that the process may use"))
	default:
		limit := int64(min(cgroup, math.MaxInt64) / 10 * 9)
		debug.SetMemoryLimit(limit)
		logger.Info("memory limit: 90 % of the cgroup's", slog.Int64(logkey.Max, limit), slog.Uint64(logkey.Cgroup, cgroup))
	}
}
