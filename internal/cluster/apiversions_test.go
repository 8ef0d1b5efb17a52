package cluster

import (
	"io"
	"net"
	"testing"
	"time"

	"kproxy/internal/wire"
	"kproxy/proxy/config"
)

// A broker decides how many nodes there are and how long its responses are, not how much is
// kept.
func TestKeptVersionsAreBounded(t *testing.T) {
	var v versionsCache
	young, old := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	v.put(versionsKey{node: 0}, cachedVersions{until: young})
	for node := range int32(2 * maxVersions) {
		v.put(versionsKey{node: 1 + node}, cachedVersions{until: old})
	}
	if _, ok := v.get(versionsKey{node: 0}); !ok {
		t.Error("a young one made room while there were old ones")
	}
	for node := range int32(2 * maxVersions) {
		key := versionsKey{node: node, version: 3}
		v.put(key, cachedVersions{until: young})
		if _, ok := v.get(key); !ok {
			t.Fatalf("the newest, of node %d, is not there", node)
		}
	}
	if n := len(v.responses); n != maxVersions {
		t.Errorf("%d are kept, want %d", n, maxVersions)
	}
}

// A response that is longer than any broker's is refused.
func TestLongVersionsAreRefused(t *testing.T) {
	t.Parallel()
	for size, refused := range map[int]bool{maxVersionsBytes: false, maxVersionsBytes + 1: true} {
		c := newCluster(t, config.DialRule{Match: "b0.invalid:9092", To: brokerOf(t, make([]byte, size))})
		c.Dialed = func(int32, string, error) {}
		conf := c.Way().conf
		way, err := c.Prepare(conf)
		if err != nil {
			t.Fatal(err)
		}
		c.Reconfigure(way, conf.Listeners)
		payload, err := c.APIVersions(t.Context(), nil, 3)
		if (err != nil) != refused || !refused && len(payload) != size {
			t.Errorf("%d bytes: got %d, %v", size, len(payload), err)
		}
	}
}

// brokerOf returns the address of a broker whose response to everything is payload.
func brokerOf(t *testing.T, payload []byte) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go respond(conn, payload)
		}
	}()
	return l.Addr().String()
}

func respond(conn net.Conn, payload []byte) {
	defer conn.Close()
	for {
		head := make([]byte, wire.RequestPrefixLen)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		rest := int64(wire.SizeLen) + int64(wire.Size(head)) - int64(len(head))
		if _, err := io.CopyN(io.Discard, conn, rest); err != nil {
			return
		}
		id := wire.ParseRequestPrefix(head).CorrelationID
		if _, err := conn.Write(append(wire.AppendResponsePrefix(nil, id, len(payload)), payload...)); err != nil {
			return
		}
	}
}
