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
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/endpoints"
	"kproxy/internal/upstream"
	"kproxy/internal/wire"
	"kproxy/proxy/config"
)

// planOf is the plan of a cluster with this bootstrap address and these dial rules.
func planOf(t *testing.T, bootstrap string, rules ...config.DialRule) *config.ClusterPlan {
	t.Helper()
	conf := config.Config{Clusters: []config.Cluster{{
		Name: "orders", Bootstrap: []string{bootstrap}, Dial: rules,
		Listeners: []config.Listener{{Name: "bob", Bind: "127.0.0.1:9092", Nodes: config.Nodes{Ports: config.Range{First: 9100, Last: 9109}}}},
	}}}
	plan, err := conf.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return plan.Clusters[0]
}

// newCluster returns a cluster with these dial rules that reaches no broker by itself.
func newCluster(t *testing.T, rules ...config.DialRule) *Cluster {
	t.Helper()
	c, err := New(planOf(t, "b0.invalid:9092", rules...), slog.New(slog.DiscardHandler), Options{
		Own:        func(netip.AddrPort) bool { return false },
		Dialed:     func(int32, string, error) {},
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
		err := c.askMetadata(t.Context(), Link{Way: c.Way(), Conn: near, Target: upstream.Target{Node: upstream.NoNode}, Address: "b0.invalid:9092"})
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

// A response to a client with another cluster's id does not replace the map, although the broker that sent it cannot be asked.
func TestAClientsResponseReplacesNoCluster(t *testing.T) {
	c := newCluster(t)
	of := func(id, host string) endpoints.Response {
		return endpoints.Response{ClusterID: id, Brokers: []endpoints.Broker{{Node: 0, Host: host, Port: 9092}}}
	}
	c.teach(of("A", "b0.invalid"), endpoints.Asked)
	unreachable := upstream.Target{Node: 0, Host: "127.0.0.1", Port: 9092} // no broker may advertise it
	c.askAbout(t.Context(), &sighting{unreachable, of("B", "c0.invalid"), true})
	if b, ok := c.NodeAt("bob", 0); !ok || b.Host != "b0.invalid" || c.isOther("A") {
		t.Errorf("node 0 is at %q, and the cluster another one: %t", b.Host, c.isOther("A"))
	}
	c.askAbout(t.Context(), &sighting{unreachable, of("A", "b0-moved.invalid"), true})
	if b, _ := c.NodeAt("bob", 0); c.isOther("A") {
		t.Errorf("node 0 is at %q, of another cluster", b.Host)
	}
}

// After a change that may lead to other brokers, kproxy asks them again for all that it knew of the ones before.
func TestReconfigureForgetsResponses(t *testing.T) {
	c := newCluster(t)
	c.teach(endpoints.Response{ClusterID: "A", Brokers: []endpoints.Broker{{Node: 0, Host: "b0.invalid", Port: 9092}}}, endpoints.Asked)
	key := versionsKey{upstream.NoNode, 3}
	c.versions.put(key, cachedVersions{payload: []byte{0}, until: time.Now().Add(time.Hour)})
	reconfigure := func(bootstrap string) {
		plan := planOf(t, bootstrap)
		w, err := c.Prepare(plan)
		if err != nil {
			t.Fatal(err)
		}
		c.Reconfigure(w, plan.Listeners)
	}
	reconfigure("b0.invalid:9092")
	if _, kept := c.versions.get(key); !kept || c.mayNeedLogin() {
		t.Error("a change that leads to the same brokers forgets their responses")
	}
	reconfigure("c0.invalid:9092")
	if _, kept := c.versions.get(key); kept || !c.mayNeedLogin() {
		t.Errorf("other brokers: versions are kept: %t, a login may be needed: %t", kept, c.mayNeedLogin())
	}
}
