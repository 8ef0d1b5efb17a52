// Command segmentio drives github.com/segmentio/kafka-go.
package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"compatclients/internal/contract"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

func main() {
	contract.Main(contract.Client{
		Name:        "segmentio",
		Module:      "github.com/segmentio/kafka-go",
		NewProducer: newProducer,
		Consume:     consume,
		Addresses:   addresses,
		Admin:       admin,
		Check:       check,
	})
}

func check(o *contract.Options) error {
	switch {
	case o.Idempotent:
		return contract.NotOffered("kafka-go's Writer is not idempotent")
	case o.Work == "consume" && o.Protocol != "classic":
		return contract.NotOffered("kafka-go knows the classic group protocol only")
	case o.StaticMember != "":
		return contract.NotOffered("kafka-go's Reader has no group.instance.id")
	case o.Rack != "":
		return contract.NotOffered("kafka-go sends no rack with Fetch")
	case o.Isolation == "committed": // it asks for them, and returns the aborted ones as well
		return contract.NotOffered("kafka-go does not leave out the records of aborted transactions")
	case o.HandshakeV0:
		return contract.NotOffered("kafka-go takes the newest SaslHandshake that the broker has")
	}
	return nil
}

func mechanism(o *contract.Options) (sasl.Mechanism, error) {
	if !o.SASL() {
		return nil, nil
	}
	switch o.Mechanism {
	case "SCRAM-SHA-256":
		return scram.Mechanism(scram.SHA256, o.Username, o.Password)
	case "SCRAM-SHA-512":
		return scram.Mechanism(scram.SHA512, o.Username, o.Password)
	case "OAUTHBEARER":
		return bearer(o.Username), nil
	default:
		return plain.Mechanism{Username: o.Username, Password: o.Password}, nil
	}
}

// bearer is an OAUTHBEARER for the user it names: kafka-go has none, but an interface for
// it.
type bearer string

// Name is the mechanism's.
func (bearer) Name() string { return "OAUTHBEARER" }

// Start makes the first and only message (RFC 7628).
func (b bearer) Start(context.Context) (sasl.StateMachine, []byte, error) {
	jwt, err := contract.UnsecuredJWT(string(b))
	return b, []byte("n,,\x01auth=Bearer " + jwt + "\x01\x01"), err
}

// Next ends the exchange, or gets the error about the token.
func (bearer) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	if len(challenge) > 0 {
		return false, nil, fmt.Errorf("OAUTHBEARER: %s", challenge)
	}
	return true, nil, nil
}

// newClient makes a client and asks for the brokers, so that a refused login is its
// error, and is not retried for ever.
func newClient(ctx context.Context, o *contract.Options) (*kafka.Client, *kafka.MetadataResponse, error) {
	m, err := mechanism(o)
	if err != nil {
		return nil, nil, err
	}
	client := &kafka.Client{
		Addr:      kafka.TCP(o.Bootstrap),
		Timeout:   o.Timeout,
		Transport: &kafka.Transport{ClientID: "segmentio", SASL: m, MetadataTTL: time.Second},
	}
	metadata, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{}})
	return client, metadata, err
}

func addresses(ctx context.Context, o *contract.Options, r *contract.Result) error {
	_, metadata, err := newClient(ctx, o)
	if err != nil {
		return err
	}
	for _, b := range metadata.Brokers {
		r.Address(net.JoinHostPort(b.Host, strconv.Itoa(b.Port)))
	}
	return nil
}
