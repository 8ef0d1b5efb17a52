package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/term"

	"kproxy/internal/hostport"
)

const (
	leaderMoves = 300 * time.Millisecond // how often every partition gets another leader
	// The records come in small batches, so that progress is visible and leaders move
	// many times meanwhile.
	demoLot      = 125
	demoInterval = 10 * time.Millisecond
)

// demoLoad is the demo's own clients: a producer outside, and a group with a
// member on each network.
type demoLoad struct {
	demo    *demo
	records int
	seen    []atomic.Bool // by record

	sent, read atomic.Int64 // acknowledged; read, each once
	refused    atomic.Int64 // dials of addresses that are not kproxy's
}

func newDemoLoad(d *demo, records int) *demoLoad {
	return &demoLoad{demo: d, records: records, seen: make([]atomic.Bool, records)}
}

// run sends all records and reads them back, or fails when ctx ends. moved is
// how often leaders were moved meanwhile.
func (l *demoLoad) run(ctx context.Context) (moved int, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	reading, done := context.WithCancel(ctx)
	defer done()
	var clients, mover sync.WaitGroup
	for _, way := range l.demo.ways {
		client, err := l.client(way, kgo.ConsumeTopics(demoTopic), kgo.ConsumerGroup("demo-group"),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			return 0, err
		}
		defer client.Close()
		clients.Go(func() { l.consume(reading, client, done) })
	}
	alice := l.demo.ways[len(l.demo.ways)-1]
	producer, err := l.client(alice, kgo.DefaultProduceTopic(demoTopic))
	if err != nil {
		return 0, err
	}
	defer producer.Close()
	mover.Go(func() { moved = l.moveLeaders(reading) })
	clients.Go(func() { l.produce(ctx, producer, fail) })
	l.showProgress(reading)
	clients.Wait()
	mover.Wait()
	if ctx.Err() != nil {
		return moved, fmt.Errorf("after %d of %d records: %w", l.read.Load(), l.records, context.Cause(ctx))
	}
	return moved, nil
}

// client returns a client in the network of a listener's clients: it resolves only the
// names that the listener advertises.
func (l *demoLoad) client(way demoListener, opts ...kgo.Opt) (*kgo.Client, error) {
	bindHost, _, err := net.SplitHostPort(way.conf.Bind)
	if err != nil {
		return nil, err
	}
	advertised, _, err := hostport.Parse(way.conf.Advertise)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := hostport.Parse(address)
		if err != nil {
			return nil, err
		}
		if host != advertised {
			l.refused.Add(1)
			return nil, fmt.Errorf("%s: no such host", host)
		}
		return (&net.Dialer{}).DialContext(ctx, network, hostport.Join(bindHost, port))
	}
	return kgo.NewClient(append(opts, kgo.SeedBrokers(way.conf.Advertise), kgo.Dialer(dial))...)
}

// produce sends all records, and fails the load if one is not acknowledged.
func (l *demoLoad) produce(ctx context.Context, client *kgo.Client, fail context.CancelCauseFunc) {
	tick := time.NewTicker(demoInterval)
	defer tick.Stop()
	for i := range l.records {
		if i%demoLot == 0 {
			<-tick.C
		}
		record := &kgo.Record{Value: demoRecord(i)}
		client.Produce(ctx, record, func(_ *kgo.Record, err error) {
			if err != nil {
				fail(fmt.Errorf("produce: %w", err))
				return
			}
			l.sent.Add(1)
		})
	}
	if err := client.Flush(ctx); err != nil {
		fail(fmt.Errorf("produce: %w", err))
	}
}

// demoRecordText begins each record, so that a consumer on a terminal shows something.
const demoRecordText = "demo record "

// demoRecord is the value of a record.
func demoRecord(i int) []byte { return strconv.AppendInt([]byte(demoRecordText), int64(i), 10) }

// demoRecordNumber is the number of the record with a value. Another program may have
// written it.
func demoRecordNumber(value []byte) (i int, ok bool) {
	text, ok := strings.CutPrefix(string(value), demoRecordText)
	i, err := strconv.Atoi(text)
	return i, ok && err == nil && i >= 0
}

// consume reads until every record has been seen by some member of the group.
func (l *demoLoad) consume(ctx context.Context, client *kgo.Client, done func()) {
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			i, ok := demoRecordNumber(r.Value)
			if ok && i < l.records && l.seen[i].CompareAndSwap(false, true) && int(l.read.Add(1)) == l.records {
				done()
			}
		})
	}
}

func (l *demoLoad) moveLeaders(ctx context.Context) (moved int) {
	tick := time.NewTicker(leaderMoves)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.demo.cluster.ShufflePartitionLeaders()
			moved++
		case <-ctx.Done():
			return moved
		}
	}
}

// showProgress shows how many records have been read until ctx ends: a bar on a
// terminal, nothing elsewhere.
func (l *demoLoad) showProgress(ctx context.Context) {
	file, ok := l.demo.out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		<-ctx.Done()
		return
	}
	bar := newDemoBar(l.demo.out, l.records)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		_ = bar.Set(int(l.read.Load())) // the worst that can happen is an ugly bar
		if ctx.Err() != nil {
			return
		}
	}
}

// newDemoBar makes a bar that fits a terminal of 80 columns.
func newDemoBar(out io.Writer, records int) *progressbar.ProgressBar {
	const width = 16
	return progressbar.NewOptions(records,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription("records, leaders moving"),
		progressbar.OptionSetWidth(width),
		progressbar.OptionShowCount(),
		progressbar.OptionOnCompletion(func() { fmt.Fprintln(out) }))
}
