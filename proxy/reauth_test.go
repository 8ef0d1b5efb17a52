package proxy_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// openExpiring is openLoggedIn at a broker whose logins expire, so that kproxy
// logs in again as often as it may: once a second.
func (l *lab) openExpiring(t *testing.T) (client, brokerConn) {
	t.Helper()
	return l.openExpiringAfter(t, time.Millisecond)
}

// openExpiringAfter is openExpiring, where the first login expires after that long.
func (l *lab) openExpiringAfter(t *testing.T, lifetime time.Duration) (client, brokerConn) {
	t.Helper()
	l.door = newDoor()
	l.door.lifetime = lifetime.Milliseconds()
	return l.openLoggedIn(t)
}

// openExpiringWith is openExpiring with a change of the configuration.
func (l *lab) openExpiringWith(t *testing.T, change func(*proxy.Config)) (client, brokerConn) {
	t.Helper()
	l.door = newDoor()
	l.door.lifetime = 1
	return l.openLoggedInWith(t, change)
}

// again has the broker take the login that comes next on the connection.
func (l *lab) again(t *testing.T, s brokerConn) {
	t.Helper()
	if !l.door.loginFrames(s) {
		t.Fatal("kproxy does not log in again")
	}
}

// lastAgain is again for a login that does not expire: no other comes.
func (l *lab) lastAgain(t *testing.T, s brokerConn) {
	t.Helper()
	l.door.lifetime = 0
	l.again(t, s)
}

// A client that is silent keeps its connection, and notices nothing.
func TestLogsInAgainWhileTheClientIsIdle(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openExpiring(t)
	l.again(t, s)
	l.again(t, s)
	l.lastAgain(t, s)
	framesAgain(c, s, 1)
	finish(t, &l, c, s)
	keepsSecrets(t, &l)
}

// A client that never pauses is stopped between two requests, and gets every
// answer in order.
func TestLogsInAgainBetweenPipelinedRequests(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openExpiring(t)
	stop, sent := make(chan struct{}), make(chan int32)
	go func() {
		id := int32(1)
		defer func() { sent <- id - 1 }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			if c.tryWrite(requestFrames(id, heartbeat(), metadataRequest(12), heartbeat())) != nil {
				return
			}
			id += 3
		}
	}()
	got := make(chan int32)
	go func() {
		n := int32(0)
		for {
			frame, err := c.tryFrame()
			if err != nil || int32(binary.BigEndian.Uint32(frame[4:])) != n+1 {
				got <- n
				return
			}
			n++
		}
	}()
	logins := 0
	answered := int32(0)
	for logins < 3 {
		r, err := s.tryRequest()
		if err != nil {
			t.Fatal(err)
		}
		if r.Key == kmsg.SASLHandshake.Int16() {
			if !bytes.HasPrefix(r.ClientID, []byte("kproxy")) {
				t.Fatalf("a handshake of %s", r.ClientID)
			}
			// Whatever the client has sent meanwhile: the next frame is the token.
			s.answer(r.CorrelationID, handshakeAnswer(1, 0))
			authenticate := s.request(kmsg.SASLAuthenticate, r.CorrelationID)
			if logins == 2 {
				l.door.lifetime = 0 // the last one
			}
			resp, good := l.door.judge(authenticate)
			if !good {
				t.Fatal("not the password")
			}
			s.answer(r.CorrelationID, resp)
			if logins++; logins == 3 {
				close(stop)
			}
			continue
		}
		if answered++; r.CorrelationID != answered {
			t.Fatalf("got request %d where %d is next", r.CorrelationID, answered)
		}
		answerAny(s, r)
	}
	go func() { // reads the rest, until the client ends
		for {
			r, err := s.tryRequest()
			if err != nil {
				s.close()
				return
			}
			answerAny(s, r)
		}
	}()
	n := <-sent
	c.closeWrite()
	if received := <-got; received != n {
		t.Errorf("the client has %d answers in order, want %d", received, n)
	}
	c.close()
	l.ended(t, proxy.ClientClosed)
}

// answerAny answers a heartbeat, or a request for metadata.
func answerAny(s brokerConn, r request) {
	if r.Key == kmsg.Metadata.Int16() {
		_ = s.tryWrite(answerFrame(r.CorrelationID, metadataAnswer(12, 0)))
		return
	}
	_ = s.tryWrite(answerFrame(r.CorrelationID, heartbeatAnswer()))
}

// dueAfter is the lifetime of a login for tests that have to do something before the next login
// is due, which is 0.7 to 0.8 of that later.
const dueAfter = 3 * time.Second

// A group's JoinGroup may be held for minutes. The login comes after its response, and the
// client's next request after the login.
func TestLogsInAgainBehindHeldJoinGroup(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openExpiringAfter(t, dueAfter)
	join := of(9, kmsg.NewPtrJoinGroupRequest())
	c.send(1, join)
	s.request(kmsg.JoinGroup, 1)
	time.Sleep(dueAfter) //nolint:forbidigo // the login is due by now, and nothing shows it
	c.send(2, heartbeat())
	s.silent()
	s.answer(1, answerTo(9, kmsg.NewPtrJoinGroupResponse()))
	c.receive(1, answerTo(9, kmsg.NewPtrJoinGroupResponse()))
	shake := s.request(kmsg.SASLHandshake, 1)
	s.answer(shake.CorrelationID, handshakeAnswer(1, 0))
	authenticate := s.request(kmsg.SASLAuthenticate, 1)
	s.silent()
	l.door.lifetime = 0
	resp, _ := l.door.judge(authenticate)
	s.answer(1, resp)
	s.request(kmsg.Heartbeat, 2)
	s.answer(2, heartbeatAnswer())
	c.receive(2, heartbeatAnswer())
	finish(t, &l, c, s)
}

// A request that has begun is forwarded to its end first.
func TestLogsInAgainBehindHalfARequest(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openExpiringAfter(t, dueAfter)
	produce := produceRequest(9, 1, "", bytes.Repeat([]byte("r"), 200<<10))
	frame := requestFrame(1, produce)
	c.write(frame[:100<<10])
	time.Sleep(dueAfter) //nolint:forbidigo // the login is due by now, and nothing shows it
	c.write(frame[100<<10:])
	s.request(kmsg.Produce, 1)
	s.answer(1, answerTo(9, kmsg.NewPtrProduceResponse()))
	c.receive(1, answerTo(9, kmsg.NewPtrProduceResponse()))
	l.lastAgain(t, s)
	finish(t, &l, c, s)
}

// A broker that refuses the login ends the session. Its outstanding responses have been
// delivered, and the log has the fix.
func TestRefusedToLogInAgain(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openExpiring(t)
	l.door.wants("another password")
	if l.door.loginFrames(s) {
		t.Fatal("it was taken")
	}
	promptly(t, c.eof)
	c.close()
	l.ended(t, proxy.BrokerLogin)
	l.log.has(t, "reason=broker_login", "Invalid username or password", "fix=")
	keepsSecrets(t, &l)
}

// A broker may close at once behind its refusal. Its words are not lost with that.
func TestRefusedAndClosedWhenLoggingInAgain(t *testing.T) {
	t.Parallel()
	for i := range 5 { // either pump may be the first to notice
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			var l lab
			c, s := l.openExpiring(t)
			shake := s.request(kmsg.SASLHandshake, 1)
			s.answer(shake.CorrelationID, handshakeAnswer(1, 0))
			authenticate := s.request(kmsg.SASLAuthenticate, 1)
			l.door.wants("another password")
			resp, _ := l.door.judge(authenticate)
			s.answer(1, resp)
			s.close()
			promptly(t, c.eof)
			c.close()
			l.ended(t, proxy.BrokerLogin)
			l.log.has(t, "reason=broker_login", "Invalid username or password", "fix=")
		})
	}
}

// A broker that closes behind a login that it has taken is a broker that closes.
func TestClosedBehindALoginAgain(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openExpiring(t)
	l.again(t, s)
	s.close()
	promptly(t, c.eof)
	c.close()
	l.ended(t, proxy.BrokerClosed)
}

func TestBrokerEndsWhenLoggedInAgain(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openExpiring(t)
	s.request(kmsg.SASLHandshake, 1)
	s.close()
	promptly(t, c.eof)
	c.close()
	l.ended(t, proxy.BrokerLogin)
	l.log.has(t, "reason=broker_login", "logged in again")
}

// Responses that no broker gives end the session at once, for the reason that they
// are.
func TestNonsenseWhenLoggedInAgain(t *testing.T) {
	t.Parallel()
	token := func(n int) []byte {
		resp := answerTo(1, kmsg.NewPtrSASLAuthenticateResponse())
		resp.SASLAuthBytes = make([]byte, n)
		return answerFrame(1, resp)
	}
	for name, tt := range map[string]struct {
		answer []byte
		want   proxy.CloseReason
	}{
		"another correlation id": {answerFrame(2, handshakeAnswer(1, 0)), proxy.UnexpectedAnswer},
		"a token of 1 MiB":       {token(1 << 20), proxy.BadAnswer},
		"an answer without end":  {[]byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1}, proxy.BadAnswer},
		"an empty answer":        {[]byte{0, 0, 0, 4, 0, 0, 0, 1}, proxy.BrokerLogin},
		"another mechanism":      {answerFrame(1, handshakeAnswer(1, kerr.UnsupportedSaslMechanism.Code)), proxy.BrokerLogin},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l lab
			c, s := l.openExpiring(t)
			s.request(kmsg.SASLHandshake, 1)
			_ = s.tryWrite(tt.answer) // kproxy may close behind its size
			promptly(t, c.eof)
			c.close()
			l.ended(t, tt.want)
		})
	}
}

// Who drains the session does not wait for a login, nor lose one that has begun.
func TestDrainDuringLogin(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openExpiring(t)
	shake := s.request(kmsg.SASLHandshake, 1)
	done := make(chan int)
	go func() { done <- l.proxy.Shutdown(t.Context()) }()
	s.silent()
	s.answer(shake.CorrelationID, handshakeAnswer(1, 0))
	resp, _ := l.door.judge(s.request(kmsg.SASLAuthenticate, 1))
	s.answer(1, resp)
	s.eof()
	s.close()
	c.eof()
	c.close()
	if cut := <-done; cut != 0 {
		t.Errorf("%d sessions were cut", cut)
	}
	l.ended(t, proxy.Drained)
}

// A cut ends one in the middle.
func TestCutDuringLogin(t *testing.T) {
	t.Parallel()
	var l lab
	_, s := l.openExpiringWith(t, func(conf *proxy.Config) { conf.DrainTimeout = moment })
	s.request(kmsg.SASLHandshake, 1)
	promptly(t, func() {
		if cut := l.proxy.Shutdown(t.Context()); cut != 1 {
			t.Errorf("%d sessions were cut, want 1", cut)
		}
	})
}

// A broker that does not answer the login ends the session after connect_timeout.
func TestSilentWhenLoggingInAgain(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openExpiringWith(t, func(conf *proxy.Config) { conf.Clusters[0].ConnectTimeout = 2 * time.Second })
	s.request(kmsg.SASLHandshake, 1)
	c.eof()
	c.close()
	l.ended(t, proxy.BrokerLogin)
	l.log.has(t, "reason=broker_login", "has not answered within 2s", "fix=")
}

// A login does not make an idle session busy.
func TestIdleInSpiteOfLogins(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openExpiringWith(t, func(conf *proxy.Config) { conf.IdleTimeout = 1500 * time.Millisecond })
	for l.door.loginFrames(s) {
	}
	s.close()
	c.eof()
	c.close()
	l.ended(t, proxy.IdleTimeout)
}

// While kproxy logs in, it does not read the client. A client that has sent a request meanwhile is
// not idle.
func TestNotIdleBehindALogin(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openExpiringWith(t, func(conf *proxy.Config) { conf.IdleTimeout = 1500 * time.Millisecond })
	shake := s.request(kmsg.SASLHandshake, 1)
	c.write(requestFrames(7, heartbeat()))
	s.silentFor(time.Second) // a sweep asks whether the session is idle
	l.door.lifetime = 0
	s.answer(shake.CorrelationID, handshakeAnswer(1, 0))
	resp, _ := l.door.judge(s.request(kmsg.SASLAuthenticate, 1))
	s.answer(1, resp)
	s.request(kmsg.Heartbeat, 7)
	s.answer(7, heartbeatAnswer())
	c.receive(7, heartbeatAnswer())
	finish(t, &l, c, s)
}

// The secret of a login may be missing for a while.
func TestSecretIsMissingForAWhile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	put := func() {
		if err := os.WriteFile(file, []byte(secretPassword), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put()
	var l lab
	c, s := l.openExpiringWith(t, func(conf *proxy.Config) { conf.Clusters[0].SASL.Password = config.Secret{File: file} })
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	l.log.has(t, "level=WARN", "cannot prepare the next login", file)
	framesAgain(c, s, 1)
	put()
	l.lastAgain(t, s)
	framesAgain(c, s, 2)
	finish(t, &l, c, s)
}
