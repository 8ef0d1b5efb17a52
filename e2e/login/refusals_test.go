//go:build e2e

package login

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/internal/auth"
)

// wrongPasswordAtTheBroker passes, and so does the broker's response to it.
func (s *site) wrongPasswordAtTheBroker(t *testing.T) { s.wrongPassword(t, passed) }

// wrongPasswordAtKproxy is reported, as by a broker.
func (s *site) wrongPasswordAtKproxy(t *testing.T) { s.wrongPassword(t, atKproxy) }

// wrongPassword checks that clients with a wrong password, or none, are refused.
func (s *site) wrongPassword(t *testing.T, mode mode) {
	t.Helper()
	for _, w := range ways() {
		if w.mode != mode || w.mechanism == "" {
			continue
		}
		t.Run(w.String(), func(t *testing.T) {
			a := s.access(w, topicName(t.Name()))
			if w.mode == passed {
				s.excuse(a.id)
			}
			a.password = "wrong"
			// A broker's response to a token is not an error code (RFC 7628, 3.2.2).
			err := franzClient(t, a).Ping(t.Context())
			if !errors.Is(err, kerr.SaslAuthenticationFailed) && (w.mechanism != auth.OAuthBearer || err == nil || !strings.Contains(err.Error(), "oauth response")) {
				t.Errorf("got %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			a.mechanism = ""
			if err := franzClient(t, a).Ping(ctx); err == nil {
				t.Error("a client comes in without a login")
			}
		})
	}
}

// refusedAtTheBroker has clients read why there is no broker for them: kproxy's own login
// is wrong.
func (s *site) refusedAtTheBroker(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	a := &access{id: "refused", address: s.address("refused", "open"), protocol: "PLAINTEXT"}
	if err := franzClient(t, a).Ping(ctx); err == nil || !strings.Contains(err.Error(), "SASL_AUTHENTICATION_FAILED") {
		t.Errorf("franz-go reads %v", err)
	}
	tools, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	_, err := kcat{s}.list(tools, a)
	t.Logf("kcat reads %v", err)
	if err == nil {
		t.Error("kcat lists the brokers")
	}
	// A consumer stops asking sooner than an administrator's client.
	_, err = run(java{s}.tool(tools, "org.apache.kafka.tools.consumer.ConsoleConsumer", a, nil, "--topic", "t", "--timeout-ms", "3000"), nil)
	t.Logf("Java reads %.300v", err)
}

// readOnly has a consumer served, and a producer refused.
func (s *site) readOnly(t *testing.T) {
	topic := s.topic(t)
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	w := way{"SASL_PLAINTEXT", byKproxy, auth.ScramSHA512}
	if err := franzClient(t, s.access(w, "writer")).ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	cluster, _ := w.door()
	a := &access{id: "reader", address: s.address(cluster, "readers"), protocol: "PLAINTEXT"}
	reader := franzClient(t, a, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if fetches := reader.PollFetches(ctx); fetches.NumRecords() != 1 {
		t.Errorf("got %d records, %v", fetches.NumRecords(), fetches.Err0())
	}
	if err := reader.CommitUncommittedOffsets(ctx); err != nil {
		t.Errorf("commit: %v", err)
	}
	err := kcat{s}.produceWithin(ctx, a, topic)
	if err == nil {
		t.Error("kcat has produced")
	}
	t.Logf("kcat: %v", err)
	if out, err := run(java{s}.tool(ctx, "org.apache.kafka.tools.ConsoleProducer", a, []string{"max.block.ms=5000"}, "--topic", topic), all([]string{"x"})); err != nil {
		t.Logf("Java: %v", err)
	} else {
		t.Logf("Java: %s", out)
	}
	if n, err := s.stored(t.Context(), topic); err != nil || n != 1 {
		t.Errorf("the topic has %d records, want the one that a writer has sent: %v", n, err)
	}
}
