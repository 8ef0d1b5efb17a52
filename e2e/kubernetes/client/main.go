// Command client is the program of pods in the tests of package kubernetes.
//
//	client pause                waits for its end
//	client records BOOTSTRAP N  sends N records to the topic t, and reads them
//	client serve BOOTSTRAP N    does the same, and waits for its end
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(ctx context.Context, args []string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(args) == 3 {
		n, err := strconv.Atoi(args[2])
		if err == nil {
			err = records(ctx, args[1], n)
		}
		if err != nil || args[0] == "records" {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// records sends records, and reads them by a consumer of its own.
func records(ctx context.Context, bootstrap string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics("t"))
	if err != nil {
		return err
	}
	defer client.Close()
	for i := range n {
		r := &kgo.Record{Topic: "t", Key: []byte(name), Value: []byte(strconv.Itoa(i))}
		if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
	}
	for read := 0; read < n; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("%d records are read: %w", read, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if string(r.Key) == name {
				read++
			}
		})
	}
	_, err = fmt.Fprintln(os.Stdout, n, "records")
	return err
}
