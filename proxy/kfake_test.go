package proxy_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/internal/netlab"
	"kproxy/proxy"
)

// lab is a proxy between two networks: brokers are on vpc, under names that
// clients cannot resolve, and clients are outside, where there is the proxy
// only.
type lab struct {
	vpc, outside netlab.Network
	proxy        *proxy.Proxy
	log          *logRecorder
	ended        chan proxy.SessionEnd // every session that has ended
}

// brokerName is the address that node advertises.
func brokerName(node int) string { return fmt.Sprintf("broker-%d.vpc.invalid:9092", node) }

// startKfake starts a fake cluster of n brokers on the lab's vpc.
func (l *lab) startKfake(t *testing.T, n int, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	node := 0
	listen := func(string, string) (net.Listener, error) {
		ln, err := l.vpc.ListenAs(context.Background(), brokerName(node))
		node++
		return ln, err
	}
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(n), kfake.ListenFn(listen))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// config is a configuration with one cluster and the listeners bob and fred.
func (l *lab) config() *proxy.Config {
	l.ended = make(chan proxy.SessionEnd, 1<<16)
	l.log = &logRecorder{}
	return &proxy.Config{
		Clusters: []proxy.Cluster{{
			Name:      "orders",
			Bootstrap: []string{brokerName(0)},
			Listeners: []proxy.Listener{
				{
					Name: "bob", Bind: "127.0.0.1:9092", Advertise: "bob.test:9092",
					Nodes: proxy.Nodes{Ports: proxy.Range{First: 9100, Last: 9109}},
				},
				{
					Name: "fred", Bind: "127.0.0.1:19092", Advertise: "localhost:39092",
					Nodes: proxy.Nodes{Ports: proxy.Range{First: 19100, Last: 19109}, AdvertisePorts: proxy.Range{First: 39100, Last: 39109}},
				},
			},
		}},
		Logger:   slog.New(l.log),
		Observer: &proxy.Observer{SessionClosed: func(_ proxy.Session, e proxy.SessionEnd) { l.ended <- e }},
		Listen:   l.outside.Listen,
		Dial:     l.vpc.Dial,
	}
}

// start runs a proxy with conf until the test ends, and puts what it advertises
// on the outside network.
func (l *lab) start(t *testing.T, conf *proxy.Config) {
	t.Helper()
	p, err := proxy.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.proxy = p
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		p.Shutdown(ctx)
	})
	for i := range 10 {
		l.outside.Alias("bob.test:"+strconv.Itoa(9100+i), "127.0.0.1:"+strconv.Itoa(9100+i))
		l.outside.Alias("localhost:"+strconv.Itoa(39100+i), "127.0.0.1:"+strconv.Itoa(19100+i))
	}
	l.outside.Alias("bob.test:9092", "127.0.0.1:9092")
	l.outside.Alias("localhost:39092", "127.0.0.1:19092")
}

// client returns a franz-go client that bootstraps at address and reaches
// nothing but the proxy. At the end of the test it has tried nothing else.
func (l *lab) client(t *testing.T, address string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	opts = append(opts, kgo.SeedBrokers(address),
		kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
			return l.outside.Dial(ctx, network, host)
		}))
	c, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if n := l.outside.Refused(); n > 0 {
			t.Errorf("clients dialled %d addresses that are not the proxy's", n)
		}
	})
	return c
}

func TestClientsHearTheirOwnListener(t *testing.T) {
	var l lab
	l.startKfake(t, 3, kfake.SeedTopics(3, "t"))
	l.start(t, l.config())
	for address, want := range map[string][]string{
		"bob.test:9092":   {"bob.test:9100", "bob.test:9101", "bob.test:9102"},
		"localhost:39092": {"localhost:39100", "localhost:39101", "localhost:39102"},
	} {
		c := l.client(t, address)
		if err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		resp, err := kmsgMetadata(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range resp.Brokers {
			got = append(got, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("at %s: got %v, want %v", address, got, want)
		}
	}
}

func TestGroupReadsEverythingWhileLeadersMove(t *testing.T) {
	const records = 3000
	var l lab
	fake := l.startKfake(t, 3, kfake.SeedTopics(6, "t"))
	l.start(t, l.config())

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fake.ShufflePartitionLeaders()
			case <-ctx.Done():
				return
			}
		}
	}()
	producer := l.client(t, "bob.test:9092", kgo.DefaultProduceTopic("t"))
	go func() {
		for i := range records {
			producer.Produce(ctx, kgo.StringRecord(strconv.Itoa(i)), func(_ *kgo.Record, err error) {
				if err != nil && ctx.Err() == nil {
					t.Errorf("produce: %v", err)
				}
			})
		}
	}()
	consumer := l.client(t, "localhost:39092", kgo.ConsumeTopics("t"), kgo.ConsumerGroup("g"))
	seen := map[string]bool{}
	for len(seen) < records {
		fetches := consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("read %d of %d records", len(seen), records)
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)] = true })
	}
}
