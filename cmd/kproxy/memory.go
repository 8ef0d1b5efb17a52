package main

import (
	"log/slog"
	"math"
	"os"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"kproxy/internal/logkey"
)

// memoryRatio leaves a tenth of the container's memory to what Go does not
// count: the kernel's socket buffers, above all.
const memoryRatio = 0.9

// limitMemory lets the garbage collector work harder before the kernel kills
// the process: GOMEMLIMIT becomes a share of the cgroup's limit, unless it is
// set.
func limitMemory(logger *slog.Logger) {
	if limit, ok := os.LookupEnv("GOMEMLIMIT"); ok {
		logger.Info("memory limit: as GOMEMLIMIT says", slog.String(logkey.Max, limit))
		return
	}
	limit, err := memlimit.Set(memlimit.WithRatio(memoryRatio))
	switch {
	case err != nil:
		logger.Info("memory limit: none, the cgroup's cannot be read", slog.Any(logkey.Error, err))
	case limit == math.MaxInt64:
		logger.Info("memory limit: none, the cgroup has none")
	default:
		logger.Info("memory limit: 90 % of the cgroup's", slog.Int64(logkey.Max, limit))
	}
}
