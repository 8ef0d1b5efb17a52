// Package embeds is a program of another module that imports kproxy's public packages. It is a
// module of its own, so that nothing internal is in its reach.
package embeds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
	"kproxy/rewrite"
)

// advertised is the host that clients are told. The nodes have ports from firstPort on.
const (
	advertised = "kafka.example.com"
	firstPort  = 9100
)

// Head replaces the addresses in front of a Metadata response, and the rest stays.
func TestHead(t *testing.T) {
	resp := kmsg.NewPtrMetadataResponse()
	resp.Version = 9
	for node := range int32(2) {
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID, b.Host, b.Port = node, fmt.Sprintf("b%d.internal", node), 9092
		resp.Brokers = append(resp.Brokers, b)
	}
	topic := kmsg.NewMetadataResponseTopic()
	topic.Topic = kmsg.StringPtr("orders")
	resp.Topics = append(resp.Topics, topic)
	payload := append([]byte{0}, resp.AppendTo(nil)...) // the tags of the response header

	r := rewrite.Rewriter{Translate: func(_ int16, brokers rewrite.Brokers) {
		for i := range brokers.List {
			b := &brokers.List[i]
			b.Host, b.Port = advertised, firstPort+b.Node
		}
	}}
	if _, _, _, err := r.Head(3, 9, payload[:20]); !errors.Is(err, rewrite.ErrShort) {
		t.Errorf("of 20 bytes: got %v, want %v", err, rewrite.ErrShort)
	}
	head, n, notes, err := r.Head(3, 9, payload)
	if err != nil {
		t.Fatal(err)
	}
	got := kmsg.NewPtrMetadataResponse()
	got.Version = 9
	if err := got.ReadFrom(slices.Concat(head, payload[n:])[1:]); err != nil {
		t.Fatal(err)
	}
	if want := addresses(2); notes.Named != 2 || !slices.Equal(brokers(got), want) || len(got.Topics) != 1 || *got.Topics[0].Topic != "orders" {
		t.Errorf("got %d names, %v and %d topics, want 2, %v and 1", notes.Named, brokers(got), len(got.Topics), want)
	}
}

// sockets opens every listening socket on a port that the system chooses, and dials the
// advertised addresses there.
type sockets struct {
	mu     sync.Mutex
	chosen map[string]string // the port of the configuration -> the address of the socket
}

func (s *sockets) listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, network, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(address)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chosen[port] = l.Addr().String()
	return l, nil
}

// dial refuses every address that is not the proxy's.
func (s *sockets) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, _ := net.SplitHostPort(address)
	s.mu.Lock()
	socket, ok := s.chosen[port]
	s.mu.Unlock()
	if host != advertised || !ok {
		return nil, fmt.Errorf("%s is not an address of the proxy", address)
	}
	return new(net.Dialer).DialContext(ctx, network, socket)
}

// A Proxy on loopback leads a client to two brokers, by their advertised addresses alone.
func TestProxy(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(2, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	s := &sockets{chosen: map[string]string{}}
	p, err := proxy.New(&proxy.Config{Config: configuration(cluster.ListenAddrs()), Listen: s.listen})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(advertised+":9092"), kgo.Dialer(s.dial), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for partition := range int32(2) { // each has another leader
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: "orders", Partition: partition, Value: []byte("v")}).FirstErr(); err != nil {
			t.Errorf("partition %d: %v", partition, err)
		}
	}
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := brokers(resp), addresses(2); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	client.Close()
	if cut := p.Shutdown(ctx); cut != 0 {
		t.Errorf("Shutdown cut %d sessions, want 0", cut)
	}
	if err := p.Start(ctx); !errors.Is(err, proxy.ErrClosed) {
		t.Errorf("Start after Shutdown: got %v, want %v", err, proxy.ErrClosed)
	}
}

// A program that does not link the parts is told by the configuration that needs them.
func TestPartsThatAreNotLinked(t *testing.T) {
	c := configuration([]string{"b0.internal:9092"})
	c.Clusters[0].SASL = &config.SASL{Mechanism: "AWS_MSK_IAM"}
	c.Clusters[0].Via = config.Via{URL: "ssh://me@bastion.example.com"}
	_, err := c.Compile()
	for _, want := range []string{"clusters.orders.sasl.mechanism: ", "set Parts.AWS", "clusters.orders.via: ", "set Parts.SSH"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func configuration(bootstrap []string) config.Config {
	return config.Config{Clusters: []config.Cluster{{
		Name:      "orders",
		Bootstrap: bootstrap,
		Listeners: []config.Listener{{
			Name: "edge", Bind: "127.0.0.1:9092", Advertise: advertised + ":9092",
			Nodes: config.Nodes{Ports: config.Range{First: firstPort, Last: firstPort + 9}},
		}},
	}}}
}

func addresses(nodes int) (all []string) {
	for node := range nodes {
		all = append(all, fmt.Sprintf("%s:%d", advertised, firstPort+node))
	}
	return all
}

// brokers returns the addresses of a response, by node.
func brokers(resp *kmsg.MetadataResponse) (all []string) {
	slices.SortFunc(resp.Brokers, func(a, b kmsg.MetadataResponseBroker) int { return int(a.NodeID - b.NodeID) })
	for _, b := range resp.Brokers {
		all = append(all, fmt.Sprintf("%s:%d", b.Host, b.Port))
	}
	return all
}
