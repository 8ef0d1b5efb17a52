package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"kproxy/internal/certlab"
)

// lab is a listener that wants client certificates, and a client that has one.
type lab struct {
	folder  certlab.Folder
	servers *certlab.Authority // signed the listener's certificate
	clients *certlab.Authority // signs those of its clients
	config  ServerConfig
	app     certlab.Identity
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{folder: certlab.NewFolder(t), servers: certlab.NewAuthority(t, "servers"), clients: certlab.NewAuthority(t, "clients")}
	l.config = ServerConfig{
		Name:     "orders/edge",
		Certs:    []KeyPair{pairOf(t, l.folder, "edge", l.servers.Issue(t, nil, "kafka.example.com", "*.kafka.example.com"))},
		ClientCA: l.folder.Write(t, "clients.pem", l.clients.PEM),
		Subjects: []string{"CN=app-*,O=example"},
	}
	l.app = l.clients.Issue(t, nil, "app-1")
	return l
}

// client is a client with a valid configuration.
func (l *lab) client() *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS12,
		ServerName:           "kafka.example.com",
		RootCAs:              l.servers.Pool(),
		GetClientCertificate: show(l.app),
	}
}

// show makes a client show a certificate, whatever authorities the server names.
func show(id certlab.Identity) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &id.Pair, nil }
}

func showNothing(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return &tls.Certificate{}, nil
}

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

func TestAcceptedClient(t *testing.T) {
	l := newLab(t)
	s := mustServer(t, l.config, Events{})
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			config := l.client()
			config.MaxVersion = version
			m := mustMeet(t, s, config)
			if got, want := m.serverState.ServerName, "kafka.example.com"; got != want {
				t.Errorf("server name %q, want %q", got, want)
			}
			if got := m.serverState.Version; got != version {
				t.Errorf("version %x, want %x", got, version)
			}
			if got, want := m.serverState.PeerCertificates[0].Subject.CommonName, "app-1"; got != want {
				t.Errorf("client %q, want %q", got, want)
			}
		})
	}
}

func TestClientsThatAreRefused(t *testing.T) {
	l := newLab(t)
	s := mustServer(t, l.config, Events{})
	stranger := certlab.NewAuthority(t, "strangers").Issue(t, nil, "app-1")
	old := l.clients.Issue(t, certlab.Expired, "app-1")
	other := l.clients.Issue(t, nil, "web-1")
	for _, row := range []struct {
		name   string
		change func(*tls.Config)
		want   Failure
		alert  map[string]tls.AlertError // by version; none: the client refuses
	}{
		{
			"no certificate",
			func(c *tls.Config) { c.GetClientCertificate = showNothing },
			NoCertificate,
			map[string]tls.AlertError{"1.2": 40, "1.3": 116},
		},
		{
			"expired",
			func(c *tls.Config) { c.GetClientCertificate = show(old) },
			Expired,
			map[string]tls.AlertError{"1.2": 45, "1.3": 45},
		},
		{
			"unknown CA",
			func(c *tls.Config) { c.GetClientCertificate = show(stranger) },
			Untrusted,
			map[string]tls.AlertError{"1.2": 48, "1.3": 48},
		},
		{
			"subject",
			func(c *tls.Config) { c.GetClientCertificate = show(other) },
			SubjectRefused,
			map[string]tls.AlertError{"1.2": 42, "1.3": 42},
		},
		{"client knows another CA", func(c *tls.Config) { c.RootCAs = l.clients.Pool() }, CertificateRefused, nil},
		{"client wants another name", func(c *tls.Config) { c.ServerName = "a.b.kafka.example.com" }, CertificateRefused, nil},
	} {
		for version, number := range versions {
			t.Run(row.name+" "+version, func(t *testing.T) {
				config := l.client()
				config.MaxVersion = number
				row.change(config)
				m := meet(t, always(s), config)
				wantFailure(t, m.server, row.want)
				if row.alert != nil {
					wantAlert(t, m.client, row.alert[version])
				}
			})
		}
	}
}

// plainAlerts is a client's connection: all that it sends behind its hello is an alert in plaintext, as OpenSSL
// sends it.
type plainAlerts struct {
	net.Conn

	alert  byte
	writes int
}

func (p *plainAlerts) Write(b []byte) (int, error) {
	if p.writes++; p.writes == 2 {
		if _, err := p.Conn.Write([]byte{21, 3, 3, 0, 2, 2, p.alert}); err != nil {
			return 0, err
		}
	}
	if p.writes > 1 {
		return len(b), nil
	}
	return p.Conn.Write(b)
}

// A client that does not trust the certificate may say so in plaintext, although keys are there.
func TestAlertsInPlaintext(t *testing.T) {
	l := newLab(t)
	s := mustServer(t, l.config, Events{})
	for alert, want := range map[byte]Failure{48: CertificateRefused, 46: CertificateRefused, 40: VersionRefused, 20: Other} {
		t.Run(tls.AlertError(alert).Error(), func(t *testing.T) {
			near, far := tcpPair(t)
			config := l.client()
			config.MinVersion, config.RootCAs = tls.VersionTLS13, l.clients.Pool()
			m := meetOver(t, &plainAlerts{Conn: near, alert: alert}, far, always(s), config)
			wantFailure(t, m.server, want)
			if text := tls.AlertError(alert).Error(); !strings.Contains(m.server.Error(), "remote error: "+text) {
				t.Errorf("%q does not name the alert", m.server)
			}
		})
	}
}

func TestExpiredListenerIsRefusedByClients(t *testing.T) {
	l := newLab(t)
	l.config.Certs = []KeyPair{pairOf(t, l.folder, "old", l.servers.Issue(t, certlab.Expired, "kafka.example.com"))}
	m := meet(t, always(mustServer(t, l.config, Events{})), l.client())
	wantFailure(t, m.server, CertificateRefused)
}

func TestVersionsAndCiphersNotInCommon(t *testing.T) {
	l := newLab(t)
	s := mustServer(t, l.config, Events{})
	l.config.MinVersion = "1.3"
	strict := mustServer(t, l.config, Events{})
	for _, row := range []struct {
		name   string
		server *Server
		change func(*tls.Config)
		alert  tls.AlertError
	}{
		{"1.0", s, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }, 70},
		{"1.1", s, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, 70},
		{"1.2 where 1.3 is asked for", strict, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, 70},
		{"cipher", s, func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA} // for RSA keys, and the listener has none
		}, 40},
	} {
		t.Run(row.name, func(t *testing.T) {
			config := l.client()
			row.change(config)
			m := meet(t, always(row.server), config)
			wantFailure(t, m.server, VersionRefused)
			wantAlert(t, m.client, row.alert)
		})
	}
}

func TestRequestedCertificateMayBeMissingAndIsVerified(t *testing.T) {
	l := newLab(t)
	l.config.ClientAuth = Requested
	s := mustServer(t, l.config, Events{})
	config := l.client()
	config.GetClientCertificate = showNothing
	mustMeet(t, s, config)

	config.GetClientCertificate = show(certlab.NewAuthority(t, "strangers").Issue(t, nil, "app-1"))
	wantFailure(t, meet(t, always(s), config).server, Untrusted)
}

func TestServerNamesThatLeadNowhere(t *testing.T) {
	l := newLab(t)
	s := mustServer(t, l.config, Events{})
	errNowhere := errors.New("no listener has it")
	var asked []string
	route := func(name string) (*Server, error) {
		asked = append(asked, name)
		if name != "kafka.example.com" {
			return nil, errNowhere
		}
		return s, nil
	}
	for _, row := range []struct {
		name string
		want Failure
	}{
		{"b9.kafka.example.com", UnknownName},
		{"", NoName},
	} {
		for version, number := range versions {
			t.Run(fmt.Sprintf("%q %s", row.name, version), func(t *testing.T) {
				asked = nil
				config := l.client()
				config.MaxVersion, config.ServerName, config.InsecureSkipVerify = number, row.name, true
				m := meet(t, route, config)
				wantFailure(t, m.server, row.want)
				wantAlert(t, m.client, 112)
				name, ok := errors.AsType[*NameError](m.server)
				if !ok || name.Name != row.name || !errors.Is(m.server, errNowhere) {
					t.Errorf("error %v, want a *NameError of %q", m.server, row.name)
				}
				if !strings.Contains(m.server.Error(), errNowhere.Error()) || !strings.Contains(m.server.Error(), row.name) {
					t.Errorf("error %q tells neither name nor cause", m.server)
				}
				if len(asked) != 1 {
					t.Errorf("route was asked for %q, want once", asked)
				}
			})
		}
	}
	t.Run("known", func(t *testing.T) {
		if m := meet(t, route, l.client()); m.server != nil || m.client != nil {
			t.Errorf("server %v, client %v", m.server, m.client)
		}
	})
}

func TestRefusedNameIsNotResumed(t *testing.T) {
	l := newLab(t)
	s := mustServer(t, l.config, Events{})
	config := l.client()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	mustMeet(t, s, config)
	m := meet(t, func(string) (*Server, error) { return nil, errors.New("gone") }, config)
	wantFailure(t, m.server, UnknownName)
	wantAlert(t, m.client, 112)
}

func TestChainIsChosenByServerName(t *testing.T) {
	f, ca := certlab.NewFolder(t), certlab.NewAuthority(t, "servers")
	s := mustServer(t, ServerConfig{Certs: []KeyPair{
		pairOf(t, f, "first", ca.Issue(t, nil, "first.example.com")),
		pairOf(t, f, "wild", ca.Issue(t, nil, "*.kafka.example.com")),
		pairOf(t, f, "rsa", ca.IssueFor(t, newRSAKey(t), nil, "first.example.com")),
	}}, Events{})
	onlyRSA := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	for _, row := range []struct {
		name    string
		ciphers []uint16
		want    string
		rsa     bool
	}{
		{name: "first.example.com", want: "first.example.com"},
		{name: "b1.kafka.example.com", want: "*.kafka.example.com"},
		{name: "B2.KAFKA.example.com", want: "*.kafka.example.com"},
		{name: "elsewhere.example.com", want: "first.example.com"},
		{name: "", want: "first.example.com"},
		{name: "first.example.com", ciphers: onlyRSA, want: "first.example.com", rsa: true},
	} {
		m := mustMeet(t, s, &tls.Config{
			MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, ServerName: row.name,
			CipherSuites: row.ciphers, InsecureSkipVerify: true,
		})
		leaf := m.clientState.PeerCertificates[0]
		if leaf.Subject.CommonName != row.want || (leaf.PublicKeyAlgorithm == x509.RSA) != row.rsa {
			t.Errorf("%q is shown %s (%s), want %s", row.name, leaf.Subject.CommonName, leaf.PublicKeyAlgorithm, row.want)
		}
	}
}

// drip writes a byte at a time.
type drip struct{ net.Conn }

func (d drip) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := d.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

func TestHelloByteByByte(t *testing.T) {
	l := newLab(t)
	near, far := tcpPair(t)
	m := meetOver(t, drip{near}, far, always(mustServer(t, l.config, Events{})), l.client())
	if m.server != nil || m.client != nil {
		t.Errorf("server %v, client %v", m.server, m.client)
	}
}

func TestHelloOf16KiB(t *testing.T) {
	l := newLab(t)
	s := mustServer(t, l.config, Events{})
	config := l.client()
	for i := range 90 { // 16 KiB do not fit a record: the hello comes in two
		config.NextProtos = append(config.NextProtos, fmt.Sprintf("%03d%s", i, strings.Repeat("x", 200)))
	}
	m := mustMeet(t, s, config)
	if got, want := m.serverState.ServerName, "kafka.example.com"; got != want {
		t.Errorf("server name %q, want %q", got, want)
	}
}

func TestWhatIsNoHello(t *testing.T) {
	l := newLab(t)
	s := mustServer(t, l.config, Events{})
	for _, row := range []struct {
		name string
		sent string
		want Failure
	}{
		{"Kafka", "\x00\x00\x00\x14\x00\x12\x00\x04\x00\x00\x00\x01\x00\x04test", NotTLS},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", NotTLS},
		{"nothing", "", Ended},
		{"half a hello", "\x16\x03\x01\x02\x00\x01\x00", Ended},
		{"an alert", "\x15\x03\x01\x00\x02\x02\x30", CertificateRefused},
	} {
		t.Run(row.name, func(t *testing.T) {
			near, far := tcpPair(t)
			if _, err := near.Write([]byte(row.sent)); err != nil {
				t.Fatal(err)
			}
			if err := near.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			_, err := Accept(deadline(t), far, always(s))
			wantFailure(t, err, row.want)
		})
	}
}

func TestResetInTheHandshake(t *testing.T) {
	l := newLab(t)
	near, far := tcpPair(t)
	if err := near.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	near.Close()
	_, err := Accept(deadline(t), far, always(mustServer(t, l.config, Events{})))
	wantFailure(t, err, Ended)
}

func TestHandshakeDeadline(t *testing.T) {
	l := newLab(t)
	s := mustServer(t, l.config, Events{})
	t.Run("of the context", func(t *testing.T) {
		_, far := tcpPair(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := Accept(ctx, far, always(s))
		wantFailure(t, err, Timeout)
	})
	t.Run("of the connection", func(t *testing.T) {
		_, far := tcpPair(t)
		if err := far.SetDeadline(time.Now()); err != nil {
			t.Fatal(err)
		}
		_, err := Accept(t.Context(), far, always(s))
		wantFailure(t, err, Timeout)
	})
	t.Run("cancelled", func(t *testing.T) {
		_, far := tcpPair(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := Accept(ctx, far, always(s))
		wantFailure(t, err, Other)
	})
}
