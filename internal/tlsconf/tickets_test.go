package tlsconf

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	"kproxy/internal/certlab"
)

// resumer is a client that keeps its tickets, and comes back with them.
func (l *lab) resumer(version uint16) *tls.Config {
	config := l.client()
	config.MaxVersion = version
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	return config
}

func (l *lab) keyFile(t *testing.T, name string, b byte) string {
	t.Helper()
	return l.folder.Write(t, name, bytes.Repeat([]byte{b}, ticketKeySize))
}

// with is the lab's configuration, changed.
func (l *lab) with(change func(*ServerConfig)) ServerConfig {
	c := l.config
	change(&c)
	return c
}

// TestTickets lets a client get a ticket from one server and use it at another.
func TestTickets(t *testing.T) {
	l := newLab(t)
	one, two, short := l.keyFile(t, "one", 1), l.keyFile(t, "two", 2), l.folder.Write(t, "other", bytes.Repeat([]byte{3}, 80))
	// The present authority of clients also signed the app's CA: its certificate verifies
	// by both, and only the ticket's binding distinguishes them.
	bundle := l.folder.Write(t, "bundle.pem", append(bytes.Clone(l.clients.PEM), certlab.NewAuthority(t, "more clients").PEM...))
	keys := func(files ...string) func(*ServerConfig) { return func(c *ServerConfig) { c.TicketKeys = files } }
	for _, row := range []struct {
		name     string
		from, to func(*ServerConfig) // to nil: the same server
		resumed  bool
	}{
		{"the same listener", keys(), nil, true},
		{"the same listener with key files", keys(one), nil, true},
		{"another process", keys(), keys(), false},
		{"a replica", keys(one), keys(one), true},
		{"a replica with the next key first", keys(one), keys(two, one), true},
		{"a replica that has forgotten the key", keys(one), keys(two), false},
		{"a replica with a longer key", keys(short), keys(short, one), true},
		{"another listener with the same key", keys(one), func(c *ServerConfig) { c.TicketKeys, c.Name = []string{one}, "orders/inner" }, false},
		{"other client authorities with the same key", keys(one), func(c *ServerConfig) { c.TicketKeys, c.ClientCA = []string{one}, bundle }, false},
	} {
		for version, number := range versions {
			t.Run(row.name+" "+version, func(t *testing.T) {
				from := mustServer(t, l.with(row.from), Events{})
				to := from
				if row.to != nil {
					to = mustServer(t, l.with(row.to), Events{})
				}
				config := l.resumer(number)
				if mustMeet(t, from, config).serverState.DidResume {
					t.Fatal("a first connection is resumed")
				}
				second := mustMeet(t, to, config)
				if got := second.serverState.DidResume; got != row.resumed {
					t.Errorf("resumed %t, want %t", got, row.resumed)
				}
				if got, want := second.serverState.PeerCertificates[0].Subject.CommonName, "app-1"; got != want {
					t.Errorf("client %q, want %q", got, want)
				}
			})
		}
	}
}

func TestResumedClientWhoseSubjectIsNoLongerAllowed(t *testing.T) {
	l := newLab(t)
	l.config.TicketKeys = []string{l.keyFile(t, "one", 1)}
	before := mustServer(t, l.config, Events{})
	after := mustServer(t, l.with(func(c *ServerConfig) { c.Subjects = []string{"CN=web-*"} }), Events{})
	for version, number := range versions {
		t.Run(version, func(t *testing.T) {
			config := l.resumer(number)
			mustMeet(t, before, config)
			m := meet(t, always(after), config)
			wantFailure(t, m.server, SubjectRefused)
			if !strings.Contains(m.server.Error(), "CN=app-1,O=example") {
				t.Errorf("error %q does not tell the subject", m.server)
			}
			wantAlert(t, m.client, 42)
		})
	}
}

func TestTicketFromBeforeTheClientCAWasReplaced(t *testing.T) {
	for name, shared := range map[string]bool{"own keys": false, "key files": true} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			if shared {
				l.config.TicketKeys = []string{l.keyFile(t, "one", 1)}
			}
			s := mustServer(t, l.config, Events{})
			config := l.resumer(tls.VersionTLS13)
			mustMeet(t, s, config)

			next := certlab.NewAuthority(t, "clients") // of the same name, with another key
			l.folder.Write(t, "clients.pem", next.PEM)
			if err := s.Reload(); err != nil {
				t.Fatal(err)
			}
			wantFailure(t, meet(t, always(s), config).server, Untrusted)

			config.GetClientCertificate = show(next.Issue(t, nil, "app-1"))
			if mustMeet(t, s, config).serverState.DidResume {
				t.Error("resumed by a ticket from before")
			}
		})
	}
}

// TestTicketFromBeforeAClientCAWasAdded has a client whose own CA stays: its certificate
// would verify, and it still needs a full handshake.
func TestTicketFromBeforeAClientCAWasAdded(t *testing.T) {
	l := newLab(t)
	s := mustServer(t, l.config, Events{})
	config := l.resumer(tls.VersionTLS13)
	mustMeet(t, s, config)
	l.folder.Write(t, "clients.pem", append(bytes.Clone(l.clients.PEM), certlab.NewAuthority(t, "more clients").PEM...))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if mustMeet(t, s, config).serverState.DidResume {
		t.Error("resumed by a ticket from before")
	}
}

func TestTicketsOutliveTheListenersCertificate(t *testing.T) {
	l := newLab(t)
	s := mustServer(t, l.config, Events{})
	config := l.resumer(tls.VersionTLS13)
	mustMeet(t, s, config)
	pairOf(t, l.folder, "edge", l.servers.Issue(t, nil, "kafka.example.com"))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if !mustMeet(t, s, config).serverState.DidResume {
		t.Error("not resumed")
	}
}

func TestTicketKeyReplacedInItsFile(t *testing.T) {
	l := newLab(t)
	l.config.TicketKeys = []string{l.keyFile(t, "now", 1), l.keyFile(t, "before", 9)}
	s := mustServer(t, l.config, Events{})
	config := l.resumer(tls.VersionTLS13)
	mustMeet(t, s, config)
	for _, step := range []struct {
		now, before byte
		resumed     bool
	}{
		{2, 1, true},  // the old key opens a ticket, which is sealed anew
		{3, 2, true},  // so this is another ticket
		{4, 5, false}, // and both are gone
	} {
		l.keyFile(t, "now", step.now)
		l.keyFile(t, "before", step.before)
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
		if got := mustMeet(t, s, config).serverState.DidResume; got != step.resumed {
			t.Errorf("keys %d and %d: resumed %t, want %t", step.now, step.before, got, step.resumed)
		}
	}
}

func TestResumedClientWithAnIntermediate(t *testing.T) {
	l := newLab(t)
	s := mustServer(t, l.config, Events{})
	between := l.clients.Issue(t, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	}, "intermediate")
	app := between.Authority().Issue(t, nil, "app-1")
	app.Pair.Certificate = append(app.Pair.Certificate, between.Pair.Certificate...)
	for version, number := range versions {
		t.Run(version, func(t *testing.T) {
			config := l.resumer(number)
			config.GetClientCertificate = show(app)
			mustMeet(t, s, config)
			if !mustMeet(t, s, config).serverState.DidResume {
				t.Error("not resumed")
			}
		})
	}
}

// TestResumedChainIsVerifiedAgain calls the check itself: the ticket's binding always
// refuses before it.
func TestResumedChainIsVerifiedAgain(t *testing.T) {
	l := newLab(t)
	verify := mustServer(t, l.config, Events{}).current.Load().config.VerifyConnection
	for _, row := range []struct {
		name string
		cert *x509.Certificate
		want Failure
	}{
		{"good", l.app.Pair.Leaf, ""},
		{"another CA", certlab.NewAuthority(t, "clients").Issue(t, nil, "app-1").Pair.Leaf, Untrusted},
		{"expired since", l.clients.Issue(t, certlab.Expired, "app-1").Pair.Leaf, Expired},
	} {
		err := verify(tls.ConnectionState{DidResume: true, PeerCertificates: []*x509.Certificate{row.cert}})
		switch {
		case row.want == "" && err != nil:
			t.Errorf("%s: %v", row.name, err)
		case row.want != "" && failureOf(err) != row.want:
			t.Errorf("%s: %v, want %s", row.name, err, row.want)
		}
	}
}
