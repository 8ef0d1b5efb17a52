package main

import (
	"context"
	"time"

	"compatclients/internal/contract"
	"github.com/segmentio/kafka-go"
)

// headroom is the size of a record's batch and request without its value.
const headroom = 64 << 10

// patience is how often a record is sent again, with a pause of up to 1 s: for
// as long as a broker takes to come back.
const patience = 60

type producer struct{ writer *kafka.Writer }

func newProducer(ctx context.Context, o *contract.Options) (contract.Producer, error) {
	client, _, err := newClient(ctx, o)
	if err != nil {
		return nil, err
	}
	return &producer{&kafka.Writer{
		Addr:         client.Addr,
		Transport:    client.Transport,
		Topic:        o.Topic,
		Balancer:     &kafka.Hash{},
		BatchTimeout: 5 * time.Millisecond,
		BatchBytes:   int64(max(1<<20, o.Size+headroom)),
		MaxAttempts:  patience,
		RequiredAcks: map[string]kafka.RequiredAcks{
			"0": kafka.RequireNone, "1": kafka.RequireOne, "all": kafka.RequireAll,
		}[o.Acks],
		Compression: map[string]kafka.Compression{
			"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
		}[o.Compression],
		Async: true,
		Completion: func(messages []kafka.Message, err error) {
			for _, m := range messages {
				m.WriterData.(func(error))(err)
			}
		},
	}}, nil
}

func (p *producer) Send(ctx context.Context, key, value []byte, done func(error)) {
	if err := p.writer.WriteMessages(ctx, kafka.Message{Key: key, Value: value, WriterData: done}); err != nil {
		done(err)
	}
}

func (p *producer) Close(ctx context.Context) error {
	closed := make(chan error, 1)
	go func() { closed <- p.writer.Close() }()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
