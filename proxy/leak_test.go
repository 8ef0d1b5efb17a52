package proxy_test

import (
	"encoding/binary"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// footprint has the numbers that a leak increases. They are the whole process's: a test that
// measures them does not run beside others.
type footprint struct{ goroutines, descriptors int }

func measure() footprint {
	f := footprint{goroutines: runtime.NumGoroutine()}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		f.descriptors = len(open)
	}
	return f
}

// settled waits until no more is used than before. Package net keeps pipes of its own for tests that copy
// from socket to socket, until they are collected.
func (f footprint) settled(t *testing.T) {
	t.Helper()
	tick, collect := time.NewTicker(time.Millisecond), time.NewTicker(100*time.Millisecond)
	defer collect.Stop()
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for now := measure(); now.goroutines > f.goroutines || now.descriptors > f.descriptors; now = measure() {
		if time.Now().After(deadline) {
			var stacks strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			t.Fatalf("got %+v, want %+v; open: %s; %s", now, f, openFiles(), stacks.String())
		}
		select {
		case <-tick.C:
		case <-collect.C:
			runtime.GC()
		}
	}
}

// openFiles returns the names of the process's open files.
func openFiles() string {
	var names []string
	open, _ := os.ReadDir("/proc/self/fd")
	for _, descriptor := range open {
		name, _ := os.Readlink("/proc/self/fd/" + descriptor.Name())
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// For a size that no request has, the proxy allocates nothing and waits for nothing. It closes
// the connection.
func TestImpossibleSizesCostNothing(t *testing.T) {
	needsPlainTCP(t)
	var l lab
	l.startBroker(t, 0, 0)
	conf := l.config()
	conf.MaxRequestBytes = smallLimit
	l.start(t, conf)
	l.learned(t, 0)
	before := measure()
	var first, last runtime.MemStats
	runtime.ReadMemStats(&first)
	const attempts = 200
	for i := range attempts {
		size := impossibleSizes[i%len(impossibleSizes)].size
		c := l.dial(t, "bob.test:9092")
		c.write(binary.BigEndian.AppendUint32(nil, uint32(size)))
		c.eof()
		c.close()
		l.ends.next(t)
	}
	runtime.ReadMemStats(&last)
	if got := (last.TotalAlloc - first.TotalAlloc) / attempts; got > 128<<10 {
		t.Errorf("%d bytes were allocated for each", got)
	}
	before.settled(t)
}
