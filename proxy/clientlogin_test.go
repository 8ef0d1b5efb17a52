package proxy_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"kproxy/internal/auth"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

const alicesPassword = "in=wonder,land"

// usersFile is one with alice, who has both hashes, and bob, who has one.
func usersFile(t *testing.T) string {
	t.Helper()
	var all string
	for _, u := range []struct{ user, password, mechanism string }{
		{"alice", alicesPassword, auth.ScramSHA256}, {"alice", alicesPassword, auth.ScramSHA512}, {"bob", "builder", auth.ScramSHA512}, {"a=b,c", "x", auth.ScramSHA256},
	} {
		line, err := auth.UserLine(u.user, u.password, u.mechanism, auth.MinIterations)
		if err != nil {
			t.Fatal(err)
		}
		all += line + "\n"
	}
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte("# who may come in\n\n"+all), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// startWithLogin starts a broker, and a proxy whose clients have to log in.
func (l *lab) startWithLogin(t *testing.T) {
	t.Helper()
	l.first = l.startBroker(t, 0, 0)
	conf := l.config()
	for i := range conf.Clusters[0].Listeners {
		conf.Clusters[0].Listeners[i].Login = &config.Login{Mechanisms: auth.UserMechanisms(), UsersFile: usersFile(t)}
	}
	l.start(t, conf)
	l.learned(t, 0) // by a question of the proxy's own, which broker.sessions does not count
}

// loginOf is a login as a client begins it.
func loginOf(t *testing.T, mechanism, user, password, authzID string) (sasl.Session, []byte) {
	t.Helper()
	by := plain.Auth{User: user, Pass: password, Zid: authzID}.AsMechanism()
	switch credentials := (scram.Auth{User: user, Pass: password, Zid: authzID}); mechanism {
	case auth.ScramSHA256:
		by = credentials.AsSha256Mechanism()
	case auth.ScramSHA512:
		by = credentials.AsSha512Mechanism()
	}
	session, token, err := by.Authenticate(context.Background(), "kproxy:9092")
	if err != nil {
		t.Fatal(err)
	}
	return session, token
}

// choose sends SaslHandshake, and returns the error that it is answered with.
func (c client) choose(correlationID int32, version int16, mechanism string) int16 {
	c.t.Helper()
	c.send(correlationID, handshakeRequest(version, mechanism))
	resp := answerTo(version, kmsg.NewPtrSASLHandshakeResponse())
	c.receive(correlationID, resp)
	return resp.ErrorCode
}

// logIn moves a whole login, with SaslAuthenticate at a version, or, below 0, by raw
// tokens. It returns the error code and message of a refusal.
func (c client) logIn(session sasl.Session, token []byte, mechanism string, version int16) (code int16, message string) {
	c.t.Helper()
	if code := c.choose(1, min(version+1, 1), mechanism); code != 0 {
		return code, ""
	}
	for done := false; !done; {
		var answer []byte
		if version < 0 {
			c.write(append([]byte{0, 0, byte(len(token) >> 8), byte(len(token))}, token...))
			answer = c.frame()[4:]
		} else {
			req := of(version, kmsg.NewPtrSASLAuthenticateRequest())
			req.SASLAuthBytes = token
			resp := answerTo(version, kmsg.NewPtrSASLAuthenticateResponse())
			c.send(2, req)
			c.receive(2, resp)
			if resp.ErrorCode != 0 {
				return resp.ErrorCode, *resp.ErrorMessage
			}
			answer = resp.SASLAuthBytes
		}
		var err error
		if done, token, err = session.Challenge(answer); err != nil {
			c.t.Fatal(err)
		}
	}
	return 0, ""
}

// served has a client that has logged in ask something, and the broker answer.
func (l *lab) served(t *testing.T, c client) brokerConn {
	t.Helper()
	c.send(0, heartbeat())
	s := l.first.take()
	s.request(kmsg.Heartbeat, 0)
	s.answer(0, heartbeatAnswer())
	c.receive(0, heartbeatAnswer())
	return s
}

// versionsBeforeLogin asks for ApiVersions, as clients do before they log in.
func (c client) versionsBeforeLogin(version int16) {
	c.t.Helper()
	c.send(9, of(version, kmsg.NewPtrApiVersionsRequest()))
	resp := answerTo(version, kmsg.NewPtrApiVersionsResponse())
	c.receive(9, resp)
	if resp.ErrorCode != 0 || len(resp.ApiKeys) != 4 || resp.ApiKeys[0].MaxVersion != 13 || resp.ApiKeys[1].MinVersion != 0 {
		c.t.Errorf("ApiVersions v%d: got %+v, want the versions that both the broker and kproxy support, and kproxy's own of SaslHandshake", version, resp)
	}
}

// Nothing goes to a broker until a client has logged in, in any of the ways that
// Kafka has.
func TestClientsLogIn(t *testing.T) {
	t.Parallel()
	var l lab
	l.startWithLogin(t)
	for _, mechanism := range auth.UserMechanisms() {
		for version := int16(-1); version <= 2; version++ {
			t.Run(fmt.Sprint(mechanism, version), func(t *testing.T) {
				dialled := l.first.sessions()
				c := l.dial(t, "bob.test:9092")
				for v := range int16(6) {
					c.versionsBeforeLogin(v)
				}
				session, token := loginOf(t, mechanism, "alice", alicesPassword, "")
				if n := l.first.sessions(); n != dialled {
					t.Errorf("the broker is dialled before the login")
				}
				if code, message := c.logIn(session, token, mechanism, version); code != 0 {
					t.Fatalf("refused: %d %s", code, message)
				}
				s := l.served(t, c)
				framesAgain(c, s, 3)
				finish(t, &l, c, s)
			})
		}
	}
	l.log.has(t, "user=alice", "reason=client_closed")
}

// Other names and asking for one's own rights are as good.
func TestUsersByOtherNames(t *testing.T) {
	t.Parallel()
	var l lab
	l.startWithLogin(t)
	for _, tt := range []struct{ mechanism, user, password, authzID string }{
		{auth.ScramSHA256, "a=b,c", "x", ""}, {auth.Plain, "a=b,c", "x", "a=b,c"}, {auth.Plain, "bob", "builder", ""},
	} {
		c := l.dial(t, "bob.test:9092")
		session, token := loginOf(t, tt.mechanism, tt.user, tt.password, tt.authzID)
		if code, message := c.logIn(session, token, tt.mechanism, 2); code != 0 {
			t.Errorf("%+v: refused: %d %s", tt, code, message)
		}
		finish(t, &l, c, l.served(t, c))
	}
}

// A refusal does not show whether the user exists.
func TestRefusedUsers(t *testing.T) {
	t.Parallel()
	var l lab
	l.startWithLogin(t)
	for _, tt := range []struct{ mechanism, user, password, authzID, want string }{
		{auth.Plain, "alice", "x", "", "Authentication failed: Invalid username or password"},
		{auth.Plain, "nobody", "x", "", "Authentication failed: Invalid username or password"},
		{auth.Plain, "alice", alicesPassword, "bob", "Authentication failed: Invalid username or password"},
		{auth.ScramSHA256, "alice", "x", "", "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256"},
		{auth.ScramSHA256, "bob", "builder", "", "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256"},
		{auth.ScramSHA512, "nobody", "x", "", "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512"},
		{auth.ScramSHA512, "alice", alicesPassword, "bob", "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512"},
	} {
		c := l.dial(t, "bob.test:9092")
		session, token := loginOf(t, tt.mechanism, tt.user, tt.password, tt.authzID)
		code, message := c.logIn(session, token, tt.mechanism, 2)
		if code != kerr.SaslAuthenticationFailed.Code || message != tt.want {
			t.Errorf("%s as %s: got %d %q, want %q", tt.mechanism, tt.user, code, message, tt.want)
		}
		c.eof()
		c.close()
		l.ended(t, proxy.ClientLogin)
	}
	for _, token := range []string{"", "\x00", "\x00alice\x00x", "alice", "\x00\x00\x00", string(make([]byte, 1000))} {
		c := l.dial(t, "bob.test:9092")
		c.choose(1, 0, auth.Plain)
		c.write(append([]byte{0, 0, byte(len(token) >> 8), byte(len(token))}, token...))
		c.eof()
		c.close()
		l.ended(t, proxy.ClientLogin)
	}
	if n := l.first.sessions(); n > 0 {
		t.Errorf("the broker was dialled %d times", n)
	}
	if l.log.count(alicesPassword) > 0 {
		t.Error("the log has a password")
	}
}

// Bytes that are no login end the session, and never reach a broker.
func TestNoLoginButSomethingElse(t *testing.T) {
	t.Parallel()
	authenticate := of(2, kmsg.NewPtrSASLAuthenticateRequest())
	for name, tt := range map[string]struct {
		frames []byte
		want   proxy.CloseReason
		answer bool
	}{
		"a request":             {requestFrame(1, metadataRequest(12)), proxy.ClientLogin, false},
		"an acks=0 produce":     {requestFrame(1, produceRequest(9, 0, "", []byte("r"))), proxy.ClientLogin, false},
		"a token alone":         {requestFrame(1, authenticate), proxy.ClientLogin, true},
		"another mechanism":     {requestFrame(1, handshakeRequest(1, "GSSAPI")), proxy.ClientLogin, true},
		"a handshake too new":   {[]byte{0, 0, 0, 10, 0, 17, 0, 9, 0, 0, 0, 1, 0, 0}, proxy.UnsupportedVersion, false},
		"a token too new":       {[]byte{0, 0, 0, 11, 0, 36, 0, 9, 0, 0, 0, 1, 0, 0, 0}, proxy.UnsupportedVersion, false},
		"an unknown api":        {[]byte{0, 0, 0, 10, 0x60, 0, 0, 0, 0, 0, 0, 1, 0, 0}, proxy.ClientLogin, false},
		"a handshake of lies":   {[]byte{0, 0, 0, 12, 0, 17, 0, 1, 0, 0, 0, 1, 0, 0, 0x7f, 0xff}, proxy.BadRequest, false},
		"a request of 1 MiB":    {[]byte{0, 0x10, 0, 0, 0, 17, 0, 1, 0, 0, 0, 1, 0, 0}, proxy.RequestTooLarge, false},
		"two handshakes":        {requestFrames(1, handshakeRequest(1, "PLAIN"), handshakeRequest(1, "PLAIN")), proxy.ClientLogin, true},
		"a handshake and a lie": {append(requestFrame(1, handshakeRequest(0, "PLAIN")), 0x7f, 0, 0, 0), proxy.BadRequest, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l lab
			l.startWithLogin(t)
			c := l.dial(t, "bob.test:9092")
			c.write(tt.frames)
			rest, err := c.ended()
			if answered := len(rest) > 0; answered != tt.answer || err != nil && tt.want == proxy.ClientLogin {
				t.Errorf("got %d bytes and the end %v, want an answer: %t", len(rest), err, tt.answer)
			}
			c.close()
			l.ended(t, tt.want)
			if n := l.first.sessions(); n > 0 {
				t.Errorf("the broker was dialled %d times", n)
			}
		})
	}
}

// A client may send everything at once, or byte by byte.
func TestLoginInOneGo(t *testing.T) {
	t.Parallel()
	var l lab
	l.startWithLogin(t)
	authenticate := of(2, kmsg.NewPtrSASLAuthenticateRequest())
	authenticate.SASLAuthBytes = []byte("\x00alice\x00" + alicesPassword)
	frames := requestFrames(1, of(3, kmsg.NewPtrApiVersionsRequest()), handshakeRequest(1, "PLAIN"), authenticate, heartbeat())
	for _, write := range []func(c client) error{
		func(c client) error { return c.tryWrite(frames) },
		func(c client) error { return c.tryWriteBytes(frames) },
	} {
		c := l.dial(t, "bob.test:9092")
		if err := write(c); err != nil {
			t.Fatal(err)
		}
		s := l.first.take()
		s.request(kmsg.Heartbeat, 4)
		s.answer(4, heartbeatAnswer())
		c.receive(1, answerTo(3, kmsg.NewPtrApiVersionsResponse()))
		c.receive(2, answerTo(1, kmsg.NewPtrSASLHandshakeResponse()))
		c.receive(3, answerTo(2, kmsg.NewPtrSASLAuthenticateResponse()))
		c.receive(4, heartbeatAnswer())
		finish(t, &l, c, s)
	}
}

// A client that logs in again is answered here, in its turn, and stays who it is.
func TestClientLogsInAgain(t *testing.T) {
	t.Parallel()
	var l lab
	l.startWithLogin(t)
	c := l.dial(t, "bob.test:9092")
	session, token := loginOf(t, auth.Plain, "alice", alicesPassword, "")
	c.logIn(session, token, auth.Plain, 2)
	s := l.served(t, c)
	c.send(5, heartbeat())
	s.request(kmsg.Heartbeat, 5)
	authenticate := of(2, kmsg.NewPtrSASLAuthenticateRequest())
	authenticate.SASLAuthBytes = token
	c.write(requestFrames(6, handshakeRequest(1, "PLAIN"), authenticate, heartbeat()))
	s.request(kmsg.Heartbeat, 8)
	c.silent()
	s.answer(5, heartbeatAnswer())
	c.receive(5, heartbeatAnswer())
	c.receive(6, answerTo(1, kmsg.NewPtrSASLHandshakeResponse()))
	resp := answerTo(2, kmsg.NewPtrSASLAuthenticateResponse())
	c.receive(7, resp)
	if resp.ErrorCode != 0 {
		t.Errorf("refused: %s", *resp.ErrorMessage)
	}
	s.answer(8, heartbeatAnswer())
	c.receive(8, heartbeatAnswer())

	_, token = loginOf(t, auth.Plain, "bob", "builder", "")
	authenticate.SASLAuthBytes = token
	c.send(9, heartbeat())
	s.request(kmsg.Heartbeat, 9)
	c.write(requestFrames(10, handshakeRequest(1, "PLAIN"), authenticate))
	c.silentFor(300 * time.Millisecond) // longer than the response to a wrong login is held back
	s.answer(9, heartbeatAnswer())
	c.receive(9, heartbeatAnswer()) // the end waits for the outstanding response
	c.receive(10, answerTo(1, kmsg.NewPtrSASLHandshakeResponse()))
	c.receive(11, resp)
	if resp.ErrorCode != kerr.SaslAuthenticationFailed.Code {
		t.Errorf("another user: got %d", resp.ErrorCode)
	}
	c.eof()
	c.close()
	l.ended(t, proxy.ClientLogin)
}

// SaslHandshake v0 has no place between requests.
func TestNoRawTokensAfterALogin(t *testing.T) {
	t.Parallel()
	var l lab
	l.startWithLogin(t)
	c := l.dial(t, "bob.test:9092")
	session, token := loginOf(t, auth.Plain, "alice", alicesPassword, "")
	c.logIn(session, token, auth.Plain, 2)
	l.served(t, c)
	if got, want := c.choose(1, 0, auth.Plain), kerr.IllegalSaslState.Code; got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	c.eof()
	c.close()
	l.ended(t, proxy.ClientLogin)
}

// Half a login is waited for as long as a first request.
func TestLoginInTime(t *testing.T) {
	t.Parallel()
	var l lab
	l.first = l.startBroker(t, 0, 0)
	conf := l.config()
	conf.FirstRequestTimeout = time.Second
	conf.Clusters[0].Listeners[0].Login = &config.Login{Mechanisms: auth.UserMechanisms(), UsersFile: usersFile(t)}
	l.start(t, conf)
	for _, version := range []int16{0, 1} {
		c := l.dial(t, "bob.test:9092")
		c.choose(1, version, auth.ScramSHA256)
		c.eof()
		c.close()
		l.ended(t, proxy.ClientLogin)
	}
}

// A client that resets its connection inside its login is no health check.
func TestResetInsideALogin(t *testing.T) {
	t.Parallel()
	var l lab
	l.startWithLogin(t)
	c := l.dial(t, "bob.test:9092")
	c.choose(1, 1, auth.ScramSHA256)
	c.reset()
	l.ended(t, proxy.ClientReset)
}

// A drain does not wait for a login.
func TestDrainDuringClientLogin(t *testing.T) {
	t.Parallel()
	var l lab
	l.startWithLogin(t)
	c := l.dial(t, "bob.test:9092")
	c.choose(1, 1, auth.ScramSHA256)
	promptly(t, func() {
		if cut := l.proxy.Shutdown(t.Context()); cut != 0 {
			t.Errorf("%d sessions were cut", cut)
		}
	})
	l.ended(t, proxy.Drained)
}

// The brokers of a cluster that cannot be reached are so before a login too.
func TestNoBrokerBeforeLogin(t *testing.T) {
	t.Parallel()
	var l lab
	l.startWithLogin(t)
	l.learned(t, 0)
	l.first.stop()
	c := l.dial(t, "bob.test:9092")
	c.send(1, of(3, kmsg.NewPtrApiVersionsRequest()))
	if _, err := c.ended(); err == nil {
		t.Error("got an orderly end, want a reset")
	}
	l.ended(t, proxy.DialFailed)
}

// A users file that is not valid is found without a login, and so is its end.
func TestUsersFileThatIsNotValid(t *testing.T) {
	t.Parallel()
	var l lab
	l.startBroker(t, 0, 0)
	conf := l.config()
	conf.WatchInterval = 5 * time.Millisecond
	file := usersFile(t)
	conf.Clusters[0].Listeners[0].Login = &config.Login{Mechanisms: []string{auth.ScramSHA512}, UsersFile: file}
	l.start(t, conf)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, step := range []struct {
		content string
		want    []string
	}{{"rubbish", []string{"clusters.orders.listeners.bob.login.users_file"}}, {string(good), nil}} {
		content, want := step.content, step.want
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); ; <-tick.C {
			stale, listeners := l.proxy.Health().Clusters[0].Stale, l.proxy.Stats().Clusters[0].Listeners
			if slices.Equal(stale, want) && listeners[0].UsersStale != nil && *listeners[0].UsersStale == (want != nil) && listeners[1].UsersStale == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("stale: %v, %+v, want %v", stale, listeners, want)
			}
		}
	}
}

// Both logins are each other's strangers: alice's is kproxy's matter, kproxy's own
// the broker's.
func TestBothLogins(t *testing.T) {
	t.Parallel()
	var l lab
	l.door = newDoor()
	l.first = l.startBroker(t, 0, 0)
	conf := l.door.logsIn(l.config())
	conf.Clusters[0].Listeners[0].Login = &config.Login{Mechanisms: []string{auth.ScramSHA512}, UsersFile: usersFile(t)}
	l.start(t, conf)
	c := l.dial(t, "bob.test:9092")
	c.versionsBeforeLogin(3)
	session, token := loginOf(t, auth.ScramSHA512, "alice", alicesPassword, "")
	if code, message := c.logIn(session, token, auth.ScramSHA512, 2); code != 0 {
		t.Fatalf("refused: %d %s", code, message)
	}
	s := l.served(t, c)
	framesAgain(c, s, 3)
	finish(t, &l, c, s)
	c = l.dial(t, "localhost:39092") // no login there
	finish(t, &l, c, l.served(t, c))
}
