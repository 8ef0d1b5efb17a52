//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// delivered is a producer's result for the records that it sent since mark.
type delivered struct {
	acked   map[string]bool
	refused map[string]int
	first   time.Time     // acknowledgement
	pause   time.Duration // longest, without one
}

// sender is a producer that runs.
type sender interface {
	// flows waits until n more records are acknowledged, and read where there is a reader.
	flows(ctx context.Context, n int) error
	// mark begins the time in which pauses count.
	mark()
	// finish ends it when it owes nothing.
	finish(ctx context.Context)
	outcome(ctx context.Context) (delivered, error)
}

// startSender starts the client of a movement. The names of its records begin with prefix.
func (r *run) startSender(ctx context.Context, m *movement, g *gate, prefix string) (sender, error) {
	seeds := firstSeats(seats, m.clientPort())
	switch m.client {
	case java:
		l := r.newJavaLoad()
		l.alone, l.logsIn = true, m.login == byClient
		return javaSender{l}, l.start(ctx, seeds, "--value-prefix", prefix)
	case kcat:
		var settings []string
		if m.login == byClient {
			// Debian's librdkafka repeats its nonce in SCRAM, which current brokers refuse.
			settings = []string{"security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", "sasl.username=" + username, "sasl.password=" + password}
		}
		return r.startKcat(ctx, seeds, prefix, settings...)
	default:
		var opts []kgo.Opt
		if m.login == byClient {
			opts = append(opts, kgo.SASL(scram.Auth{User: username, Pass: password}.AsSha512Mechanism()))
		}
		group := ""
		if m.group {
			group = r.group
		}
		l, err := startLoad(ctx, g, r.dir, r.topic, group, fmt.Sprintf("%s-%s-", r.place, prefix), opts...)
		return franzSender{l}, err
	}
}

type franzSender struct{ *load }

func (s franzSender) mark() {
	s.ackTimes.reset()
	s.readTimes.reset()
}

func (s franzSender) outcome(context.Context) (delivered, error) {
	return delivered{s.acked, s.refused, s.ackTimes.began(), s.ackTimes.gap()}, nil
}

type javaSender struct{ *javaLoad }

func (s javaSender) mark() { s.ackTimes.reset() }

func (s javaSender) outcome(context.Context) (delivered, error) {
	return delivered{s.acked, s.refused, s.ackTimes.began(), s.ackTimes.gap()}, nil
}
