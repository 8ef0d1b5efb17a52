// Command sarama drives github.com/IBM/sarama.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"log"
	"os"
	"time"

	"compatclients/internal/contract"
	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

func main() {
	sarama.Logger = log.New(os.Stderr, "", log.Lmicroseconds)
	contract.Main(contract.Client{
		Name:        "sarama",
		Module:      "github.com/IBM/sarama",
		NewProducer: newProducer,
		Consume:     consume,
		Addresses:   addresses,
		Transaction: transaction,
		Admin:       admin,
		Check:       check,
	})
}

func check(o *contract.Options) error {
	if o.Work == "consume" && o.Protocol != "classic" {
		return contract.NotOffered("sarama knows the classic group protocol only")
	}
	return nil
}

func config(o *contract.Options) (*sarama.Config, error) {
	c := sarama.NewConfig()
	c.ClientID = "sarama"
	c.Version = sarama.MaxVersion // lowered to the versions in the broker's ApiVersions response
	if o.BrokerVersion != "" {
		v, err := sarama.ParseKafkaVersion(o.BrokerVersion)
		if err != nil {
			return nil, err
		}
		c.Version = v
	}
	if o.HandshakeV0 { // sarama insists that these two go together
		c.ApiVersionsRequest = false
		if o.BrokerVersion == "" {
			c.Version = sarama.V2_1_0_0 // which every broker from 2.1 to 4.x still supports
		}
	}
	c.RackID = o.Rack
	c.Metadata.Retry.Max = patience
	if o.SASL() {
		c.Net.SASL.Enable = true
		c.Net.SASL.Mechanism = sarama.SASLMechanism(o.Mechanism)
		c.Net.SASL.User, c.Net.SASL.Password = o.Username, o.Password
		c.Net.SASL.Version = sarama.SASLHandshakeV1
		if o.HandshakeV0 {
			c.Net.SASL.Version = sarama.SASLHandshakeV0
		}
		c.Net.SASL.TokenProvider = unsecured(o.Username)
		newHash := map[string]func() hash.Hash{"SCRAM-SHA-256": sha256.New, "SCRAM-SHA-512": sha512.New}[o.Mechanism]
		c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{newHash: newHash} }
	}
	return c, nil
}

// patience is how often sarama looks for a broker and sends a record again, 250
// and 100 ms apart: for as long as a broker takes to come back.
const patience = 400

// ping logs in once, without retries, so that a refused login is an error at once.
func ping(ctx context.Context, o *contract.Options) error {
	c, err := config(o)
	if err != nil {
		return err
	}
	c.Metadata.Retry.Max = 2
	client, err := untilDone(ctx, func() (sarama.Client, error) { return sarama.NewClient([]string{o.Bootstrap}, c) })
	if err != nil {
		return err
	}
	return client.Close()
}

// unsecured is a provider of tokens for the user it names.
type unsecured string

func (u unsecured) Token() (*sarama.AccessToken, error) {
	jwt, err := contract.UnsecuredJWT(string(u))
	return &sarama.AccessToken{Token: jwt}, err
}

// scramClient is the SCRAM client, which sarama leaves to its users.
type scramClient struct {
	newHash func() hash.Hash
	*scram.ClientConversation
}

func (s *scramClient) Begin(user, password, authzID string) error {
	client, err := scram.HashGeneratorFcn(s.newHash).NewClient(user, password, authzID)
	if err != nil {
		return err
	}
	s.ClientConversation = client.NewConversation()
	return nil
}

// untilDone ends the library's attempts when the program's time is over.
func untilDone[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}

func addresses(ctx context.Context, o *contract.Options, r *contract.Result) error {
	c, err := config(o)
	if err != nil {
		return err
	}
	client, err := untilDone(ctx, func() (sarama.Client, error) { return sarama.NewClient([]string{o.Bootstrap}, c) })
	if err != nil {
		return err
	}
	defer client.Close()
	for _, b := range client.Brokers() {
		r.Address(b.Addr())
	}
	return nil
}

// tick is how often a step looks again.
const tick = 50 * time.Millisecond
