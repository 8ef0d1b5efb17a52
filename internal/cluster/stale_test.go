package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/endpoints"
	"kproxy/internal/upstream"
	"kproxy/internal/wire"
	"kproxy/proxy/config"
)

// newCluster returns a cluster with these dial rules that reaches no broker by itself.
func newCluster(t *testing.T, rules ...config.DialRule) *Cluster {
	t.Helper()
	conf := config.Config{Clusters: []config.Cluster{{
		Name: "orders", Bootstrap: []string{"b0.invalid:9092"}, Dial: rules,
		Listeners: []config.Listener{{Name: "bob", Bind: "127.0.0.1:9092", Nodes: config.Nodes{Ports: config.Range{First: 9100, Last: 9109}}}},
	}}}
	plan, err := conf.Compile()
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(plan.Clusters[0], slog.New(slog.DiscardHandler), Options{
		Own:        func(netip.AddrPort) bool { return false },
		Background: func(func(context.Context)) bool { return false },
		Strayed:    func() {},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// asked is a Metadata request of a cluster that a test answers.
type asked struct {
	far  net.Conn
	done chan error
}

// ask has c send a Metadata request, and returns when it has been sent.
func ask(t *testing.T, c *Cluster) asked {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	q := asked{far, make(chan error, 1)}
	go func() {
		_, err := c.askMetadata(Link{Conn: near, Target: upstream.Target{Node: upstream.NoNode}, Address: "b0.invalid:9092"})
		q.done <- err
	}()
	var size [wire.SizeLen]byte
	if _, err := io.ReadFull(far, size[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, far, int64(binary.BigEndian.Uint32(size[:]))); err != nil {
		t.Fatal(err)
	}
	return q
}

// answer sends a response that has node 0 at a host, and waits until the map has it.
func (q asked) answer(t *testing.T, host string) {
	t.Helper()
	resp := kmsg.NewPtrMetadataResponse()
	resp.Version = 4
	resp.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 0, Host: host, Port: 9092}}
	payload := resp.AppendTo(nil)
	if _, err := q.far.Write(append(wire.AppendResponsePrefix(nil, 1, len(payload)), payload...)); err != nil {
		t.Fatal(err)
	}
	if err := <-q.done; err != nil && !errors.Is(err, errOutvoted) {
		t.Fatal(err)
	}
}

// The response to an older request does not undo that to a newer one.
func TestOlderResponseIsIgnored(t *testing.T) {
	c := newCluster(t)
	ask(t, c).answer(t, "old.invalid")
	older := ask(t, c)
	ask(t, c).answer(t, "new.invalid")
	older.answer(t, "old.invalid")
	if b, ok := c.NodeAt("bob", 0); !ok || b.Host != "new.invalid" {
		t.Errorf("node 0 is at %q, want new.invalid", b.Host)
	}
}

// A dial rule leads two nodes to one address, so that one of them has no endpoint. A response
// that the map does not follow does not give it one.
func TestClashStays(t *testing.T) {
	c := newCluster(t, config.DialRule{Match: "*.invalid:*", To: "gateway:9092"})
	at := func(hosts ...string) (r endpoints.Response) {
		for node, host := range hosts {
			r.Brokers = append(r.Brokers, endpoints.Broker{Node: int32(node), Host: host, Port: 9092})
		}
		return r
	}
	c.teach(at("b0.invalid", "b1.invalid"), endpoints.Asked)
	without := func() (nodes []int) {
		for node := range 2 {
			if _, ok := c.NodeAt("bob", node); !ok {
				nodes = append(nodes, node)
			}
		}
		return nodes
	}
	before := without()
	if len(before) == 0 {
		t.Fatal("both nodes have an endpoint")
	}
	c.teach(at("c0.invalid", "c1.invalid"), endpoints.Heard)
	if after := without(); !slices.Equal(after, before) {
		t.Errorf("without an endpoint: %v, then %v", before, after)
	}
}
