package proxy_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// openLoggedIn starts a broker that wants a login and a proxy that has one, and
// opens a session that has had one response.
func (l *lab) openLoggedIn(t *testing.T) (client, brokerConn) {
	t.Helper()
	return l.openLoggedInWith(t, func(*proxy.Config) {})
}

// openLoggedInWith is openLoggedIn with a change of the configuration.
func (l *lab) openLoggedInWith(t *testing.T, change func(*proxy.Config)) (client, brokerConn) {
	t.Helper()
	if l.door == nil {
		l.door = newDoor()
	}
	l.first = l.startBroker(t, 0, 0)
	conf := l.door.logsIn(l.config())
	change(conf)
	l.start(t, conf)
	return l.session(t, l.first)
}

// kproxy logs in before a client's first request goes on, and for its own
// questions too.
func TestLogsInForClients(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openLoggedIn(t)
	l.learned(t, 0)
	if got := l.door.logins.Load(); got != 2 {
		t.Errorf("kproxy logged in %d times, want 2: for its own question and for the client", got)
	}
	framesAgain(c, s, 1)
	finish(t, &l, c, s)
	keepsSecrets(t, &l)
}

// A client's login never reaches the broker, which would take it for another login on the
// connection. The client gets the response of a broker's listener without SASL.
func TestClientsOwnLoginStaysHere(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openLoggedIn(t)
	authenticate := of(2, kmsg.NewPtrSASLAuthenticateRequest())
	authenticate.SASLAuthBytes = []byte("\x00user\x00password")
	c.write(requestFrames(1, handshakeRequest(0, "PLAIN"), handshakeRequest(1, "SCRAM-SHA-256"), authenticate, heartbeat()))
	for id, version := range []int16{0, 1} {
		resp := answerTo(version, kmsg.NewPtrSASLHandshakeResponse())
		c.receive(int32(id+1), resp)
		if got, want := resp.ErrorCode, kerr.IllegalSaslState.Code; got != want {
			t.Errorf("SaslHandshake v%d: got error %d, want %d", version, got, want)
		}
	}
	resp := answerTo(2, kmsg.NewPtrSASLAuthenticateResponse())
	c.receive(3, resp)
	if got, want := resp.ErrorCode, kerr.IllegalSaslState.Code; got != want || resp.ErrorMessage == nil {
		t.Errorf("SaslAuthenticate: got error %d and message %v, want %d and one", got, resp.ErrorMessage, want)
	}
	s.request(kmsg.Heartbeat, 4)
	s.answer(4, heartbeatAnswer())
	c.receive(4, heartbeatAnswer())
	finish(t, &l, c, s)
}

// No client can get credentials of kproxy's own principal.
func TestNobodyMintsLogins(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openLoggedIn(t)
	versions := of(3, kmsg.NewPtrApiVersionsRequest())
	c.send(1, versions)
	s.request(kmsg.ApiVersions, 1)
	all := answerTo(3, kmsg.NewPtrApiVersionsResponse())
	for key := range int16(kmsg.MaxKey + 1) {
		if kmsg.RequestForKey(key) != nil {
			all.ApiKeys = append(all.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: key, MaxVersion: 1})
		}
	}
	s.answer(1, all)
	shown := answerTo(3, kmsg.NewPtrApiVersionsResponse())
	c.receive(1, shown)
	for _, api := range shown.ApiKeys {
		if key := api.ApiKey; key >= 38 && key <= 41 || key == 50 || key == 51 || key == kmsg.Envelope.Int16() {
			t.Errorf("ApiVersions shows %s", kmsg.NameForKey(key))
		}
	}
	if got, want := len(shown.ApiKeys), len(all.ApiKeys)-7; got != want {
		t.Errorf("ApiVersions shows %d APIs, want %d", got, want)
	}

	alter := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	alter.Deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion{{Name: "eve", Mechanism: 1}}
	alter.Upsertions = []kmsg.AlterUserSCRAMCredentialsRequestUpsertion{{Name: "mallory", Mechanism: 2, Iterations: 4096, Salt: []byte("salt"), SaltedPassword: []byte("x")}}
	refused := kerr.ClusterAuthorizationFailed.Code
	for i, req := range []kmsg.Request{
		of(2, kmsg.NewPtrCreateDelegationTokenRequest()), of(1, kmsg.NewPtrRenewDelegationTokenRequest()),
		of(2, kmsg.NewPtrExpireDelegationTokenRequest()), of(3, kmsg.NewPtrDescribeDelegationTokenRequest()),
		kmsg.NewPtrDescribeUserSCRAMCredentialsRequest(), alter,
	} {
		resp := req.ResponseKind()
		c.send(int32(i+2), req)
		c.receive(int32(i+2), resp)
		switch resp := resp.(type) {
		case *kmsg.AlterUserSCRAMCredentialsResponse:
			if len(resp.Results) != 2 || resp.Results[0].User != "eve" || resp.Results[1].User != "mallory" || resp.Results[1].ErrorCode != refused {
				t.Errorf("AlterUserScramCredentials: got %+v", resp.Results)
			}
		default:
			if err := kerr.ErrorForCode(errorOf(resp)); err != kerr.ClusterAuthorizationFailed { //nolint:errorlint // compared by identity
				t.Errorf("%s: got %v", kmsg.NameForKey(req.Key()), err)
			}
		}
	}
	finish(t, &l, c, s)
}

// errorOf reads the error code at the front of a response, or behind its throttle
// time.
func errorOf(resp kmsg.Response) int16 {
	switch resp := resp.(type) {
	case *kmsg.CreateDelegationTokenResponse:
		return resp.ErrorCode
	case *kmsg.RenewDelegationTokenResponse:
		return resp.ErrorCode
	case *kmsg.ExpireDelegationTokenResponse:
		return resp.ErrorCode
	case *kmsg.DescribeDelegationTokenResponse:
		return resp.ErrorCode
	case *kmsg.DescribeUserSCRAMCredentialsResponse:
		return resp.ErrorCode
	default:
		return 0
	}
}

// A client whose kproxy is refused hears so where the protocol lets it, and is
// not reset: it is not a broker that is down.
func TestRefusedAtTheBroker(t *testing.T) {
	t.Parallel()
	var l lab
	l.door = newDoor()
	l.door.wants("another password")
	l.startBroker(t, 0, 0)
	l.start(t, l.door.logsIn(l.config()))
	for _, version := range []int16{0, 3, 5} {
		c := l.dial(t, "bob.test:9092")
		c.send(7, of(version, kmsg.NewPtrApiVersionsRequest()))
		resp := answerTo(version, kmsg.NewPtrApiVersionsResponse())
		c.receive(7, resp)
		if got, want := resp.ErrorCode, kerr.SaslAuthenticationFailed.Code; got != want {
			t.Errorf("ApiVersions v%d: got error %d, want %d", version, got, want)
		}
		c.eof()
		c.close()
		l.ended(t, proxy.BrokerLogin)
	}
	c := l.dial(t, "bob.test:9092")
	c.send(7, metadataRequest(12))
	c.eof()
	l.ended(t, proxy.BrokerLogin)
	l.log.has(t, "reason=broker_login", "Invalid username or password", "fix=")
	keepsSecrets(t, &l)
	health := l.proxy.Health().Clusters[0]
	if health.Up || health.LastError == nil {
		t.Errorf("the cluster's health says %+v, want that the login is refused", health)
	}
}

// A broker that fails during the login is one that is down.
func TestBrokerEndsDuringLogin(t *testing.T) {
	t.Parallel()
	var l lab
	l.door = newDoor()
	l.door.held = make(chan struct{})
	b := l.startBroker(t, 0, 0)
	conf := l.door.logsIn(l.config())
	conf.Clusters[0].ConnectTimeout = 200 * time.Millisecond
	l.start(t, conf)
	c := l.dial(t, "bob.test:9092")
	c.send(7, of(3, kmsg.NewPtrApiVersionsRequest()))
	promptly(t, func() {
		if rest, err := c.ended(); err == nil || len(rest) > 0 {
			t.Errorf("got %d bytes and error %v, want a reset", len(rest), err)
		}
	})
	l.ended(t, proxy.BrokerLogin)
	b.stop()
	close(l.door.held)
}

// A broker that ends the connection at a token has responded before: the fix is about the login, not about the port.
func TestBrokerCutsALogin(t *testing.T) {
	t.Parallel()
	var l lab
	l.door = newDoor()
	l.door.cuts = true
	l.startBroker(t, 0, 0)
	l.start(t, l.door.logsIn(l.config()))
	l.log.has(t, "level=WARN", "no broker has said who the brokers are", "SASLAuthenticate", "fix=", "ended the connection during the login")
	c := l.dial(t, "bob.test:9092")
	c.send(7, of(3, kmsg.NewPtrApiVersionsRequest()))
	_, _ = c.ended()
	l.ended(t, proxy.BrokerLogin)
	l.log.has(t, "reason=broker_login", "SASLAuthenticate", "fix=", "ended the connection during the login")
}

// Frames that no broker sends end a login at once.
func TestLoginAnsweredByNonsense(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	for _, nonsense := range [][]byte{
		{0, 0, 0, 0, 0, 0, 0, 1},
		{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1},
		append([]byte{0, 0, 0, 10, 0, 0, 0, 9}, make([]byte, 6)...),
		append([]byte{0, 0, 0, 10, 0, 0, 0, 1, 0, 0}, 0x7f, 0xff, 0xff, 0xff),
	} {
		var l lab
		ln, err := l.vpc.ListenAs(t.Context(), brokerName(0))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Write(nonsense)
				t.Cleanup(func() { _ = conn.Close() })
			}
		}()
		t.Cleanup(func() { _ = ln.Close() })
		l.start(t, newDoor().logsIn(l.config()))
		c := l.dial(t, "bob.test:9092")
		c.send(7, metadataRequest(12))
		promptly(t, func() { _, _ = c.ended() })
		l.ended(t, proxy.BrokerLogin)
	}
}
