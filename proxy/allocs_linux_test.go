package proxy

import (
	"net"
	"testing"

	"kproxy/internal/racelab"
)

// A frame that is forwarded allocates nothing, whichever way it goes.
func TestFramesAllocateNothing(t *testing.T) {
	for _, kind := range []string{"produce", "fetch"} {
		for _, w := range []workload{
			{kind: kind, size: 256, parts: 1},
			{kind: kind, size: 4 << 10, parts: 1},
			{kind: kind, size: 64 << 10, parts: 1},
			{kind: kind, size: 1 << 20, parts: 1},
			{kind: kind, size: 1 << 20, parts: 100},
		} {
			for name, pipes := range map[string]int{"splice": 0, "copy": -1} {
				t.Run(kind+"/"+w.name()+"/"+name, func(t *testing.T) { w.allocatesNothing(t, pipes) })
			}
		}
	}
}

func (w workload) allocatesNothing(t *testing.T, pipes int) {
	t.Helper()
	request, answer := w.frames()
	broker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = broker.Close() }()
	go serveAnswers(broker, answer)
	p := startKproxy(t, broker.Addr().String(), pipes)
	conn, err := net.Dial("tcp", p.listenerAddress())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	in := make([]byte, 256<<10)
	one := func() {
		if err := askAll(conn, in, request, len(answer), 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		one() // pools are filled
	}
	if racelab.Enabled {
		return // sync.Pool forgets at random then
	}
	if got := testing.AllocsPerRun(100, one); got != 0 {
		t.Errorf("%v allocations for a request and its answer", got)
	}
}
