//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"kproxy/internal/portlab"
	"kproxy/internal/wire"
)

// runLoad runs a load to its end, and returns its marks.
func runLoad(t *testing.T, job loadJob) []mark {
	t.Helper()
	input, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := serveLoad(t.Context(), bytes.NewReader(input), &out); err != nil {
		t.Fatal(err)
	}
	var marks []mark
	for dec := json.NewDecoder(&out); ; {
		var m mark
		if err := dec.Decode(&m); err != nil {
			break
		}
		marks = append(marks, m)
	}
	if len(marks) != 3 || marks[0].Event != marked || marks[1].Event != begin || marks[2].Event != end {
		t.Fatalf("got marks %+v", marks)
	}
	return marks
}

// untilMeasured runs a function with growing durations until it succeeds: on a busy
// machine responses may be missing for a moment of unknown length.
func untilMeasured(t *testing.T, first time.Duration, run func(d time.Duration) (complaint string)) {
	t.Helper()
	const longest = 10 * time.Second
	for d := first; ; d *= 4 {
		complaint := run(d)
		if complaint == "" {
			return
		}
		if d > longest {
			t.Errorf("for %v: %s", d, complaint)
			return
		}
	}
}

func TestLoads(t *testing.T) {
	t.Parallel()
	address := startFakeBroker(t)
	others := stalledBeside(loopback)[1]
	others.Others = 2
	for _, c := range []struct {
		name string
		work workload
		rate float64
	}{
		{"closed loop", produceOf(4*kib, 2), 0},
		{"pinned", fetchOf(17, 4*kib, 2), 2000},
		{"churn", asking("churn", churn, 2, ""), 0},
		{"churn, pinned", asking("churn", churn, 2, ""), 200},
		{"beside stalled readers", others, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.work.Kind == stalled && testing.Short() {
				t.Skip("takes seconds")
			}
			untilMeasured(t, 300*time.Millisecond, func(d time.Duration) string {
				marks := runLoad(t, loadJob{Work: c.work, Address: address, Rate: c.rate, Warmup: 20 * time.Millisecond, Duration: d})
				requests := marks[2].Requests - marks[1].Requests
				if requests == 0 || marks[2].Bytes <= marks[1].Bytes || marks[2].P99 <= 0 {
					return fmt.Sprintf("got %+v", marks)
				}
				// A machine that others use may carry less than the rate, and send the
				// overdue requests later. Over a longer time no more than the rate is
				// sent.
				if most := 1.5 * c.rate * d.Seconds(); c.rate > 0 && float64(requests) > most {
					return fmt.Sprintf("%d requests at %v a second", requests, c.rate)
				}
				return ""
			})
		})
	}
}

func TestIdleLoad(t *testing.T) {
	address := startFakeBroker(t)
	marks := runLoad(t, loadJob{Work: asking("idle", idle, 50, ""), Address: address, Duration: 50 * time.Millisecond})
	if marks[1].Requests != 50 || marks[2].Requests != 50 {
		t.Errorf("got %+v, want one request of each", marks)
	}
}

// A server that pauses delays all requests that were due meanwhile, and not only the
// current one: no coordinated omission.
func TestPinnedLatencyCountsFromWhenARequestWasDue(t *testing.T) {
	const pause = 300 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		w := fetchOf(17, 256, 1)
		request, response := make([]byte, len(requestFrame(w))), responseFrame(w)
		for i := 0; ; i++ {
			if _, err := io.ReadFull(conn, request); err != nil {
				return
			}
			if i == 100 {
				<-time.After(pause)
			}
			copy(response[wire.SizeLen:wire.ResponsePrefixLen], request[wire.RequestPrefixLen-4:])
			if _, err := conn.Write(response); err != nil {
				return
			}
		}
	}()
	// 500 a second for 600 ms, half of which the server is away: half the responses
	// are late, by up to the pause.
	marks := runLoad(t, loadJob{Work: fetchOf(17, 256, 1), Address: l.Addr().String(), Rate: 500, Duration: 600 * time.Millisecond})
	if least := float64((pause / 2).Microseconds()); marks[2].P99 < least {
		t.Errorf("p99 is %v µs, want at least %v", marks[2].P99, least)
	}
	if least := 1000.0; marks[2].P50 < least {
		t.Errorf("p50 is %v µs: the requests behind the slow one are not late", marks[2].P50)
	}
}

// A load without a server reports it and ends.
func TestLoadFails(t *testing.T) {
	address := portlab.Closed(t)
	var out bytes.Buffer
	input, _ := json.Marshal(loadJob{Work: fetchOf(17, 256, 1), Address: address, Duration: time.Millisecond})
	if err := serveLoad(t.Context(), bytes.NewReader(input), &out); err == nil || !strings.Contains(out.String(), "refused") {
		t.Errorf("got %v, %s", err, out.String())
	}
}

func TestSchedule(t *testing.T) {
	s := schedule{start: time.Unix(100, 0), every: time.Millisecond, conns: 4}
	for _, c := range []struct{ conn, i, want int }{{0, 0, 0}, {3, 0, 3}, {0, 1, 4}, {2, 10, 42}} {
		if got := s.due(c.conn, c.i).Sub(s.start); got != time.Duration(c.want)*time.Millisecond {
			t.Errorf("request %d of connection %d is due after %v, want %d ms", c.i, c.conn, got, c.want)
		}
	}
}
