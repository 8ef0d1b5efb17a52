//go:build e2e

package login

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"errors"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"

	"kproxy/internal/auth"
)

// saramas is sarama.
type saramas struct{}

func (saramas) config(a *access) *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID = a.id
	c.Version = sarama.MaxVersion // lowered to the versions in kproxy's ApiVersions response
	c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, a
	c.Net.TLS.Enable = a.inTLS()
	c.Net.TLS.Config = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: a.pool} // it adds the name, and verifies it
	if a.mechanism != "" {
		c.Net.SASL.Enable, c.Net.SASL.Version = true, sarama.SASLHandshakeV1
		c.Net.SASL.Mechanism = sarama.SASLMechanism(a.mechanism)
		c.Net.SASL.User, c.Net.SASL.Password = a.user, a.password
		c.Net.SASL.TokenProvider = a
		c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &saramaSCRAM{mechanism: a.mechanism} }
	}
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.Retry.Max = 0
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Return.Errors = true
	return c
}

// Token is for sarama's OAUTHBEARER.
func (a *access) Token() (*sarama.AccessToken, error) {
	return &sarama.AccessToken{Token: token(a.user, a.life())}, nil
}

// saramaSCRAM is the SCRAM client, which sarama leaves to its users.
type saramaSCRAM struct {
	mechanism string
	*scram.ClientConversation
}

// Begin begins a login.
func (s *saramaSCRAM) Begin(user, password, authzID string) error {
	hash := scram.HashGeneratorFcn(sha512.New)
	if s.mechanism == auth.ScramSHA256 {
		hash = sha256.New
	}
	client, err := hash.NewClient(user, password, authzID)
	if err == nil {
		s.ClientConversation = client.NewConversation()
	}
	return err
}

func (c saramas) produce(ctx context.Context, a *access, topic string, values <-chan string) error {
	client, err := sarama.NewClient([]string{a.address}, c.config(a))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := c.connect(client, topic); err != nil {
		return err
	}
	producer, err := sarama.NewAsyncProducerFromClient(client)
	if err != nil {
		return err
	}
	defer producer.Close()
	var next *sarama.ProducerMessage
	for owed := 0; values != nil || next != nil || owed > 0; { // closing refuses requests that have no response yet
		in, out := values, producer.Input()
		if next == nil {
			out = nil
		} else {
			in = nil
		}
		select {
		case v, more := <-in:
			if !more {
				values = nil
				continue
			}
			next = &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(v)}
		case out <- next:
			next = nil
			owed++
		case <-producer.Successes():
			owed--
		case failed := <-producer.Errors():
			return failed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// connect waits until the client has connections to the leaders of the topic. The
// producers of two partitions would make one at the same time, and sarama marks it as open
// before it holds its lock: the second finds it not connected, and, as nothing is tried
// again here, fails.
func (saramas) connect(client sarama.Client, topic string) error {
	partitions, err := client.Partitions(topic)
	if err != nil {
		return err
	}
	for _, p := range partitions {
		leader, err := client.Leader(topic, p)
		if err != nil {
			return err
		}
		if _, err := leader.Connected(); err != nil { // waits
			return err
		}
	}
	return nil
}

func (c saramas) consume(ctx context.Context, a *access, topic string, n int) (got []string, err error) {
	group, err := sarama.NewConsumerGroup([]string{a.address}, a.id, c.config(a))
	if err != nil {
		return nil, err
	}
	defer group.Close()
	member, cancel := context.WithCancel(ctx)
	defer cancel()
	values, ended := make(saramaMember), make(chan error, 1)
	go func() { ended <- group.Consume(member, []string{topic}, values) }() // until the member is cancelled
	for len(got) < n {
		select {
		case v := <-values:
			got = append(got, v)
		case err := <-group.Errors():
			return got, err
		case err := <-ended:
			return got, errors.Join(errors.New("the member's session has ended"), err)
		}
	}
	cancel()
	return got, <-ended
}

// saramaMember hands on the records that a member of a group reads.
type saramaMember chan string

// Setup is called when the member has joined.
func (saramaMember) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup is called before the member leaves.
func (saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim reads one partition until the session ends.
func (m saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			select {
			case m <- string(message.Value):
				session.MarkMessage(message, "")
			case <-session.Context().Done():
				return nil
			}
		case <-session.Context().Done():
			return nil
		}
	}
}
