//go:build linux

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

const (
	probesRole = "probes"
	// probeEvery is how often an untouched client asks.
	probeEvery = 5 * time.Millisecond
)

// The untouched clients, by how they come.
const (
	overTLS   = "TLS"
	overPlain = "plaintext"
	haproxy   = "HAProxy" // through HAProxy to the broker, beside kproxy
	direct    = "direct"  // to the broker, past kproxy: the effect of the machine alone
)

// probesJob says where the untouched clients are.
type probesJob struct {
	CA      []byte            // of the listener's certificate
	Targets map[string]string // addresses, by how they come
}

// seen has the counts and latencies of an untouched client. Times are in microseconds,
// from when a request was to be sent to its response.
type seen struct {
	Asked, Answered int
	Owed            int // of those asked before the look, half a minute later
	P50, P99, Max   int64
	Error           string // why the client is no more
}

// serveProbes is the untouched clients. They connect once, and ask until its
// input ends. A line of it is a look: their figures since the last one.
func serveProbes(in *json.Decoder, out *json.Encoder) error {
	var job probesJob
	if err := in.Decode(&job); err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(job.CA)
	probes := map[string]*probe{}
	for how, address := range job.Targets {
		d := door{Address: address}
		if how == overTLS {
			d.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName, RootCAs: pool}
		}
		conn, err := d.visit(context.Background())
		if err == nil {
			err = conn.SetDeadline(time.Time{})
		}
		if err != nil {
			return fmt.Errorf("%s: %w", how, err)
		}
		p := newProbe(conn)
		probes[how] = p
		go p.send() // both end with the process
		go p.receive()
	}
	if err := out.Encode(struct{}{}); err != nil {
		return err
	}
	for {
		if err := in.Decode(&struct{}{}); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		all := map[string]seen{}
		for how, p := range probes {
			all[how] = p.look()
		}
		if err := out.Encode(all); err != nil {
			return err
		}
	}
}

// probe is one untouched client. Its requests are sent when they are due, whether those
// before them have a response or not, as producers do.
type probe struct {
	conn net.Conn
	due  chan time.Time // of the questions that were sent

	mu      sync.Mutex // guards the following
	seen    seen
	latency *hdrhistogram.Histogram
}

// The latencies that are distinguished, in microseconds: to a minute.
const lowest, highest, digits = 1, 60_000_000, 3

func newProbe(conn net.Conn) *probe {
	return &probe{
		conn: conn, due: make(chan time.Time, time.Minute/probeEvery),
		latency: hdrhistogram.New(lowest, highest, digits),
	}
}

// send asks every probeEvery. It has a thread of its own, which sleeps in the
// kernel: a timer of Go's is up to a millisecond late where nothing else wakes its
// thread, and the delay would count as kproxy's.
func (p *probe) send() {
	runtime.LockOSThread()
	const slack = 1 // nanoseconds, instead of the 50 microseconds that Linux adds
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, slack, 0, 0, 0)
	frame := bytes.Clone(askMetadata)
	due := time.Now()
	for id := int32(0); ; id++ {
		nap := unix.NsecToTimespec(int64(max(0, time.Until(due))))
		_ = unix.Nanosleep(&nap, nil) // woken early, it is a little early
		p.mu.Lock()
		p.seen.Asked++
		p.mu.Unlock()
		number(frame, id)
		if _, err := p.conn.Write(frame); err != nil {
			p.end(err)
			return
		}
		p.due <- due
		due = due.Add(probeEvery)
	}
}

// receive reads the responses. A latency counts from when the request was due, not from
// when it was sent.
func (p *probe) receive() {
	in := bufio.NewReader(p.conn)
	for id := int32(0); ; id++ {
		if err := responded(in, id); err != nil {
			p.end(err)
			return
		}
		took := time.Since(<-p.due)
		p.mu.Lock()
		p.seen.Answered++
		_ = p.latency.RecordValue(max(lowest, min(took.Microseconds(), highest))) // it is in range
		p.mu.Unlock()
	}
}

// end returns why there are no more requests, or no more responses.
func (p *probe) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen.Error = cmp.Or(p.seen.Error, err.Error())
}

// look returns the figures since the last one, with the responses to all requests sent by
// now: a stall that goes on would count for the next look.
func (p *probe) look() seen {
	p.mu.Lock()
	asked := p.seen.Asked
	p.mu.Unlock()
	began := time.Now()
	for {
		p.mu.Lock()
		if s := p.seen; s.Error != "" || s.Answered >= asked || time.Since(began) > patience {
			s.P50, s.P99, s.Max = p.latency.ValueAtQuantile(50), p.latency.ValueAtQuantile(99), p.latency.Max()
			s.Owed = asked - s.Answered
			p.seen = seen{Error: s.Error, Asked: s.Asked - s.Answered}
			p.latency.Reset()
			p.mu.Unlock()
			return s
		}
		p.mu.Unlock()
		pause(context.Background(), time.Millisecond)
	}
}

// probes are the untouched clients, seen from here.
type probes struct{ *child }

// startProbes returns when they have connected, and ask.
func startProbes(ctx context.Context, job probesJob) (probes, error) {
	c, err := startChild(ctx, probesRole)
	if err != nil {
		return probes{}, err
	}
	if err := c.ask(job, &struct{}{}); err != nil {
		return probes{}, errors.Join(fmt.Errorf("the untouched clients do not start: %w", err), c.close())
	}
	return probes{c}, nil
}

// look returns their figures since the last look.
func (p probes) look() (all map[string]seen, err error) {
	err = p.ask(struct{}{}, &all)
	return all, err
}
