package main

import (
	"context"

	"compatclients/internal/contract"
	"github.com/twmb/franz-go/pkg/kgo"
)

func transaction(ctx context.Context, o *contract.Options, r *contract.Result) error {
	o.Acks, o.Idempotent = "all", true
	opts := append(produceOpts(o), kgo.TransactionalID(o.TransactionalID))
	if o.From != "" {
		return transform(ctx, o, r, opts)
	}
	client, err := newClient(ctx, o, opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	return contract.Transactions(o, r, func(records []contract.Record, commit bool) error {
		if err := client.BeginTransaction(); err != nil {
			return err
		}
		for _, rec := range records {
			client.Produce(ctx, &kgo.Record{Key: rec.Key, Value: rec.Value}, kgo.AbortingFirstErrPromise(client).Promise())
		}
		if err := client.Flush(ctx); err != nil {
			return err
		}
		return client.EndTransaction(ctx, kgo.TransactionEndTry(commit))
	})
}

// transform copies from one topic to another, offsets in the transaction. A
// session takes its offsets back when it aborts.
func transform(ctx context.Context, o *contract.Options, r *contract.Result, opts []kgo.Opt) error {
	from := *o
	from.Topic, from.Isolation = o.From, "committed"
	opts = append(opts, consumeOpts(&from, o.StaticMember)...)
	opts, err := clientOpts(o, opts)
	if err != nil {
		return err
	}
	session, err := kgo.NewGroupTransactSession(opts...)
	if err != nil {
		return err
	}
	defer session.CloseAllowingRebalance()
	return contract.Transform(ctx, o, r, func(limit int, commit bool) (int, bool, error) {
		fetches := session.PollRecords(ctx, limit)
		defer session.AllowRebalance()
		if err := fatal(fetches); err != nil {
			return 0, false, err
		}
		var copies []*kgo.Record
		fetches.EachRecord(func(rec *kgo.Record) {
			if contract.Ours(o.Prefix, rec.Value) {
				copies = append(copies, &kgo.Record{Key: rec.Key, Value: rec.Value})
			}
		})
		if len(copies) == 0 {
			return 0, false, nil
		}
		if err := session.Begin(); err != nil {
			return 0, false, err
		}
		promise := kgo.AbortingFirstErrPromise(session.Client())
		for _, rec := range copies {
			session.Produce(ctx, rec, promise.Promise())
		}
		committed, err := session.End(ctx, kgo.TransactionEndTry(commit && promise.Err() == nil))
		return len(copies), committed, err
	})
}
