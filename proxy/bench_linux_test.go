package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kproxy/proxy/config"
)

// BenchmarkRelay measures the cost of a frame for a relay: kproxy, kproxy with splicing off,
// and io.Copy in both directions, which parses nothing. Client and broker are another
// process, so that the processor time of this one is the relay's. Compare only lines of one
// run with each other.
//
//	go test ./proxy -run '^$' -bench Relay -benchtime 2000x
func BenchmarkRelay(b *testing.B) {
	for _, kind := range []string{"produce", "fetch"} {
		for _, size := range []int{256, 4 << 10, 64 << 10, 1 << 20} {
			for _, parts := range []int{1, 100} {
				if parts > 1 && (kind != "fetch" || size < 1<<20) {
					continue
				}
				w := workload{kind: kind, size: size, parts: parts, conns: 4, depth: 1}
				for _, relay := range []string{"iocopy", "copy", "kproxy"} {
					b.Run(fmt.Sprintf("%s/%s/%s", kind, w.name(), relay), func(b *testing.B) { w.run(b, relay) })
				}
			}
		}
	}
}

func (w workload) run(b *testing.B, relay string) {
	b.Helper()
	peers := startPeers(b, w)
	address := startRelay(b, relay, peers.broker)
	peers.send(b, address, 20*w.conns*w.depth) // connections are open, pools are filled
	b.ReportAllocs()
	b.ResetTimer()
	before := processorTime()
	peers.send(b, address, b.N)
	took := processorTime() - before
	b.StopTimer()
	b.ReportMetric(took.Seconds()*1e6/float64(b.N), "cpu-µs/op")
	b.ReportMetric(took.Seconds()*1e9/(float64(b.N)*float64(w.size)), "cpu-s/GB")
	b.ReportMetric(0, "ns/op") // the machine's, not the relay's
}

func processorTime() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage) // does not fail
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// startRelay starts the relay to measure, and returns its address.
func startRelay(tb testing.TB, kind, broker string) string {
	tb.Helper()
	if kind == "iocopy" {
		return startCopying(tb, broker)
	}
	pipes := 0
	if kind == "copy" {
		pipes = -1
	}
	return startKproxy(tb, broker, pipes).listenerAddress()
}

// benchParkAfter is long beside a frame's way.
const benchParkAfter = time.Second

func startKproxy(tb testing.TB, broker string, pipes int) *Proxy {
	tb.Helper()
	p, err := New(&Config{
		Config: config.Config{
			SplicePipes: pipes,
			ParkAfter:   benchParkAfter,
			Clusters: []config.Cluster{{
				Name: "bench", Bootstrap: []string{broker},
				Listeners: []config.Listener{{Name: "all", Bind: "127.0.0.1:29092", Nodes: config.Nodes{Ports: config.Range{First: 29093, Last: 29093}}}},
			}},
		},
		Listen: func(ctx context.Context, network, _ string) (net.Listener, error) {
			return (&net.ListenConfig{}).Listen(ctx, network, "127.0.0.1:0")
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		p.Shutdown(ctx)
	})
	return p
}

func (p *Proxy) listenerAddress() string {
	return p.acceptors()[0].socket.Addr().String()
}

// startCopying starts the relay that looks at nothing, and that splices by what
// package net does for io.Copy.
func startCopying(tb testing.TB, broker string) string {
	tb.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = socket.Close() })
	go func() {
		for {
			client, err := socket.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", broker)
			if err != nil {
				return
			}
			for _, way := range [][2]net.Conn{{client, upstream}, {upstream, client}} {
				go func() {
					_, _ = io.Copy(way[1], way[0])
					_ = way[1].Close()
				}()
			}
		}
	}()
	return socket.Addr().String()
}

// BenchmarkIdle measures the memory of a pair of connections in a process that has served a
// request and waits for the next.
//
//	go test ./proxy -run '^$' -bench Idle -benchtime 1x
func BenchmarkIdle(b *testing.B) {
	for _, relay := range []string{"iocopy", "copy", "kproxy"} {
		b.Run(relay, func(b *testing.B) {
			w := workload{kind: "fetch", size: 256, parts: 1, conns: 2000, depth: 1}
			peers := startPeers(b, w)
			address := startRelay(b, relay, peers.broker)
			before := inUse(b)
			peers.send(b, address, 2*w.conns)
			time.Sleep(3 * benchParkAfter) //nolint:forbidigo // there is no event for nothing happening
			after := inUse(b)
			per := func(n uint64) float64 { return float64(n) / 1024 / float64(w.conns) }
			b.ReportMetric(per(after.heap-before.heap), "heap-KiB/pair")
			b.ReportMetric(per(after.stacks-before.stacks), "stack-KiB/pair")
			b.ReportMetric(per(after.resident-before.resident), "rss-KiB/pair")
			b.ReportMetric(0, "ns/op")
		})
	}
}

type memory struct{ heap, stacks, resident uint64 }

// inUse measures after stacks have had time to shrink: by half in each
// collection.
func inUse(b *testing.B) memory {
	b.Helper()
	for range 4 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var pages, resident uint64
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Sscan(string(status), &pages, &resident); err != nil {
		b.Fatal(err)
	}
	return memory{m.HeapAlloc, m.StackInuse, resident * uint64(os.Getpagesize())}
}

// BenchmarkStalled measures what readers that have stopped cost: each has asked
// for 100 MB and reads nothing.
//
//	go test ./proxy -run '^$' -bench Stalled -benchtime 1000x
func BenchmarkStalled(b *testing.B) {
	for _, relay := range []string{"iocopy", "copy", "kproxy", "iocopy-slow", "kproxy-slow"} {
		b.Run(relay, func(b *testing.B) {
			const stalled = 100
			relay, slow := strings.CutSuffix(relay, "-slow")
			busy := startPeers(b, workload{kind: "fetch", size: 1 << 20, parts: 1, conns: 2, depth: 1})
			idle := startPeers(b, workload{kind: "fetch", size: 100 << 20, parts: 1, slow: slow})
			address := startRelay(b, relay, busy.broker)
			idleAddress := startRelay(b, relay, idle.broker)
			measure := func() (cpu time.Duration) {
				busy.send(b, address, 100)
				before := processorTime()
				busy.send(b, address, b.N)
				return processorTime() - before
			}
			alone := measure()
			before, kernel := inUse(b), kernelMemory(b)
			idle.stall(b, idleAddress, stalled)
			time.Sleep(8 * time.Second) //nolint:forbidigo // there is no event for nothing happening
			held := kernelMemory(b)
			beside := measure()
			after := inUse(b)
			b.ReportMetric(beside.Seconds()/alone.Seconds(), "cpu-ratio")
			b.ReportMetric(float64(held-kernel)/1024/stalled, "kernel-KiB/reader")
			b.ReportMetric((float64(after.resident)-float64(before.resident))/1024/stalled, "rss-KiB/reader")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// kernelMemory is what all TCP sockets of this network namespace hold.
func kernelMemory(b *testing.B) int64 {
	b.Helper()
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		b.Fatal(err)
	}
	_, line, _ := strings.Cut(string(text), "TCP: ")
	line, _, _ = strings.Cut(line, "\n")
	_, pages, _ := strings.Cut(line, "mem ")
	n, err := strconv.ParseInt(strings.TrimSpace(pages), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n * int64(os.Getpagesize())
}
