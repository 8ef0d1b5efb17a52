package main

import (
	"context"
	"errors"
	"time"

	"compatclients/internal/contract"
	"github.com/IBM/sarama"
)

func transaction(ctx context.Context, o *contract.Options, r *contract.Result) error {
	o.Acks, o.Idempotent = "all", true
	c, err := produceConfig(o)
	if err != nil {
		return err
	}
	c.Producer.Transaction.ID = o.TransactionalID
	p, err := startProducer(ctx, o, c)
	if err != nil {
		return err
	}
	if o.From != "" {
		err = transform(ctx, o, r, p)
	} else {
		err = contract.Transactions(o, r, func(records []contract.Record, commit bool) error {
			return p.transact(ctx, records, commit, nil)
		})
	}
	return errors.Join(err, p.Close(ctx))
}

// transact sends the records in one transaction, with the offsets that belong to it.
func (p *producer) transact(ctx context.Context, records []contract.Record, commit bool, more func() error) error {
	if err := p.async.BeginTxn(); err != nil {
		return err
	}
	// An aborted transaction refuses records that have not been sent yet.
	stored := make(chan error, len(records))
	for _, rec := range records {
		p.Send(ctx, rec.Key, rec.Value, func(err error) { stored <- err })
	}
	for range records {
		select {
		case err := <-stored:
			if err != nil {
				return errors.Join(err, p.async.AbortTxn())
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if more != nil {
		if err := more(); err != nil {
			return errors.Join(err, p.async.AbortTxn())
		}
	}
	if commit {
		return p.async.CommitTxn()
	}
	return p.async.AbortTxn()
}

// batch has the records that a claim has read, and waits for the result of their commit.
type batch struct {
	session  sarama.ConsumerGroupSession
	messages []*sarama.ConsumerMessage
	result   chan error
}

// batches is the channel on which every claim offers its records.
type batches chan batch

// errAborted ends a claim, and with it the session: the member joins again and begins at
// the committed offset.
var errAborted = errors.New("the transaction was aborted")

func transform(ctx context.Context, o *contract.Options, r *contract.Result, p *producer) error {
	from := *o
	from.Isolation = "committed"
	c, err := consumeConfig(&from, o.StaticMember)
	if err != nil {
		return err
	}
	c.Consumer.Offsets.AutoCommit.Enable = false
	ctx, cancel := context.WithCancel(ctx)
	todo, ended := make(batches), make(chan error, 1)
	go func() { ended <- runGroup(ctx, o, o.From, c, todo) }()
	err = contract.Transform(ctx, o, r, func(_ int, commit bool) (int, bool, error) {
		select {
		case b := <-todo:
			copied, committed, err := p.copy(ctx, o, b, commit)
			if committed {
				b.result <- nil
			} else {
				b.result <- errAborted
			}
			return copied, committed, err
		case err := <-ended:
			ended <- err
			return 0, false, err
		case <-ctx.Done():
			return 0, false, nil
		}
	})
	cancel()
	return errors.Join(err, <-ended)
}

func (p *producer) copy(ctx context.Context, o *contract.Options, b batch, commit bool) (int, bool, error) {
	var records []contract.Record
	for _, m := range b.messages {
		if contract.Ours(o.Prefix, m.Value) {
			records = append(records, contract.Record{Key: m.Key, Value: m.Value})
		}
	}
	if len(records) == 0 {
		return 0, true, nil
	}
	last := b.messages[len(b.messages)-1]
	group := sarama.NewConsumerGroupMetadataFromSession(b.session, o.Group, nil)
	err := p.transact(ctx, records, commit, func() error {
		return p.async.AddMessageToTxnWithGroupMetadata(last, group, nil)
	})
	return len(records), commit && err == nil, err
}

// Setup is called when the member has joined.
func (batches) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup is called before the member leaves.
func (batches) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim offers one partition's records, a transaction's worth at a time.
func (todo batches) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	b := batch{session: session, result: make(chan error, 1)}
	for {
		b.messages = gather(session.Context(), claim)
		if len(b.messages) == 0 {
			return nil
		}
		select {
		case todo <- b:
		case <-session.Context().Done():
			return nil
		}
		if err := <-b.result; err != nil {
			return err
		}
	}
}

// gather waits for a first record and takes those that are there by then. None
// is the end of the session.
func gather(ctx context.Context, claim sarama.ConsumerGroupClaim) []*sarama.ConsumerMessage {
	const most = 10
	var messages []*sarama.ConsumerMessage
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for len(messages) < most {
		select {
		case m, open := <-claim.Messages():
			if !open {
				return messages
			}
			messages = append(messages, m)
			timer.Reset(tick)
		case <-timer.C:
			return messages
		case <-ctx.Done():
			return nil
		}
	}
	return messages
}
