package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"compatclients/internal/contract"
	"github.com/segmentio/kafka-go"
)

// consume is one member. The Reader commits from time to time and when it is
// closed, and tries everything again by itself.
func consume(ctx context.Context, o *contract.Options, _ string, each func([]byte)) error {
	if _, _, err := newClient(ctx, o); err != nil {
		return err
	}
	m, err := mechanism(o)
	if err != nil {
		return err
	}
	config := kafka.ReaderConfig{
		Brokers:        []string{o.Bootstrap},
		GroupID:        o.Group,
		Topic:          o.Topic,
		StartOffset:    kafka.FirstOffset,
		Dialer:         &kafka.Dialer{ClientID: "segmentio", Timeout: 10 * time.Second, SASLMechanism: m},
		MaxWait:        500 * time.Millisecond,
		MaxBytes:       o.MaxBytes, // 0 is 1 MB
		CommitInterval: 100 * time.Millisecond,
		// A member whose connection breaks joins as a new one, and the group waits for
		// the old one until its session ends, usually for 30 s.
		SessionTimeout:   6 * time.Second,
		RebalanceTimeout: 6 * time.Second,
		JoinGroupBackoff: 500 * time.Millisecond,
		ErrorLogger: kafka.LoggerFunc(func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, format+"\n", args...)
		}),
	}
	reader := kafka.NewReader(config)
	for {
		message, err := reader.ReadMessage(ctx)
		if ctx.Err() != nil {
			return reader.Close()
		}
		if err != nil { // ReadMessage reports a failure of the Reader, and the next call goes on
			fmt.Fprintln(os.Stderr, "read:", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		each(message.Value)
	}
}
