package main

import (
	"context"

	"compatclients/internal/contract"
	"github.com/twmb/franz-go/pkg/kgo"
)

type producer struct{ client *kgo.Client }

func produceOpts(o *contract.Options) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.DefaultProduceTopic(o.Topic),
		kgo.RequiredAcks(map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}[o.Acks]),
		kgo.ProducerBatchCompression(map[string]kgo.CompressionCodec{
			"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
			"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
		}[o.Compression]),
		kgo.ProducerBatchMaxBytes(int32(max(1<<20, o.Size+headroom))),
	}
	if !o.Idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	if o.Size > 50<<20 {
		opts = append(opts, kgo.BrokerMaxWriteBytes(int32(o.Size+2*headroom)))
	}
	return opts
}

func newProducer(ctx context.Context, o *contract.Options) (contract.Producer, error) {
	client, err := newClient(ctx, o, produceOpts(o)...)
	if err != nil {
		return nil, err
	}
	return &producer{client}, nil
}

func (p *producer) Send(ctx context.Context, key, value []byte, done func(error)) {
	p.client.Produce(ctx, &kgo.Record{Key: key, Value: value}, func(_ *kgo.Record, err error) { done(err) })
}

func (p *producer) Close(ctx context.Context) error {
	defer p.client.Close()
	return p.client.Flush(ctx)
}
