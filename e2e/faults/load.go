//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/lab"
)

const (
	loadTick  = 10 * time.Millisecond
	burst     = 2  // records in each tick
	largeEach = 20 // of so many records, one is large
	largeSize = 100_000
	smallSize = 100

	// The settings of a production client, divided by about five, so that a fault of
	// seconds has the effect of one of a minute.
	requestOverhead = 3 * time.Second // beyond the time that the broker may take
	produceTimeout  = 3 * time.Second
	sessionTimeout  = 6 * time.Second
	dialTimeout     = 5 * time.Second
)

// ticker notes the times of events, and the longest time without one.
type ticker struct {
	mu      sync.Mutex
	first   time.Time // zero: it has not happened
	last    time.Time
	longest time.Duration
}

// reset begins the time that counts.
func (t *ticker) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last, t.longest = time.Now(), 0
}

func (t *ticker) tick() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.first.IsZero() {
		t.first = now
	}
	t.longest, t.last = max(t.longest, now.Sub(t.last)), now
}

func (t *ticker) gap() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.longest
}

// began is when it happened first.
func (t *ticker) began() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first
}

// gate is a dialer from a network that reaches only a client's intended addresses.
type gate struct {
	from     *lab.Namespace
	resolver *net.Resolver
	open     []string

	mu     sync.Mutex
	others []string // other addresses that were dialled
}

// Dial is for kgo.Dialer.
func (g *gate) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !slices.Contains(g.open, address) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.others = append(g.others, address)
		return nil, fmt.Errorf("%s is not meant to be dialled", address)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if net.ParseIP(host) == nil {
		found, err := g.resolver.LookupHost(ctx, host)
		if unknown, ok := errors.AsType[*net.DNSError](err); ok {
			unknown.Server = "" // that of this machine's configuration, which was not used
		}
		if err != nil {
			return nil, err
		}
		address = net.JoinHostPort(found[0], port)
	}
	return g.from.Dial(ctx, network, address)
}

// load is a producer and a member of a group, until Stop.
type load struct {
	producer, consumer *kgo.Client // consumer may be nil
	prefix             string      // of the records' names
	gate               *gate
	log                *os.File // franz-go's log
	trace              *trace

	ackTimes, readTimes ticker

	stop context.CancelFunc
	done sync.WaitGroup
	sent int // read it after the producer has ended

	mu      sync.Mutex // guards the following
	acked   map[string]bool
	refused map[string]int // by error
	read    map[string]bool
}

// startLoad produces to a topic and reads it, unless group is "". franz-go's log is in
// dir.
func startLoad(ctx context.Context, g *gate, dir, topic, group, prefix string, more ...kgo.Opt) (*load, error) {
	log, err := os.Create(filepath.Join(dir, topic+prefix+".log"))
	if err != nil {
		return nil, err
	}
	l := &load{gate: g, log: log, prefix: prefix, trace: newTrace(prefix, group), acked: map[string]bool{}, refused: map[string]int{}, read: map[string]bool{}}
	logger := func(who string) kgo.Opt {
		return kgo.WithLogger(kgo.BasicLogger(log, kgo.LogLevelInfo, func() string { return time.Now().Format("15:04:05.000 ") + who + " " }))
	}
	opts := append([]kgo.Opt{
		kgo.SeedBrokers(g.open...), kgo.Dialer(g.Dial), kgo.RequestTimeoutOverhead(requestOverhead),
		kgo.MetadataMinAge(250 * time.Millisecond), kgo.RetryTimeout(time.Minute),
	}, more...)
	if l.producer, err = kgo.NewClient(append(opts, logger("producer"), kgo.DefaultProduceTopic(topic), kgo.ProduceRequestTimeout(produceTimeout),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))...); err != nil {
		return nil, err
	}
	producing, stop := context.WithCancel(ctx)
	l.stop = stop
	if group == "" {
		l.done.Go(func() { l.produce(producing) })
		return l, nil
	}
	opts = append(opts, l.trace.groupOptions()...)
	if l.consumer, err = kgo.NewClient(append(opts, logger("consumer"), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(sessionTimeout),
		kgo.HeartbeatInterval(time.Second), kgo.FetchMaxWait(500*time.Millisecond))...); err != nil {
		stop()
		l.producer.Close()
		return nil, err
	}
	l.done.Go(func() { l.produce(producing) })
	go l.consume(ctx)
	return l, nil
}

// produce ends with its context.
func (l *load) produce(ctx context.Context) {
	tick := time.NewTicker(loadTick)
	defer tick.Stop()
	small, large := strings.Repeat("s", smallSize), strings.Repeat("L", largeSize)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for range burst {
			l.sent++
			name, padding := fmt.Sprintf("r%s%07d", l.prefix, l.sent), small
			if l.sent%largeEach == 0 {
				padding = large
			}
			number, value := l.sent, name+" "+padding
			l.trace.send(number, value)
			// Only its delivery or its failure may end a record.
			l.producer.Produce(context.WithoutCancel(ctx), kgo.StringRecord(value), func(r *kgo.Record, err error) {
				l.trace.sent(number, r, err)
				l.responded(name, err)
			})
		}
	}
}

func (l *load) responded(name string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.refused[err.Error()]++
		return
	}
	l.ackTimes.tick()
	l.acked[name] = true
}

// consume ends with its client.
func (l *load) consume(ctx context.Context) {
	for {
		fetches := l.consumer.PollFetches(ctx)
		if fetches.IsClientClosed() || ctx.Err() != nil {
			return
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) { l.trace.polled(traceConsumer, p.Partition, p.Records) })
		fetches.EachRecord(func(r *kgo.Record) {
			l.readTimes.tick()
			l.mu.Lock()
			defer l.mu.Unlock()
			l.read[nameOf(r.Value)] = true
		})
		l.consumer.AllowRebalance()
	}
}

// nameOf is a value's first word.
func nameOf(value []byte) string {
	name, _, _ := strings.Cut(string(value[:min(len(value), 40)]), " ")
	return name
}

func (l *load) counts() (acked, read int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked), len(l.read)
}

// unread are the acknowledged records that the group has not read.
func (l *load) unread() int {
	if l.consumer == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for name := range l.acked {
		if !l.read[name] {
			n++
		}
	}
	return n
}

// flows waits until n more records are acknowledged, and as many read.
func (l *load) flows(ctx context.Context, n int) error {
	acked, read := l.counts()
	return lab.Poll(ctx, 90*time.Second, func() error {
		if a, r := l.counts(); a < acked+n || l.consumer != nil && r < read+n {
			return fmt.Errorf("%d more records acknowledged, %d more read; want %d", a-acked, r-read, n)
		}
		return nil
	})
}

// finish ends the producer when it owes nothing, and the reader when it has read the
// acknowledged records, or will not.
func (l *load) finish(ctx context.Context) {
	l.stop()
	l.done.Wait()
	flushing, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_ = l.producer.Flush(flushing) // unacknowledged records are counted as such
	_ = lab.Poll(ctx, time.Minute, func() error {
		if n := l.unread(); n > 0 {
			return fmt.Errorf("%d unread", n)
		}
		return nil
	})
}

func (l *load) Close() {
	l.stop()
	l.done.Wait()
	l.producer.Close()
	if l.consumer != nil {
		l.consumer.CloseAllowingRebalance()
	}
	_ = l.log.Close()
}
