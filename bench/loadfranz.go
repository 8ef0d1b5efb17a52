//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"golang.org/x/sync/errgroup"
)

// clusterJob is the configuration of franz-go to reach a real cluster through a target.
type clusterJob struct {
	Seeds []string `json:"seeds"`
	// Dial maps a broker's advertised address to the address to dial: a blind proxy
	// leaves the former in the responses, and has an endpoint for each broker.
	Dial  map[string]string `json:"dial,omitempty"`
	Topic string            `json:"topic"`
}

// startFranz starts as many clients as the workload has connections.
func (l *load) startFranz(ctx context.Context, group *errgroup.Group) error {
	for range l.job.Work.Conns {
		client, err := l.franz()
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, client.Close)
		if err := client.Ping(ctx); err != nil {
			return err
		}
		if l.job.Work.Key == kmsg.Fetch.Int16() {
			group.Go(func() error { return l.consume(ctx, client) })
			continue
		}
		if l.job.Rate > 0 {
			l.producePinned(ctx, group, client)
			continue
		}
		for range l.job.Work.InFlight {
			group.Go(func() error { return l.produce(ctx, client) })
		}
	}
	return nil
}

func (l *load) franz() (*kgo.Client, error) {
	job, work := l.job.Cluster, l.job.Work
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(work.Key, work.Version)
	opts := []kgo.Opt{
		kgo.SeedBrokers(job.Seeds...), kgo.ClientID(clientID), kgo.MaxVersions(versions),
		kgo.DefaultProduceTopic(job.Topic), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(int32(2*work.Bytes + kib)), kgo.DisableIdempotentWrite(), kgo.ProducerLinger(0),
		kgo.MaxProduceRequestsInflightPerBroker(work.InFlight), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			if to, ok := job.Dial[address]; ok {
				address = to
			}
			return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
		}),
	}
	if work.Key == kmsg.Fetch.Int16() {
		opts = append(opts, kgo.ConsumeTopics(job.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchMaxPartitionBytes(int32(work.Bytes)), kgo.FetchMaxBytes(int32(work.Bytes)))
	}
	return kgo.NewClient(opts...)
}

func (l *load) record() *kgo.Record {
	return &kgo.Record{Value: make([]byte, max(1, l.job.Work.Bytes-batchOverhead))}
}

func (l *load) produce(ctx context.Context, client *kgo.Client) error {
	record := l.record()
	for {
		began := time.Now()
		if err := client.ProduceSync(ctx, &kgo.Record{Value: record.Value}).FirstErr(); err != nil {
			return l.franzError(ctx, err)
		}
		l.responded(l.job.Work.Bytes, time.Since(began))
	}
}

// producePinned has a schedule of its own for each client, at its part of the rate.
func (l *load) producePinned(ctx context.Context, group *errgroup.Group, client *kgo.Client) {
	every := time.Duration(float64(time.Second) * float64(l.job.Work.Conns) / l.job.Rate)
	s := schedule{start: time.Now(), every: every, conns: 1}
	turns := []chan struct{}{make(chan struct{}, mostDue)}
	group.Go(func() error { return s.tick(ctx, turns) })
	group.Go(func() error {
		failed := make(chan error, 1)
		record := l.record()
		for i := 0; ; i++ {
			select {
			case <-turns[0]:
			case err := <-failed:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
			due := s.due(0, i)
			client.Produce(ctx, &kgo.Record{Value: record.Value}, func(_ *kgo.Record, err error) {
				if err == nil {
					l.responded(l.job.Work.Bytes, time.Since(due))
					return
				}
				select {
				case failed <- l.franzError(ctx, err):
				default: // the first one will do
				}
			})
		}
	})
}

// consume reads the topic from its start to its end, again and again. The records of one
// poll count as one request.
func (l *load) consume(ctx context.Context, client *kgo.Client) error {
	for {
		began := time.Now()
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return l.franzError(ctx, err)
		}
		bytes := 0
		again := make(map[string]map[int32]kgo.EpochOffset)
		var failed error
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			failed = errors.Join(failed, p.Err)
			for _, r := range p.Records {
				bytes += len(r.Value)
				if r.Offset+1 >= p.HighWatermark {
					if again[p.Topic] == nil {
						again[p.Topic] = make(map[int32]kgo.EpochOffset)
					}
					again[p.Topic][p.Partition] = kgo.EpochOffset{Epoch: -1}
				}
			}
		})
		if failed != nil {
			return l.franzError(ctx, failed)
		}
		if len(again) > 0 {
			client.SetOffsets(again)
		}
		l.responded(bytes, time.Since(began))
	}
}

func (l *load) franzError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("franz-go: %w", err)
}
