package main

import (
	"errors"
	"log/slog"
	"math"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// The decision is carried out, and logged in one line.
func TestMemoryLimit(t *testing.T) {
	const untouched = 5 << 30
	const gib = 1 << 30
	fails := func(err error) func() (uint64, error) { return func() (uint64, error) { return 0, err } }
	for _, c := range []struct {
		name   string
		env    string // GOMEMLIMIT
		cgroup func() (uint64, error)
		want   int64
		log    string
	}{
		{"set by hand", "1GiB", memlimit.Limit(gib), untouched, `level=INFO msg="memory limit: as GOMEMLIMIT says" max=1GiB`},
		{"switched off", "off", memlimit.Limit(gib), untouched, `level=INFO msg="memory limit: as GOMEMLIMIT says" max=off`},
		{
			"from the cgroup", "", memlimit.Limit(gib), gib / 10 * 9,
			`level=INFO msg="memory limit: 90 % of the cgroup's" max=966367638 cgroup=1073741824`,
		},
		{
			"more than there is", "", memlimit.Limit(math.MaxUint64), math.MaxInt64 / 10 * 9,
			`level=INFO msg="memory limit: 90 % of the cgroup's" max=8301034833169298220 cgroup=18446744073709551615`,
		},
		{"no limit", "", fails(memlimit.ErrNoLimit), untouched, `level=INFO msg="memory limit: none, the cgroup has none"`},
		{
			"no cgroup", "", fails(memlimit.ErrNoCgroup), untouched,
			`level=INFO msg="memory limit: none, there is no cgroup" error="process is not in cgroup"`,
		},
		{
			"not Linux", "", fails(memlimit.ErrCgroupsNotSupported), untouched,
			`level=INFO msg="memory limit: none, there is no cgroup" error="cgroups is not supported on this system"`,
		},
		{
			"a failure", "", fails(errors.New("no way")), untouched,
			`level=WARN msg="memory limit: none, the cgroup's cannot be read" error="no way" fix="set GOMEMLIMIT to 90 % of the memory that the process may use"`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer debug.SetMemoryLimit(debug.SetMemoryLimit(untouched))
			t.Setenv("GOMEMLIMIT", c.env)
			t.Setenv("AUTOMEMLIMIT", "0.1") // no setting has asked for it
			var log strings.Builder
			limitMemory(plainLogger(&log), c.cgroup)
			if got := debug.SetMemoryLimit(-1); got != c.want {
				t.Errorf("limit: got %d, want %d", got, c.want)
			}
			if got := strings.TrimSuffix(log.String(), "\n"); got != c.log {
				t.Errorf("log: got %s\nwant %s", got, c.log)
			}
		})
	}
}

// plainLogger logs without the time.
func plainLogger(log *strings.Builder) *slog.Logger {
	return slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}
