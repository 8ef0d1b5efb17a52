//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// audit reads a whole topic at the brokers themselves and counts at how many places
// of the log each record is.
func (s *site) audit(ctx context.Context, topic string) (map[string]int, error) {
	places := map[string]int{}
	err := s.readWhole(ctx, topic, func(r *kgo.Record) { places[nameOf(r.Value)]++ })
	return places, err
}

// readWhole reads a whole topic at the brokers themselves.
func (s *site) readWhole(ctx context.Context, topic string, each func(*kgo.Record)) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	ends, err := s.cluster.Admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	if err := ends.Error(); err != nil {
		return err
	}
	left := map[int32]int64{}
	from := map[int32]kgo.Offset{}
	for _, end := range ends.Offsets().Sorted() {
		if end.At > 0 {
			left[end.Partition], from[end.Partition] = end.At, kgo.NewOffset().At(0)
		}
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(s.cluster.Seeds()...), kgo.Dialer(s.vpc.Dial),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return err
	}
	defer reader.Close()
	for len(left) > 0 {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("read %s whole: %w", topic, ctx.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			each(r)
			if r.Offset >= left[r.Partition]-1 {
				delete(left, r.Partition)
			}
		})
	}
	return nil
}
