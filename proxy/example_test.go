package proxy_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/netlab"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// The broker of this example advertises b0.internal:9092, a name that leads somewhere inside
// its own network alone. The client is in another network, and is told kafka.example.com.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var inside, outside netlab.Network // two networks in this process
	brokers, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(func(string, string) (net.Listener, error) {
		return inside.ListenAs(ctx, "b0.internal:9092")
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer brokers.Close()

	p, err := proxy.New(&proxy.Config{
		Config: config.Config{Clusters: []config.Cluster{{
			Name:      "orders",
			Bootstrap: []string{"b0.internal:9092"},
			Listeners: []config.Listener{{
				Name:      "edge",
				Bind:      "127.0.0.1:9092",
				Advertise: "kafka.example.com:9092",
				Nodes:     config.Nodes{Ports: config.Range{First: 9100, Last: 9109}},
			}},
		}}},
		Logger: slog.New(slog.DiscardHandler),
		Listen: outside.Listen, // a program leaves these out: kproxy
		Dial:   inside.Dial,    // then listens and dials by itself
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := p.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer p.Shutdown(ctx)

	client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(outside.Dial))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, b := range resp.Brokers {
		fmt.Printf("node %d: %s:%d\n", b.NodeID, b.Host, b.Port)
	}
	// Output: node 0: kafka.example.com:9100
}
