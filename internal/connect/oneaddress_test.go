package connect

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/kfakelab"
)

// Brokers that all advertise one address, such as localhost, are distinguished by the
// addresses that the user gives: each node's endpoint leads to that node.
func TestOneAddressForAllBrokers(t *testing.T) {
	t.Parallel()
	o, _ := options(t, kfakelab.Start(t, 3, kfakelab.All("one.vpc.invalid:9092")).At...)
	s := start(t, o)
	run(t, s)
	if problems := s.Problems(); len(problems) > 0 {
		t.Fatalf("got the problems %v, want none", problems)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Bootstrap()), kgo.RequestRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil { // it learns the brokers' addresses
		t.Fatal(err)
	}
	for node := range 3 {
		if _, err := client.Broker(node).Request(ctx, kmsg.NewPtrMetadataRequest()); err != nil {
			t.Errorf("node %d: %v", node, err)
		}
	}
}
