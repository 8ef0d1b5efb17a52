//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/history"
	"kproxy/e2e/lab"
	"kproxy/e2e/workload"
)

const (
	// partOf is the length of a part. Each part has topics and groups of its own, and its
	// history is checked.
	partOf    = 3 * time.Minute
	eventsOf  = 4 << 20 // in the history of a part
	probeEach = 100 * time.Millisecond
)

// loads are the loads of one part at a time.
type loads struct {
	*site
	mu     sync.Mutex // guards the following; held during a move of leaders
	topics []string   // of the part
}

func (l *loads) set(topics []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.topics = topics
}

// run runs one part after the other until ctx ends.
func (l *loads) run(ctx context.Context) {
	for n := 1; ctx.Err() == nil; n++ {
		l.part(ctx, n)
	}
}

// part runs a load by each way, and checks its history.
func (l *loads) part(ctx context.Context, n int) {
	var wg sync.WaitGroup
	defer wg.Wait()
	var topics []string
	for _, w := range l.ways() {
		topic := fmt.Sprintf("%s-%d", w.name, n)
		topics = append(topics, topic)
		wg.Go(func() {
			if err := l.story(ctx, w, topic); err != nil {
				l.fault(context.WithoutCancel(ctx), "%s: %v", topic, err) // also after the end of the run
			}
		})
	}
	l.set(topics)
}

// story is a load by one way. The end of ctx ends it early; its history is checked all the same.
func (l *loads) story(ctx context.Context, w way, topic string) error {
	end, cancel := context.WithTimeout(ctx, partOf)
	defer cancel()
	ctx = context.WithoutCancel(ctx)
	if err := l.cluster.NewTopic(ctx, partitions, nil, topic); err != nil {
		return err
	}
	recorder := history.NewRecorder(eventsOf)
	load, err := workload.Start(ctx, workload.Config{
		Recorder: recorder, Topic: topic, Partitions: partitions, Rate: l.Rate, Churn: 5 * time.Second,
		Client: func(string) []kgo.Opt { return w.options() },
	})
	if err != nil {
		return err
	}
	<-end.Done()
	if err := load.Stop(ctx); err != nil {
		return err
	}
	if err := l.settled(ctx, topic); err != nil {
		return err
	}
	reading, cancelReading := context.WithTimeout(ctx, 2*time.Minute)
	defer cancelReading()
	if err := errors.Join(load.Final(reading, "final"), load.Final(reading, "final-direct", l.direct()...)); err != nil {
		return err
	}
	report := history.Check(recorder.History())
	for _, finding := range report.Findings {
		l.fault(ctx, "%s: %s", topic, finding)
	}
	l.count("records acknowledged", report.Counts.Acked)
	l.count("transactions committed", report.Counts.TxCommitted)
	l.count("histories checked", 1)
	if report.Counts.Acked == 0 || report.Counts.TxCommitted == 0 {
		return errors.New("no record or no transaction was written")
	}
	if _, err := l.cluster.Admin.DeleteTopic(ctx, topic); err != nil {
		return err
	}
	l.progress("%s: %d records, %d transactions, %d findings", topic, report.Counts.Acked, report.Counts.TxCommitted, len(report.Findings))
	return nil
}

// settled has a topic's leaders move no more, and waits until each of them serves: the final
// reads do not ask again.
func (l *loads) settled(ctx context.Context, topic string) error {
	l.mu.Lock() // not during a move
	l.topics = slices.DeleteFunc(l.topics, func(other string) bool { return other == topic })
	l.mu.Unlock()
	return lab.Poll(ctx, settle, func() error {
		if err := l.cluster.WaitWhole(ctx); err != nil {
			return err
		}
		ends, err := l.cluster.Admin.ListEndOffsets(ctx, topic)
		return errors.Join(err, ends.Error())
	})
}

// clients makes short-lived clients until ctx ends. A broker that stops closes connections
// whose requests it has not responded to, and kproxy passes the end on. kgo returns it to
// the caller of Ping, with kproxy and without. So a client that fails while a broker restarts
// is counted, and is no fault.
func (s *site) clients(ctx context.Context) {
	ways := s.ways()
	each(ctx, 250*time.Millisecond, func(n int) {
		s.count("short-lived clients", 1)
		restarting := s.restarting.Load()
		err := ping(ctx, append(ways[n%len(ways)].options(), kgo.ClientID(fmt.Sprintf("short-%d", n))))
		switch {
		case err == nil:
		case restarting || s.restarting.Load():
			s.count("short-lived clients that failed while a broker restarted", 1)
		default:
			s.fault(ctx, "a short-lived client: %v", err)
		}
	})
}

// ping is a short-lived client.
func ping(ctx context.Context, opts []kgo.Opt) error {
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	return client.Ping(ctx)
}

// mostIdle is the number of connections that stay open without a request.
const mostIdle = 100

// strays makes connections that are no client's until ctx ends: some end at once, some
// within a frame or a handshake, some stay.
func (s *site) strays(ctx context.Context) {
	var idle []net.Conn
	defer func() {
		for _, conn := range idle {
			_ = conn.Close()
		}
	}()
	each(ctx, 200*time.Millisecond, func(n int) {
		port := []int{bootstrap, firstNode, edgePort}[n%3]
		conn, err := s.net.Dial(ctx, "tcp", lab.HostPort(host, port))
		if err != nil {
			s.fault(ctx, "connect to port %d: %v", port, err)
			return
		}
		s.count("stray connections", 1)
		switch n / 3 % 5 {
		case 0:
		case 1: // a part of a frame, then a reset
			_, _ = conn.Write([]byte{0, 0, 0, 40, 0, 18, 0, 3, 0})
			_ = conn.(*net.TCPConn).SetLinger(0)
		case 2: // no frame
			_, _ = conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		case 3: // the client refuses the certificate
			asking, cancel := context.WithTimeout(ctx, settle)
			_ = tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "other.invalid"}).HandshakeContext(asking)
			cancel()
		case 4:
			idle = append(idle, conn)
			if len(idle) <= mostIdle {
				return
			}
			conn, idle = idle[0], idle[1:]
		}
		_ = conn.Close()
	})
}

// probe measures the latency of records that are due at a fixed rate.
type probe struct {
	client *kgo.Client
	mu     sync.Mutex
	times  *hdrhistogram.Histogram // in microseconds
}

const probeTopic = "probe"

func newProbe(opts []kgo.Opt) (*probe, error) {
	client, err := kgo.NewClient(append(opts, kgo.ClientID(probeTopic), kgo.DefaultProduceTopic(probeTopic))...)
	return &probe{client: client, times: hdrhistogram.New(1, int64(2*time.Minute/time.Microsecond), 3)}, err
}

// run produces until ctx ends. A record's time begins when it is due.
func (p *probe) run(ctx context.Context, s *site, name string) {
	defer p.client.Close()
	tick := time.NewTicker(probeEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case due := <-tick.C:
			p.client.Produce(ctx, kgo.StringRecord("probe"), func(_ *kgo.Record, err error) {
				if err != nil {
					s.fault(ctx, "the probe %s: %v", name, err)
					return
				}
				p.mu.Lock()
				defer p.mu.Unlock()
				_ = p.times.RecordValue(time.Since(due).Microseconds())
			})
		}
	}
}

// read returns the latency since the last call in milliseconds.
func (p *probe) read() (p50, p99 float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.times.Reset()
	return float64(p.times.ValueAtQuantile(50)) / 1000, float64(p.times.ValueAtQuantile(99)) / 1000
}
