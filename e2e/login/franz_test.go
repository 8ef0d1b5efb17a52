//go:build e2e

package login

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"kproxy/internal/auth"
)

// franz is franz-go.
type franz struct{}

func (franz) options(a *access) []kgo.Opt {
	opts := []kgo.Opt{kgo.SeedBrokers(a.address), kgo.ClientID(a.id), kgo.Dialer(a.dialSecure)}
	if a.mechanism != "" {
		opts = append(opts, kgo.SASL(a.franzMechanism()))
	}
	return opts
}

func (a *access) franzMechanism() sasl.Mechanism {
	switch a.mechanism {
	case auth.Plain:
		return plain.Auth{User: a.user, Pass: a.password}.AsMechanism()
	case auth.ScramSHA256:
		return scram.Auth{User: a.user, Pass: a.password}.AsSha256Mechanism()
	case auth.ScramSHA512:
		return scram.Auth{User: a.user, Pass: a.password}.AsSha512Mechanism()
	default:
		return oauth.Oauth(func(context.Context) (oauth.Auth, error) { return oauth.Auth{Token: token(a.user, a.life())}, nil })
	}
}

// life is the lifetime of a client's tokens: a client with a wrong password has an expired
// one.
func (a *access) life() time.Duration {
	if a.password != password {
		return -time.Minute
	}
	return time.Hour
}

// dialSecure is dial, with TLS where the listener has it.
func (a *access) dialSecure(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := a.dial(ctx, network, address)
	if err != nil || !a.inTLS() {
		return conn, err
	}
	host, _ := split(address)
	secure := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: a.pool})
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

func (f franz) produce(ctx context.Context, a *access, topic string, values <-chan string) error {
	client, err := kgo.NewClient(append(f.options(a), kgo.DefaultProduceTopic(topic), kgo.RecordRetries(0), kgo.RequestRetries(0))...)
	if err != nil {
		return err
	}
	defer client.Close()
	var once sync.Once
	var failed error
	for v := range values {
		client.Produce(ctx, kgo.StringRecord(v), func(_ *kgo.Record, err error) {
			if err != nil {
				once.Do(func() { failed = err })
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	once.Do(func() {}) // after the last promise
	return failed
}

func (f franz) consume(ctx context.Context, a *access, topic string, n int) (got []string, err error) {
	client, err := kgo.NewClient(append(f.options(a), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(a.id), kgo.RequestRetries(0),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for len(got) < n {
		fetches := client.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			return got, e.Err
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return got, nil
}

// franzClient is a client that lives as long as the test.
func franzClient(t *testing.T, a *access, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append((franz{}).options(a), more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.CloseAllowingRebalance()
		a.checkStray(t)
	})
	return client
}
