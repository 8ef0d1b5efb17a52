package cluster

import (
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/upstream"
	"kproxy/internal/wire"
	"kproxy/proxy/config"
)

// newCluster returns a cluster that reaches no broker by itself.
func newCluster(t *testing.T) *Cluster {
	t.Helper()
	conf := config.Config{Clusters: []config.Cluster{{
		Name: "orders", Bootstrap: []string{"b0.invalid:9092"},
		Listeners: []config.Listener{{Name: "bob", Bind: "127.0.0.1:9092", Nodes: config.Nodes{Ports: config.Range{First: 9100, Last: 9109}}}},
	}}}
	plan, err := conf.Compile()
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(plan.Clusters[0], slog.New(slog.DiscardHandler), Options{
		Own:     func(netip.AddrPort) bool { return false },
		Strayed: func() {},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// asked is a question of a cluster about its brokers that a test answers.
type asked struct {
	far  net.Conn
	done chan error
}

// ask has c ask, and returns when the request has been sent.
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

// answer says that node 0 is at a host, and waits until the cluster has taken that in.
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

// The response to an older question does not undo what a newer one has told.
func TestOlderResponseIsIgnored(t *testing.T) {
	c := newCluster(t)
	ask(t, c).answer(t, "old.invalid")
	older := ask(t, c)
	ask(t, c).answer(t, "new.invalid")
	older.answer(t, "old.invalid")
	if b, ok := c.NodeAt(0, 0); !ok || b.Host != "new.invalid" {
		t.Errorf("node 0 is at %q, want new.invalid", b.Host)
	}
}
