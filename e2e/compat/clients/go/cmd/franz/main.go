// Command franz drives github.com/twmb/franz-go.
package main

import (
	"context"
	"net"
	"strconv"

	"compatclients/internal/contract"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func main() {
	contract.Main(contract.Client{
		Name:        "franz",
		Module:      "github.com/twmb/franz-go",
		NewProducer: newProducer,
		Consume:     consume,
		Addresses:   addresses,
		Transaction: transaction,
		Admin:       admin,
		Token:       token,
	})
}

// headroom is the size of a record's batch and request without its value.
const headroom = 64 << 10

// newClient makes a client that has logged in, so that a refused login is its error and
// not a record that is never sent.
func newClient(ctx context.Context, o *contract.Options, opts ...kgo.Opt) (*kgo.Client, error) {
	opts, err := clientOpts(o, opts)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	if err := client.Ping(ctx); err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

func clientOpts(o *contract.Options, opts []kgo.Opt) ([]kgo.Opt, error) {
	opts = append(opts, kgo.SeedBrokers(o.Bootstrap), kgo.ClientID("franz"))
	if o.SASL() {
		mechanism, err := saslMechanism(o)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(mechanism))
	}
	if o.HandshakeV0 {
		versions := kversion.Stable()
		versions.SetMaxKeyVersion(kmsg.SASLHandshake.Int16(), 0)
		opts = append(opts, kgo.MaxVersions(versions))
	}
	return opts, nil
}

func saslMechanism(o *contract.Options) (sasl.Mechanism, error) {
	switch o.Mechanism {
	case "SCRAM-SHA-256":
		return scram.Auth{User: o.Username, Pass: o.Password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: o.Username, Pass: o.Password}.AsSha512Mechanism(), nil
	case "OAUTHBEARER":
		jwt, err := contract.UnsecuredJWT(o.Username)
		return oauth.Auth{Token: jwt}.AsMechanism(), err
	default:
		return plain.Auth{User: o.Username, Pass: o.Password}.AsMechanism(), nil
	}
}

func addresses(ctx context.Context, o *contract.Options, r *contract.Result) error {
	client, err := newClient(ctx, o)
	if err != nil {
		return err
	}
	defer client.Close()
	brokers, err := kadm.NewClient(client).ListBrokers(ctx)
	for _, b := range brokers {
		r.Address(net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
	}
	return err
}
