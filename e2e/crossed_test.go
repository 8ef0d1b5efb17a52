//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"kproxy/e2e/lab"
)

// TestCrossedBrokersAreCounted crosses two brokers, as a balancer with a mistake does: between kproxy and the brokers, or
// between the clients and kproxy. Producers get no acknowledgement, and no connection fails. Brokers of Kafka 4.4 refuse
// clients that name the broker they want. Leader hints show the others, and where the mistake is.
func TestCrossedBrokersAreCounted(t *testing.T) {
	straight := shared.kafka.byAddress()
	to := func(node, address int32) string {
		return fmt.Sprintf("{node: %d, to: %q}", node, shared.kafka.client(address))
	}
	older := kversion.Stable() // of clients that do not name the broker
	older.SetMaxKeyVersion(kmsg.ApiVersions.Int16(), 4)
	const misrouted, itself, another = `kproxy_misrouted_total{`, `kproxy_leader_hints_total{leader="itself",`, `kproxy_leader_hints_total{leader="another",`
	for _, tt := range []struct {
		name         string
		route        route
		swaps        bool // the way to kproxy swaps the nodes
		hints, other string
	}{
		{"at the brokers", route{straight.Bootstrap, []string{to(1, 2), to(2, 1), to(3, 3)}}, false, itself, another},
		{"at kproxy", straight, true, another, itself},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, err := shared.ports.Block(t.Context(), "127.0.0.1")
			if err != nil {
				t.Fatal(err)
			}
			admin := lab.HostPort("127.0.0.1", base)
			t.Setenv("KPROXY_ADMIN_BIND", admin)
			p := startKproxy(t, tt.route)
			prom := startPrometheus(t, lab.HostPort("127.0.0.1", base+1), admin, "")
			topic := shared.kafka.NewTopic(t, "crossed", 3)
			var producers sync.WaitGroup
			producers.Go(func() { produceCrossed(t, p.Via("many"), tt.swaps, topic) })
			producers.Go(func() { produceCrossed(t, p.Via("bob"), tt.swaps, topic, kgo.MaxVersions(older)) })
			producers.Wait()
			const crossed = `node=~"1|2"`
			for query, want := range map[string]float64{
				`count(` + misrouted + crossed + `,listener="many"} > 0)`:        2,
				`sum(` + misrouted + `listener="bob"}) or vector(0)`:             0,
				`count(` + tt.hints + crossed + `,listener="bob"} > 1)`:          2, // in 10 seconds: the alert's rate
				`sum(` + tt.hints + `node!~"1|2"}) or vector(0)`:                 0,
				`sum(` + tt.other + `listener="bob"}) or vector(0)`:              0,
				`sum(` + tt.hints + `listener="many"}) or vector(0)`:             0,
				`count(kproxy_dials_total{outcome!~"ok|canceled"}) or vector(0)`: 0,
			} {
				eventually(t, 10*time.Second, func() error { return prom.want(t, query, want) })
			}
			t.Log(prom.query(t, `sum by (node) (`+misrouted+`listener="many"})`), prom.query(t, `sum by (node) (`+tt.hints+`listener="bob"})`))
		})
	}
}

// produceCrossed sends a record to each of three partitions for 10 seconds, of which those of nodes 1 and 2 fail.
func produceCrossed(t *testing.T, l listener, swaps bool, topic string, opts ...kgo.Opt) {
	t.Helper()
	g := newGate(t, l)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		switch {
		case swaps && address == l.told(1):
			address = l.told(2)
		case swaps && address == l.told(2):
			address = l.told(1)
		}
		return g.Dial(ctx, network, address)
	}
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(l.Advertise), kgo.Dialer(dial), kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite())...)
	if err != nil {
		t.Error(err)
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	acknowledged := make(chan int32, 3)
	for partition := range int32(3) {
		client.Produce(ctx, &kgo.Record{Partition: partition, Value: []byte("record")}, func(_ *kgo.Record, err error) {
			if err == nil {
				acknowledged <- partition
			}
		})
	}
	_ = client.Flush(ctx) // two wait for ever
	if n := len(acknowledged); n != 1 {
		t.Errorf("%s: %d records are acknowledged, want 1", l.Name, n)
	}
	if got := g.Bypasses(); len(got) > 0 {
		t.Errorf("%s: connections that bypassed kproxy: %v", l.Name, got)
	}
}
