package proxy_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// broker is a scripted broker: a test takes its connections one by one, and scripts each.
// It answers only the proxy's own questions by itself.
type broker struct {
	t        *testing.T
	node     int
	listener net.Listener
	conns    chan brokerConn
	accepted atomic.Int64
	asked    atomic.Int64 // of those, the proxy's own
	names    []kmsg.MetadataResponseBroker
	door     *door // clients must log in there first; nil: no login

	accepting, serving sync.WaitGroup
	open               []net.Conn // belongs to acceptAll
}

// brokerConn is the broker's end of a session.
type brokerConn struct{ *peer }

// brokerName is the address that node advertises.
func brokerName(node int) string { return fmt.Sprintf("broker-%d.vpc.invalid:9092", node) }

// startBroker starts a broker on the lab's vpc. When the proxy asks who the
// brokers are, it names these nodes; with none it ends the connection, as a
// cluster does that wants a login first.
func (l *lab) startBroker(t *testing.T, node int, names ...int) *broker {
	t.Helper()
	ln, err := l.vpc.ListenAs(t.Context(), brokerName(node))
	if err != nil {
		t.Fatal(err)
	}
	if l.brokerTLS == nil && *overTLS {
		certify(t)
		l.brokerTLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{everybody.identity.Pair}}
	}
	if l.brokerTLS != nil {
		ln = tls.NewListener(ln, l.brokerTLS)
	}
	b := &broker{t: t, node: node, listener: ln, conns: make(chan brokerConn, 1024), names: brokersNamed(names...), door: l.door}
	b.accepting.Go(b.acceptAll)
	t.Cleanup(func() {
		b.stop()
		b.accepting.Wait()
		for _, conn := range b.open {
			_ = conn.Close()
		}
		b.serving.Wait()
	})
	return b
}

// stop closes the socket; connections stay.
func (b *broker) stop() { _ = b.listener.Close() }

func (b *broker) acceptAll() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.accepted.Add(1)
		b.open = append(b.open, conn)
		b.serving.Go(func() { b.sort(brokerConn{newPeer(b.t, conn)}) })
	}
}

// sort tells the proxy's own questions from sessions.
func (b *broker) sort(c brokerConn) {
	if b.door != nil && !b.door.admits(c) {
		c.close()
		return
	}
	if !strings.HasPrefix(c.clientID(), "kproxy-probe/") {
		b.conns <- c
		return
	}
	b.asked.Add(1)
	defer c.close()
	for {
		r, err := c.tryRequest()
		if err != nil {
			return
		}
		versions := answerTo(r.Version, kmsg.NewPtrApiVersionsResponse())
		versions.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 3, MaxVersion: 99}, {ApiKey: 17, MinVersion: 1, MaxVersion: 1}, {ApiKey: 18, MaxVersion: 99}, {ApiKey: 36, MaxVersion: 2}}
		var resp kmsg.Response = versions
		if r.Key != kmsg.ApiVersions.Int16() {
			if b.names == nil {
				return
			}
			metadata := kmsg.NewPtrMetadataResponse()
			metadata.Version, metadata.Brokers = r.Version, b.names
			resp = metadata
		}
		if c.tryWrite(answerFrame(r.CorrelationID, resp)) != nil {
			return
		}
	}
}

// clientID looks at the client id of the first request; "" if there is none.
func (c brokerConn) clientID() string {
	const idAt = wire.RequestPrefixLen + 2
	b, err := c.in.Peek(idAt)
	if err != nil {
		return ""
	}
	n := int(b[idAt-2])<<8 | int(b[idAt-1])
	if b, err = c.in.Peek(idAt + n); err != nil {
		return ""
	}
	return string(b[idAt:])
}

// take returns the next connection that a session has made.
func (b *broker) take() brokerConn {
	b.t.Helper()
	select {
	case c := <-b.conns:
		return c
	case <-time.After(patience):
		b.t.Fatalf("broker %d was not dialled", b.node)
		panic("unreachable")
	}
}

// sessions is how many connections sessions have made.
func (b *broker) sessions() int { return int(b.accepted.Load() - b.asked.Load()) }

// request is a request as a broker gets it.
type request struct {
	wire.RequestHeader
	frame []byte
}

// request reads the next request, which must have this key and correlation id.
func (c brokerConn) request(key kmsg.Key, correlationID int32) request {
	c.t.Helper()
	r, err := c.tryRequest()
	switch {
	case err != nil:
		c.t.Fatalf("read a request: %v", err)
	case r.Key != key.Int16() || r.CorrelationID != correlationID:
		c.t.Fatalf("got %s with correlation id %d, want %s with %d",
			kmsg.NameForKey(r.Key), r.CorrelationID, key.Name(), correlationID)
	}
	return r
}

func (c brokerConn) tryRequest() (request, error) {
	frame, err := c.tryFrame()
	if err != nil {
		return request{}, err
	}
	if len(frame) < wire.RequestPrefixLen {
		return request{}, errors.New("the frame is too short for a request")
	}
	prefix := wire.ParseRequestPrefix(frame)
	flexible := false
	if req := kmsg.RequestForKey(prefix.Key); req != nil {
		req.SetVersion(prefix.Version)
		flexible = req.IsFlexible()
	}
	h, err := wire.ParseRequestHeader(frame, flexible)
	return request{h, frame}, err
}

// answer answers a request.
func (c brokerConn) answer(correlationID int32, resp kmsg.Response) {
	c.t.Helper()
	c.write(answerFrame(correlationID, resp))
}
