package main

import (
	"context"
	"sync"

	"compatclients/internal/contract"
	"github.com/IBM/sarama"
)

// headroom is the size of a record's batch and request without its value.
const headroom = 64 << 10

type producer struct {
	topic    string
	async    sarama.AsyncProducer
	answered sync.WaitGroup // the two loops, which end with the producer
	pending  sync.WaitGroup // records without a response: closing refuses them
}

func produceConfig(o *contract.Options) (*sarama.Config, error) {
	c, err := config(o)
	if err != nil {
		return nil, err
	}
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = map[string]sarama.RequiredAcks{
		"0": sarama.NoResponse, "1": sarama.WaitForLocal, "all": sarama.WaitForAll,
	}[o.Acks]
	c.Producer.Compression = map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}[o.Compression]
	c.Producer.MaxMessageBytes = max(1000000, o.Size+headroom)
	c.Producer.Retry.Max = patience
	if o.Size > 90<<20 {
		sarama.MaxRequestSize = int32(o.Size + 2*headroom)
	}
	if o.Idempotent {
		c.Producer.Idempotent = true
		c.Net.MaxOpenRequests = 1
	}
	return c, nil
}

func newProducer(ctx context.Context, o *contract.Options) (contract.Producer, error) {
	c, err := produceConfig(o)
	if err != nil {
		return nil, err
	}
	return startProducer(ctx, o, c)
}

func startProducer(ctx context.Context, o *contract.Options, c *sarama.Config) (*producer, error) {
	if err := ping(ctx, o); err != nil {
		return nil, err
	}
	async, err := untilDone(ctx, func() (sarama.AsyncProducer, error) {
		return sarama.NewAsyncProducer([]string{o.Bootstrap}, c)
	})
	if err != nil {
		return nil, err
	}
	p := &producer{topic: o.Topic, async: async}
	p.answered.Go(p.successes)
	p.answered.Go(p.errors)
	return p, nil
}

func (p *producer) successes() {
	for m := range p.async.Successes() {
		m.Metadata.(func(error))(nil)
		p.pending.Done()
	}
}

func (p *producer) errors() {
	for e := range p.async.Errors() {
		e.Msg.Metadata.(func(error))(e.Err)
		p.pending.Done()
	}
}

func (p *producer) Send(ctx context.Context, key, value []byte, done func(error)) {
	m := &sarama.ProducerMessage{
		Topic: p.topic, Key: sarama.ByteEncoder(key), Value: sarama.ByteEncoder(value), Metadata: done,
	}
	p.pending.Add(1)
	select {
	case p.async.Input() <- m:
	case <-ctx.Done():
		p.pending.Done()
		done(context.Cause(ctx))
	}
}

func (p *producer) Close(ctx context.Context) error {
	_, err := untilDone(ctx, func() (struct{}, error) {
		p.pending.Wait()
		p.async.AsyncClose()
		p.answered.Wait()
		return struct{}{}, nil
	})
	return err
}
