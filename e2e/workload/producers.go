//go:build linux

package workload

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/history"
)

const (
	tick = 20 * time.Millisecond // the least time between two bursts
	// owed bounds the wait for the responses that a producer is owed in the end. Records
	// that have none by then are of unknown outcome.
	owed = time.Minute
	// tooLargeEach record of the idempotent producer is one that the client refuses.
	tooLargeEach = 200
	maxBatch     = 1 << 20

	transactionTimeout = 15 * time.Second
	perTransaction     = 10
)

func (l *Load) startProducers() error {
	for guarantee, opts := range map[history.Guarantee][]kgo.Opt{
		history.Acks:          {kgo.DisableIdempotentWrite()},
		history.Idempotent:    nil,
		history.Transactional: {kgo.TransactionalID(l.Topic + "-tx"), kgo.TransactionTimeout(transactionTimeout)},
	} {
		p := &producer{load: l, name: string(guarantee), guarantee: guarantee, opts: append(opts,
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(maxBatch))}
		if err := p.connect(); err != nil {
			return err
		}
		l.Recorder.Add(history.Event{Type: history.Join, Client: p.name, Guarantee: guarantee})
		run := p.steadily
		if guarantee == history.Transactional {
			run = p.transactions
		}
		l.producers.Go(func() {
			defer func() { p.client.Close() }()
			run(l.producing)
		})
	}
	return nil
}

// producer is one producer.
type producer struct {
	load      *Load
	name      string
	guarantee history.Guarantee
	opts      []kgo.Opt
	client    *kgo.Client
	sent      int
}

func (p *producer) connect() (err error) {
	p.client, err = p.load.client(p.name, p.opts...)
	return err
}

// steadily produces until ctx ends, and then waits for responses.
func (p *producer) steadily(ctx context.Context) {
	for range p.bursts(ctx) {
		for range p.burst() {
			p.produce(0, func(r *kgo.Record, err error) {
				if err == nil {
					p.load.acknowledged(r)
				}
			})
		}
	}
	_ = p.flush(ctx) // a record without a response is of unknown outcome
}

// tick is the time between two bursts, and burst their records.
func (p *producer) tick() time.Duration { return max(tick, time.Second/time.Duration(p.load.Rate)) }
func (p *producer) burst() int          { return max(1, p.load.Rate*int(tick)/int(time.Second)) }

// bursts yields at each tick while the recorder has room, until ctx ends.
func (p *producer) bursts(ctx context.Context) func(func() bool) {
	return func(yield func() bool) {
		t := time.NewTicker(p.tick())
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if !p.load.Recorder.Room() {
				return
			}
			if !yield() {
				return
			}
		}
	}
}

// flush waits for the responses that are owed.
func (p *producer) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), owed)
	defer cancel()
	return p.client.Flush(ctx)
}

// produce sends a record and calls done with its outcome. Only its delivery or its failure
// ends it, not a context.
func (p *producer) produce(tx int64, done func(*kgo.Record, error)) {
	p.sent++
	size := p.load.Size
	if p.guarantee == history.Idempotent && p.sent%tooLargeEach == 0 {
		size = maxBatch + 1
	}
	number := p.load.next()
	r := &kgo.Record{Topic: p.load.Topic, Partition: int32(p.sent % int(p.load.Partitions)), Value: history.Value(number, size)}
	p.load.Recorder.Add(history.Event{
		Type: history.Send, Client: p.name, Number: number, Partition: r.Partition, Sum: history.Sum(r.Value), Tx: tx,
	})
	p.client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		e := history.Event{Type: history.Sent, Client: p.name, Number: number, Outcome: history.OK, Offset: max(r.Offset, history.NoOffset)}
		switch {
		case errors.Is(err, kerr.MessageTooLarge): // the client itself has refused it
			e.Outcome, e.Error = history.Fail, err.Error()
		case err != nil:
			e.Outcome, e.Error = history.Unknown, err.Error()
		}
		if err != nil {
			e.Offset = 0
		}
		p.load.Recorder.Add(e)
		done(r, err)
	})
}

// transactions commits two transactions, aborts the third, and so on. Every other abort
// throws away records that may not have been sent yet.
func (p *producer) transactions(ctx context.Context) {
	id := int64(0)
	budget := 0
	for range p.bursts(ctx) {
		if budget += p.burst(); budget < perTransaction {
			continue
		}
		budget -= perTransaction
		id++
		if err := p.transaction(ctx, id); err != nil {
			// A new client fences the old one, whose transaction the coordinator ends.
			p.client.Close()
			if err := p.connect(); err != nil {
				p.load.broken(p.name, err)
				return
			}
		}
	}
}

// transaction is one transaction. After an error the client cannot go on.
func (p *producer) transaction(ctx context.Context, id int64) error {
	ctx = context.WithoutCancel(ctx) // Stop does not end it
	if err := p.client.BeginTransaction(); err != nil {
		return err
	}
	p.load.Recorder.Add(history.Event{Type: history.Begin, Client: p.name, Tx: id})
	var mu sync.Mutex
	var written []*kgo.Record
	for range perTransaction {
		p.produce(id, func(r *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				written = append(written, r)
			}
		})
	}
	commit := id%3 != 0
	if id%6 == 0 {
		_ = p.client.AbortBufferedRecords(ctx) // the abort below says if it failed
	} else {
		_ = p.flush(ctx) // a record without a response is missing below
	}
	mu.Lock()
	records := written
	mu.Unlock()
	return p.end(ctx, id, commit && len(records) == perTransaction, records)
}

// end ends a transaction. Where the commit's outcome is unknown the client may have to abort.
func (p *producer) end(ctx context.Context, id int64, commit bool, written []*kgo.Record) error {
	ctx, cancel := context.WithTimeout(ctx, owed)
	defer cancel()
	p.load.Recorder.Add(history.Event{Type: history.End, Client: p.name, Tx: id, Commit: commit})
	err := p.client.EndTransaction(ctx, kgo.TransactionEndTry(commit))
	e := history.Event{Type: history.Ended, Client: p.name, Tx: id, Outcome: history.OK}
	if err != nil {
		e.Outcome, e.Error = history.Unknown, err.Error()
	}
	p.load.Recorder.Add(e)
	switch {
	case err == nil && commit:
		p.load.acknowledged(written...)
		return nil
	case err != nil && commit:
		return p.client.EndTransaction(ctx, kgo.TryAbort)
	default:
		return err
	}
}
