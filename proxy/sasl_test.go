package proxy_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// token is a raw SASL token, as it follows SaslHandshake v0.
func token(s string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
}

func handshakeRequest(version int16, mechanism string) *kmsg.SASLHandshakeRequest {
	req := of(version, kmsg.NewPtrSASLHandshakeRequest())
	req.Mechanism = mechanism
	return req
}

func handshakeAnswer(version, code int16) *kmsg.SASLHandshakeResponse {
	resp := answerTo(version, kmsg.NewPtrSASLHandshakeResponse())
	resp.ErrorCode = code
	resp.SupportedMechanisms = []string{"PLAIN"}
	return resp
}

// handshake sends SaslHandshake v0 and has the broker accept it.
func handshake(c client, s brokerConn, correlationID int32, mechanism string) {
	c.t.Helper()
	c.send(correlationID, handshakeRequest(0, mechanism))
	s.request(kmsg.SASLHandshake, correlationID)
	s.answer(correlationID, handshakeAnswer(0, 0))
	c.receive(correlationID, handshakeAnswer(0, 0))
}

// passToken sends one token, through the proxy.
func passToken(from, to *peer, s string) {
	from.t.Helper()
	from.write(token(s))
	to.wants("the token", token(s))
}

// framesAgain proves that a connection is back in Kafka's framing: a response is
// matched and rewritten.
func framesAgain(c client, s brokerConn, correlationID int32) {
	c.t.Helper()
	c.send(correlationID, metadataRequest(12))
	s.request(kmsg.Metadata, correlationID)
	s.answer(correlationID, metadataAnswer(12, 0))
	resp := answerTo(12, kmsg.NewPtrMetadataResponse())
	c.receive(correlationID, resp)
	if got := told(resp)[0]; got != "bob.test:9100" {
		c.t.Errorf("the client gets %q", got)
	}
}

// step is one raw token: the client's, or the broker's.
type step struct {
	fromClient bool
	token      string
}

// After SaslHandshake v0 a connection carries tokens without header: how many,
// the mechanism says.
func TestRawSASL(t *testing.T) {
	t.Parallel()
	tests := []struct {
		mechanism string
		steps     []step
	}{
		{"PLAIN", []step{{true, "\x00user\x00password"}, {false, ""}}},
		{"OAUTHBEARER", []step{{true, "n,,\x01auth=Bearer x\x01\x01"}, {false, ""}}},
		{"SCRAM-SHA-256", []step{{true, "n,,n=u,r=c"}, {false, "r=cs,s=x,i=4096"}, {true, "c=biws,r=cs,p=x"}, {false, "v=x"}}},
		{"SCRAM-SHA-512", []step{{true, "n,,n=u,r=c"}, {false, "r=cs,s=x,i=4096"}, {true, "c=biws,r=cs,p=x"}, {false, "v=x"}}},
		// One of the client's tokens is empty, and the last one has no response.
		{"GSSAPI", []step{{true, "\x60\x82 ticket"}, {false, "\x60 accept"}, {true, ""}, {false, "\x05\x04 layers"}, {true, "\x05\x04 no layer, and who I am"}}},
		{"GSSAPI", []step{{true, "\x60\x82 ticket"}, {false, "\x05\x04 layers"}, {true, "\x05\x04 the last one"}}},
		{"X-OF-THE-BROKERS-OWN", []step{{true, "\x01"}, {false, "\x02"}, {true, "\x03"}, {false, ""}}},
	}
	for _, tt := range tests {
		t.Run(tt.mechanism, func(t *testing.T) {
			t.Parallel()
			var l lab
			c, s := l.open(t)
			handshake(c, s, 1, tt.mechanism)
			for _, step := range tt.steps {
				if step.fromClient {
					passToken(c.peer, s.peer, step.token)
				} else {
					passToken(s.peer, c.peer, step.token)
				}
			}
			framesAgain(c, s, 2)
			framesAgain(c, s, 3)
			finish(t, &l, c, s)
		})
	}
}

// A client that knows how it will end need not wait for any of it.
func TestRawSASLInOneGo(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	password := token("\x00user\x00password")
	c.write(append(append(requestFrame(1, handshakeRequest(0, "PLAIN")), password...), requestFrame(2, heartbeat())...))
	s.request(kmsg.SASLHandshake, 1)
	s.silent() // the proxy does not know yet which frame follows
	s.answer(1, handshakeAnswer(0, 0))
	s.wants("the token", password)
	s.request(kmsg.Heartbeat, 2)
	s.write(append(token(""), answerFrame(2, heartbeatAnswer())...))
	c.receive(1, handshakeAnswer(0, 0))
	c.wants("the answer to the token", token(""))
	c.receive(2, heartbeatAnswer())
	finish(t, &l, c, s)
}

// A broker that does not know the mechanism says so, and expects requests as
// before.
func TestRefusedMechanismIsFollowedByRequests(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	for id, mechanism := range []string{"GSSAPI", "SCRAM-SHA-256", "PLAIN"} {
		c.send(int32(id), handshakeRequest(0, mechanism))
		s.request(kmsg.SASLHandshake, int32(id))
		s.answer(int32(id), handshakeAnswer(0, kerr.UnsupportedSaslMechanism.Code))
		c.receive(int32(id), handshakeAnswer(0, 0))
		framesAgain(c, s, 2)
	}
	handshake(c, s, 3, "PLAIN")
	passToken(c.peer, s.peer, "\x00user\x00password")
	passToken(s.peer, c.peer, "")
	framesAgain(c, s, 4)
	finish(t, &l, c, s)
}

// A broker that refuses a password closes the connection, as it always does.
func TestRefusedPassword(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"PLAIN", "GSSAPI"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			var l lab
			c, s := l.open(t)
			handshake(c, s, 1, mechanism)
			passToken(c.peer, s.peer, "\x60wrong")
			promptly(t, func() {
				s.close()
				c.eof()
			})
			c.close()
			l.ended(t, proxy.BrokerClosed)
		})
	}
}

func TestRawTokenTooLarge(t *testing.T) {
	t.Parallel()
	const limit = 512 << 10 // the broker's own (sasl.server.max.receive.size)
	for _, mechanism := range []string{"PLAIN", "GSSAPI"} {
		for _, size := range []int32{limit + 1, -1} {
			var l lab
			c, s := l.open(t)
			handshake(c, s, 1, mechanism)
			c.write(binary.BigEndian.AppendUint32(nil, uint32(size)))
			_, _ = c.ended()
			s.eof()
			l.ended(t, proxy.BadRequest)

			c, s = l.session(t, l.first)
			handshake(c, s, 1, mechanism)
			passToken(c.peer, s.peer, "\x60")
			s.write(binary.BigEndian.AppendUint32(nil, uint32(size)))
			c.eof()
			c.close()
			l.ended(t, proxy.BadAnswer)
		}
	}
}

// Tokens of SaslHandshake v1 are requests like others. Kafka lets a client log in
// again while responses to earlier requests are still on their way (KIP-368).
func TestLoginAgainBetweenFetches(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	fetch := of(12, kmsg.NewPtrFetchRequest())
	authenticate := of(2, kmsg.NewPtrSASLAuthenticateRequest())
	authenticate.SASLAuthBytes = []byte("\x00user\x00password")
	c.write(requestFrames(1, fetch, fetch, handshakeRequest(1, "PLAIN"), fetch, authenticate, fetch, metadataRequest(12)))
	for i, key := range []kmsg.Key{
		kmsg.Fetch, kmsg.Fetch, kmsg.SASLHandshake, kmsg.Fetch, kmsg.SASLAuthenticate, kmsg.Fetch, kmsg.Metadata,
	} {
		s.request(key, int32(i+1))
	}
	answers := []kmsg.Response{
		fetchAnswer(12, []byte("records")), fetchAnswer(12, []byte("records")),
		handshakeAnswer(1, 0), fetchAnswer(12, []byte("records")),
		answerTo(2, kmsg.NewPtrSASLAuthenticateResponse()), fetchAnswer(12, []byte("records")),
	}
	for i, resp := range answers {
		s.answer(int32(i+1), resp)
		c.wants("the answer", answerFrame(int32(i+1), resp))
	}
	s.answer(7, metadataAnswer(12, 0))
	c.receive(7, answerTo(12, kmsg.NewPtrMetadataResponse()))
	finish(t, &l, c, s)
}

// A client that goes back to requests while a token of the broker's is on its way gets kproxy's
// own response behind that token, not inside it.
func TestOwnResponseBehindARawToken(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	handshake(c, s, 1, "GSSAPI")
	passToken(c.peer, s.peer, "\x60ticket")
	answer := token(strings.Repeat("x", 100<<10))
	s.write(answer[:10])
	c.wants("the front of the token", answer[:10])
	c.write(append(apiVersions(2, 99), requestFrame(3, heartbeat())...))
	s.request(kmsg.Heartbeat, 3) // kproxy has responded to the one before, or has queued that
	s.write(append(answer[10:], answerFrame(3, heartbeatAnswer())...))
	c.wants("the rest of the token", answer[10:])
	c.wantUnsupported(2)
	c.receive(3, heartbeatAnswer())
	finish(t, &l, c, s)
}
