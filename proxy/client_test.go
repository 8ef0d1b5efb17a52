package proxy_test

import (
	"crypto/tls"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// client is a connection of a client. It sends and reads only on a test's calls.
type client struct{ *peer }

// dial connects to an address of the proxy.
func (l *lab) dial(t *testing.T, address string) client {
	t.Helper()
	conn, err := l.outside.Dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if *overTLS {
		certify(t)
		conn = tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: everybody.ca.Pool(), ServerName: "proxy.test"})
	}
	return client{newPeer(t, conn)}
}

// send sends a request.
func (c client) send(correlationID int32, req kmsg.Request) {
	c.t.Helper()
	c.write(requestFrame(correlationID, req))
}

// receive reads the next response, which must be the one to correlationID, into
// resp.
func (c client) receive(correlationID int32, resp kmsg.Response) {
	c.t.Helper()
	decodeAnswer(c.t, c.frame(), correlationID, resp)
}

// requestFrame is a request as clients write it.
func requestFrame(correlationID int32, req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, correlationID)
}

// requestFrames are requests one behind the other, with correlation ids that
// count from first.
func requestFrames(first int32, reqs ...kmsg.Request) []byte {
	var frames []byte
	for i, req := range reqs {
		frames = append(frames, requestFrame(first+int32(i), req)...)
	}
	return frames
}

// decodeAnswer reads a response frame into resp, to the last byte.
func decodeAnswer(t *testing.T, frame []byte, correlationID int32, resp kmsg.Response) {
	t.Helper()
	if got := wire.CorrelationID(frame); got != correlationID {
		t.Fatalf("got the answer to %d, want %d", got, correlationID)
	}
	body := frame[wire.ResponsePrefixLen:]
	if flexibleAnswerHeader(resp) {
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		t.Fatalf("%s v%d: %v", kmsg.NameForKey(resp.Key()), resp.GetVersion(), err)
	}
}

// flexibleAnswerHeader reports whether the header of a response ends in tags.
// That of ApiVersions never does (KIP-511).
func flexibleAnswerHeader(resp kmsg.Response) bool {
	return resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16()
}

// answerFrame is a response as brokers write it.
func answerFrame(correlationID int32, resp kmsg.Response) []byte {
	var payload []byte
	if flexibleAnswerHeader(resp) {
		payload = append(payload, 0)
	}
	payload = resp.AppendTo(payload)
	return append(wire.AppendResponsePrefix(nil, correlationID, len(payload)), payload...)
}
