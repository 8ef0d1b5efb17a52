//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// A peer that disappears while bytes are on their way to it is found. One that merely
// does not read is kept. Only a network that drops packets shows the difference, so the
// peers live in a network namespace of their own, and nft drops the packets to them.
//
// The proxy runs in the test itself, with a limit of seconds instead of minutes.
func TestPeerGone(t *testing.T) {
	const limit = 4 * time.Second
	for _, c := range []struct {
		name string
		// dead is the side whose packets are dropped; stalled says that its window was
		// closed before.
		dead    string
		stalled bool
	}{
		{"client", "client", false},
		{"client that did not read", "client", true},
		{"broker", "broker", false},
		{"broker that did not read", "broker", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			far := newFarNetwork(t)
			broker := far.listen(t)
			reasons := make(chan proxy.SessionEnd, 10)
			p, err := proxy.New(&proxy.Config{
				Observer: &proxy.Observer{SessionClosed: func(_ proxy.Session, e proxy.SessionEnd) { reasons <- e }},
				Config: config.Config{PeerGoneAfter: limit, Clusters: []config.Cluster{{
					Name: "far", Bootstrap: []string{broker.Addr().String()},
					Listeners: []config.Listener{{
						Name: "near", Bind: far.near + ":9092",
						Nodes: config.Nodes{Ports: config.Range{First: 9100, Last: 9100}},
					}},
				}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer func() {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				p.Shutdown(ctx)
			}()

			dying := far.session(t, broker)
			kept := far.session(t, broker)
			kept.stall(t, c.dead) // it is as slow as possible, and is kept
			if c.stalled {
				dying.stall(t, c.dead)
				<-time.After(limit / 2) // until the window is closed
			}
			victim := dying.client
			if c.dead == "broker" {
				victim = dying.broker
			}
			far.silence(t, victim)
			if !c.stalled {
				dying.send(t, c.dead, 1000)
			}
			began := time.Now()
			select {
			case e := <-reasons:
				if e.Reason != proxy.PeerGone || !strings.Contains(e.Err.Error(), "the "+c.dead+" has acknowledged nothing") {
					t.Errorf("the session ended as %s (%v)", e.Reason, e.Err)
				}
				t.Logf("found %v after the last packet: %v", time.Since(began).Round(time.Millisecond), e.Err)
			case <-time.After(4 * limit):
				t.Error("kproxy has not noticed")
			}
			dying.otherEnds(t, c.dead)
			select {
			case e := <-reasons:
				t.Errorf("the session of a peer that does not read ended as %s (%v)", e.Reason, e.Err)
			case <-time.After(3*limit - time.Since(began)):
			}
			kept.catchUp(t, c.dead)
		})
	}
}

// stallBytes is more than all buffers between two peers hold.
const stallBytes = 64 << 20

// pair is both ends of a session.
type pair struct {
	client, broker *net.TCPConn
	frame          []byte // on its way
	sent           chan error
}

// to returns the writer and the reader of bytes that go to one side.
func (p *pair) to(side string) (from, to *net.TCPConn) {
	if side == "client" {
		return p.broker, p.client
	}
	return p.client, p.broker
}

// frameTo is a response of n bytes to the first request, or one more request.
func frameTo(side string, n int) []byte {
	if side == "client" {
		response := kmsg.NewPtrFetchResponse() // version 0
		response.Topics = []kmsg.FetchResponseTopic{{Topic: "t", Partitions: []kmsg.FetchResponseTopicPartition{{RecordBatches: make([]byte, n)}}}}
		body := response.AppendTo([]byte{0, 0, 0, 0, 0, 0, 0, 1})
		size := len(body) - 4
		body[0], body[1], body[2], body[3] = byte(size>>24), byte(size>>16), byte(size>>8), byte(size)
		return body
	}
	request := kmsg.NewPtrProduceRequest()
	request.Version, request.Acks = 3, -1
	request.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: make([]byte, n)}}}}
	return kmsg.NewRequestFormatter().AppendRequest(nil, request, 2)
}

// send sends this many bytes to one side, which reads them later.
func (p *pair) send(t *testing.T, side string, n int) {
	t.Helper()
	from, _ := p.to(side)
	p.frame, p.sent = frameTo(side, n), make(chan error, 1)
	go func() {
		_, err := from.Write(p.frame)
		p.sent <- err
	}()
}

// stall sends more to one side than can be on its way while that reads nothing.
func (p *pair) stall(t *testing.T, side string) {
	t.Helper()
	p.send(t, side, stallBytes)
}

// catchUp reads, at last, everything that was sent.
func (p *pair) catchUp(t *testing.T, side string) {
	t.Helper()
	_, to := p.to(side)
	_ = to.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := io.ReadFull(to, make([]byte, len(p.frame))); err != nil {
		t.Errorf("a peer that had not read got %d of %d bytes: %v", n, len(p.frame), err)
	}
	select {
	case err := <-p.sent:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the peer that sent is still at it")
	}
}

// otherEnds waits for the end of the connection on the side that is not dead.
func (p *pair) otherEnds(t *testing.T, dead string) {
	t.Helper()
	from, _ := p.to(dead)
	_ = from.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, from); os.IsTimeout(err) {
		t.Error("the other side has not heard of it")
	}
}

// farNetwork is a network of its own, with a link to this one and a firewall.
type farNetwork struct {
	*lab.Namespace
	near, far string // the addresses of the link's ends
}

// newFarNetwork makes one, until the test ends.
func newFarNetwork(t *testing.T) *farNetwork {
	t.Helper()
	far, err := lab.NewNamespace("kproxy-e2e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(far.Close)
	n := &farNetwork{Namespace: far, near: "10.213.7.1", far: "10.213.7.2"}
	if err := errors.Join(
		n.Link(n.far+"/30", nil, n.near+"/30"),
		n.Run("nft", "add table inet e2e"),
		n.Run("nft", "add chain inet e2e hear { type filter hook input priority 0; }"),
		n.Run("nft", "add chain inet e2e say { type filter hook output priority 0; }"),
	); err != nil {
		t.Fatal(err)
	}
	return n
}

// silence drops all packets of one connection, in both directions, at its end in the
// namespace.
func (n *farNetwork) silence(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	port, peer := conn.LocalAddr().(*net.TCPAddr).Port, conn.RemoteAddr().(*net.TCPAddr).Port
	if err := errors.Join(
		n.Run("nft", fmt.Sprintf("add rule inet e2e hear tcp dport %d tcp sport %d drop", port, peer)),
		n.Run("nft", fmt.Sprintf("add rule inet e2e say tcp sport %d tcp dport %d drop", port, peer)),
	); err != nil {
		t.Fatal(err)
	}
}

// listen opens a socket for a broker in the namespace. Its connections have no keep-alive
// probes of their own, which would show the other end's loss.
func (n *farNetwork) listen(t *testing.T) net.Listener {
	t.Helper()
	var l net.Listener
	err := n.Inside(func() (err error) {
		l, err = (&net.ListenConfig{KeepAlive: -1}).Listen(t.Context(), "tcp", n.far+":9092")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// session opens a session of a client in the namespace, up to its first request.
func (n *farNetwork) session(t *testing.T, broker net.Listener) *pair {
	t.Helper()
	var client net.Conn
	err := n.Inside(func() (err error) {
		client, err = (&net.Dialer{KeepAlive: -1}).DialContext(t.Context(), "tcp", n.near+":9092")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	request := kmsg.NewRequestFormatter(kmsg.FormatterClientID("dead peer")).AppendRequest(nil, kmsg.NewPtrFetchRequest(), 1)
	if _, err := client.Write(request); err != nil {
		t.Fatal(err)
	}
	for {
		conn, err := broker.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		got := make([]byte, len(request))
		if _, err := io.ReadFull(conn, got); err == nil && string(got) == string(request) {
			return &pair{client: client.(*net.TCPConn), broker: conn.(*net.TCPConn)}
		}
	}
}
