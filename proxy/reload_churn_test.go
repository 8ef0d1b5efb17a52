package proxy_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// Reloads of everything else, one after another, end no session of a listener that stays as it
// is. Its clients lose nothing, and nothing is left behind.
func TestReloadsUnderLoad(t *testing.T) {
	needsPlainTCP(t)
	const reloads = 100
	before := measure()
	t.Run("reloads", func(t *testing.T) {
		var l lab
		l.startKfake(t, 3, kfake.SeedTopics(6, "t"))
		l.start(t, l.config())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var running sync.WaitGroup
		t.Cleanup(func() { // before the clients and the cluster are closed
			cancel()
			running.Wait()
		})
		producer := l.franz(t, "bob.test:9092", kgo.DefaultProduceTopic("t"))
		consumer := l.franz(t, "bob.test:9092", kgo.ConsumeTopics("t"), kgo.FetchMaxWait(50*time.Millisecond))
		reloaded := make(chan struct{})
		sent := make(chan int, 1)
		running.Go(func() {
			n := 0
			for ; !isClosed(reloaded); n++ {
				if err := producer.ProduceSync(ctx, kgo.StringRecord(strconv.Itoa(n))).FirstErr(); err != nil {
					t.Errorf("produce: %v", err)
					break
				}
			}
			sent <- n
		})
		seen := map[string]bool{}
		read := func() {
			fetches := consumer.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatalf("read %d records: %v", len(seen), err)
			}
			fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)] = true })
		}
		read()
		random := rand.New(rand.NewPCG(1, 2))
		settled := measure()
		for i := range reloads {
			conf, good := randomChange(t, &l, random, i)
			change, err := l.proxy.Prepare(ctx, conf)
			if (err == nil) != good {
				t.Fatalf("reload %d: got error %v, want a good one: %t", i, err, good)
			}
			switch {
			case err != nil:
			case random.IntN(5) == 0:
				change.Discard()
			default:
				change.Apply()
			}
		}
		l.prepare(t, l.reconfigured(t, func(*proxy.Config) {})).Apply()
		close(reloaded)
		for n := <-sent; len(seen) < n; {
			read()
		}
		for _, closed := range l.stats(t, "bob").Closed {
			t.Errorf("%d sessions of bob ended as %s", closed.Count, closed.Reason)
		}
		// Of a session that is not parked, and of a client's connection, there are some more or
		// less at any time. A hundred reloads would leave a hundred.
		settled.goroutines += 30
		settled.descriptors += 10
		settled.settled(t)
	})
	before.settled(t)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// randomChange returns a configuration in which bob has all that his clients use, and whether
// it is valid. Every tenth is not.
func randomChange(t *testing.T, l *lab, random *rand.Rand, number int) (conf *proxy.Config, good bool) {
	t.Helper()
	good = number%10 != 9
	conf = l.reconfigured(t, func(conf *proxy.Config) {
		c := &conf.Clusters[0]
		bob, fred := &c.Listeners[0], &c.Listeners[1]
		alice := config.Listener{Name: "alice", Bind: "127.0.0.1:7092", Nodes: config.Nodes{Ports: config.Range{First: 7100, Last: 7109}}}
		for _, change := range []func(){
			func() { bob.Nodes.Ports.Last += 10 },
			func() { bob.Limits.MaxConnections = 100 + random.IntN(3) },
			func() { bob.Limits.MaxPerSource = 100 },
			func() { conf.MaxConnections = 1000 },
			func() { conf.MaxAge = time.Hour },
			func() { conf.IdleTimeout = time.Minute },
			func() { conf.MaxHeldBytes = 64 << 20 },
			func() { conf.MaxHandshakes = 1 + random.IntN(3) },
			func() { c.Listeners = append(c.Listeners, alice) },
			func() { c.Listeners = c.Listeners[:1] },
			func() { c.Listeners = []config.Listener{*fred, *bob} },
			func() { alice.Bind, fred.Bind = fred.Bind, alice.Bind; c.Listeners = append(c.Listeners, alice) },
			func() { fred.APIs = config.APIs{Preset: config.ReadOnly} },
			func() { fred.Deny = []string{"127.0.0.1"} },
			func() { c.Bootstrap = []string{brokerName(1), brokerName(2)} },
			func() { c.Dial = []config.DialRule{{Match: "none.vpc.invalid:*", To: brokerName(1)}} },
			func() { c.ConnectTimeout = 5 * time.Second },
			func() { c.UnknownAPIs = config.PassUnknownAPIs },
			func() { c.ForgetAfter = time.Hour },
			func() {
				other := *c
				other.Name, other.Listeners = "stock", []config.Listener{alice}
				conf.Clusters = append(conf.Clusters, other)
			},
		} {
			if random.IntN(4) == 0 {
				change()
			}
		}
		if !good {
			bad := []func(){
				func() { conf.Clusters = nil },
				func() { conf.Clusters[0].Listeners[0].Bind = "nonsense" },
				func() { conf.Clusters[0].TLS = &config.UpstreamTLS{CA: "/nowhere/ca.pem"} },
				func() { conf.StateDir = "/nowhere" },
			}
			bad[random.IntN(len(bad))]()
		}
	})
	if good { // some changes do not go together
		_, err := conf.Compile()
		var mistake *config.Error
		good = !errors.As(err, &mistake)
	}
	return conf, good
}
