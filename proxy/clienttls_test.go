package proxy_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/certlab"
	"kproxy/internal/tlsconf"
	"kproxy/internal/wire"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// edgeLab is a lab whose listeners bob and fred speak TLS: bob wants certificates
// of one CA, and fred of another.
type edgeLab struct {
	lab
	conf    *proxy.Config
	files   certlab.Folder
	servers *certlab.Authority
	clients map[string]*certlab.Authority // by listener
}

func newEdgeLab(t *testing.T) *edgeLab {
	t.Helper()
	l := &edgeLab{files: certlab.NewFolder(t), servers: certlab.NewAuthority(t, "servers"), clients: map[string]*certlab.Authority{}}
	l.conf = l.config()
	cert, key := l.files.Pair(t, "edge", l.servers.Issue(t, nil, "bob.test", "localhost"))
	for i := range l.conf.Clusters[0].Listeners {
		listener := &l.conf.Clusters[0].Listeners[i]
		ca := certlab.NewAuthority(t, "clients of "+listener.Name)
		l.clients[listener.Name] = ca
		listener.TLS = &config.ListenerTLS{
			Certs:    []config.KeyPair{{Cert: cert, Key: key}},
			ClientCA: l.files.Write(t, listener.Name+".ca", ca.PEM),
			Subjects: []string{"CN=app-*"},
		}
	}
	return l
}

// client is the configuration of a client that bob lets in.
func (l *edgeLab) client(t *testing.T) *tls.Config {
	t.Helper()
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		RootCAs:      l.servers.Pool(),
		ServerName:   "bob.test",
		Certificates: []tls.Certificate{l.clients["bob"].Issue(t, nil, "app-1").Pair},
	}
}

// come connects to an address of the proxy, in TLS.
func (l *edgeLab) come(t *testing.T, address string, config *tls.Config) client {
	t.Helper()
	c := l.dial(t, address)
	secure := tls.Client(c.conn, config)
	return client{newPeer(t, secure)}
}

func TestTLSClients(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	type edit func(t *testing.T, l *edgeLab, c *tls.Config)
	with := func(ca func(l *edgeLab) *certlab.Authority, change func(*x509.Certificate), name string) edit {
		return func(t *testing.T, l *edgeLab, c *tls.Config) {
			t.Helper()
			id := ca(l).Issue(t, change, name)
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &id.Pair, nil }
		}
	}
	bob := func(l *edgeLab) *certlab.Authority { return l.clients["bob"] }
	for _, tt := range []struct {
		name string
		edit edit
		want proxy.CloseReason // ClientClosed: it is served
		fix  string
	}{
		{"the requested name", func(*testing.T, *edgeLab, *tls.Config) {}, proxy.ClientClosed, ""},
		{"TLS 1.2", func(_ *testing.T, _ *edgeLab, c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, proxy.ClientClosed, ""},
		{"a hello of 16 KB", func(_ *testing.T, _ *edgeLab, c *tls.Config) {
			for i := range 64 {
				c.NextProtos = append(c.NextProtos, fmt.Sprintf("%0255d", i))
			}
		}, proxy.ClientClosed, ""},
		{"a certificate that has expired", with(bob, certlab.Expired, "app-1"), proxy.TLSExpired, "renew it"},
		{"a certificate of an unknown CA", with(func(l *edgeLab) *certlab.Authority { return l.clients["fred"] }, nil, "app-1"), proxy.TLSUntrusted, "client_ca"},
		{"no certificate", func(_ *testing.T, _ *edgeLab, c *tls.Config) { c.Certificates = nil }, proxy.TLSNoCertificate, "ssl.keystore"},
		{"a certificate with another subject", with(bob, nil, "root"), proxy.TLSSubjectRefused, "subjects"},
		{"a client that expects another name", func(_ *testing.T, _ *edgeLab, c *tls.Config) { c.ServerName = "alice.test" }, proxy.TLSCertificateRefused, "does not trust"},
		{"the listener's certificate has expired", func(t *testing.T, l *edgeLab, _ *tls.Config) {
			t.Helper()
			pair := &l.conf.Clusters[0].Listeners[0].TLS.Certs[0]
			pair.Cert, pair.Key = l.files.Pair(t, "old", l.servers.Issue(t, certlab.Expired, "bob.test"))
		}, proxy.TLSCertificateRefused, "does not trust"},
		{"the listener's CA is not known", func(_ *testing.T, _ *edgeLab, c *tls.Config) { c.RootCAs = x509.NewCertPool() }, proxy.TLSCertificateRefused, "does not trust"},
		{"TLS 1.1", func(_ *testing.T, _ *edgeLab, c *tls.Config) {
			c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
		}, proxy.TLSVersion, "update the client"},
		{"no cipher in common", func(_ *testing.T, _ *edgeLab, c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		}, proxy.TLSVersion, "update the client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			documented(t, tt.name, tt.want)
			l := newEdgeLab(t)
			b := l.startBroker(t, 0, 0)
			config := l.client(t)
			tt.edit(t, l, config)
			l.start(t, l.conf)
			c := l.come(t, "bob.test:9092", config)
			if tt.want == proxy.ClientClosed {
				heartbeatThrough(t, &l.lab, b, c)
				return
			}
			_ = c.tryWrite(requestFrame(1, heartbeat()))
			if _, err := c.tryFrame(); err == nil {
				t.Error("the client has an answer")
			}
			l.ended(t, tt.want)
			l.log.has(t, "level=WARN", "reason="+string(tt.want), tt.fix)
			if n := b.sessions(); n > 0 {
				t.Errorf("%d brokers were dialled for a client that is not let in", n)
			}
		})
	}
}

// Bytes on a TLS port that are no complete handshake, and a handshake on a plaintext port.
func TestTLSAndNoTLS(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	hello := captureHello(t)
	end := func(c client) { c.close() }
	stay := func(client) {}
	for _, tt := range []struct {
		name   string
		listen string
		send   []byte
		then   func(client)
		want   proxy.CloseReason
		logs   []string
	}{
		{"plaintext Kafka", "bob", requestFrame(1, heartbeat()), stay, proxy.TLSPlaintext, []string{"level=WARN", "security.protocol to SSL"}},
		{"HTTP", "bob", []byte("GET / HTTP/1.1\r\n\r\n"), stay, proxy.ForeignProtocol, []string{"level=WARN", "HTTP"}},
		{"a header that is not expected", "bob", []byte("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), stay, proxy.ForeignProtocol, []string{"level=WARN", "PROXY protocol off"}},
		{"nothing", "bob", nil, end, proxy.NoRequest, []string{"level=DEBUG"}},
		{"half a hello", "bob", hello[:len(hello)/2], end, proxy.TLSClosed, []string{"level=INFO"}},
		{"half a hello, for ever", "bob", hello[:len(hello)/2], stay, proxy.TLSTimeout, []string{"level=WARN", "handshake_timeout"}},
		{"silence", "bob", nil, stay, proxy.TLSTimeout, []string{"level=WARN", "handshake_timeout"}},
		{"TLS to a plaintext port", "plain", hello, stay, proxy.ForeignProtocol, []string{"level=WARN", "a TLS hello", "PLAINTEXT"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			documented(t, tt.name, tt.want)
			l := newEdgeLab(t)
			if tt.want == proxy.TLSTimeout {
				l.conf.HandshakeTimeout = 200 * time.Millisecond
			}
			plain := config.Listener{Name: "plain", Bind: "127.0.0.1:29092", Advertise: "plain.test:9092", Nodes: config.Nodes{Ports: config.Range{First: 29100, Last: 29109}}}
			l.conf.Clusters[0].Listeners = append(l.conf.Clusters[0].Listeners, plain)
			l.startBroker(t, 0, 0)
			l.start(t, l.conf)
			c := l.dial(t, tt.listen+".test:9092")
			c.write(tt.send)
			tt.then(c)
			l.ended(t, tt.want)
			l.log.has(t, append(tt.logs, "reason="+string(tt.want))...)
		})
	}
}

// captureHello is the beginning of a client's handshake.
func captureHello(t *testing.T) []byte {
	t.Helper()
	var sent capture
	_ = tls.Client(&sent, &tls.Config{ServerName: "bob.test"}).HandshakeContext(t.Context()) // ends at its first read
	return sent.Bytes()
}

// capture is a connection that keeps the bytes that are sent. Reads are at its end.
type capture struct {
	net.Conn
	bytes.Buffer
}

func (c *capture) Read([]byte) (int, error)       { return 0, io.EOF }
func (c *capture) Write(b []byte) (int, error)    { return c.Buffer.Write(b) }
func (c *capture) Close() error                   { return nil }
func (*capture) SetWriteDeadline(time.Time) error { return nil }

// slow sends one byte at a time.
type slow struct{ net.Conn }

func (s slow) Write(b []byte) (n int, err error) {
	for i := range b {
		if _, err = s.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

// A handshake may come in any pieces, and behind a load balancer's header, in the
// same packet.
func TestTLSHelloInPieces(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	documented(t, "a hello byte by byte", proxy.ClientClosed)
	for _, headed := range []bool{false, true} {
		t.Run(fmt.Sprintf("headed=%v", headed), func(t *testing.T) {
			t.Parallel()
			l := newEdgeLab(t)
			if headed {
				l.conf.Clusters[0].Listeners[0].ProxyProtocol.From = []string{"127.0.0.0/8"}
			}
			b := l.startBroker(t, 0, 0)
			l.start(t, l.conf)
			for _, byByte := range []bool{true, false} {
				raw := l.dial(t, "bob.test:9092")
				conn := raw.conn
				if headed {
					conn = &ahead{Conn: conn, bytes: header(t, 2, "203.0.113.7:4711")}
				}
				if byByte {
					conn = slow{conn}
				}
				c := client{newPeer(t, tls.Client(conn, l.client(t)))}
				heartbeatThrough(t, &l.lab, b, c)
				if headed {
					l.log.has(t, "client=203.0.113.7:4711", "reason=client_closed")
				}
			}
		})
	}
}

// ahead sends some bytes in front of the first write, in one packet with it.
type ahead struct {
	net.Conn
	bytes []byte
}

func (a *ahead) Write(b []byte) (int, error) {
	front := len(a.bytes)
	n, err := a.Conn.Write(append(a.bytes, b...))
	a.bytes = nil
	return max(n-front, 0), err
}

// An incomplete handshake holds no place while it waits, so that any number of them keeps no
// other client out.
func TestHalfHandshakesKeepNobodyOut(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	l := newEdgeLab(t)
	l.conf.MaxHandshakes = 1
	b := l.startBroker(t, 0, 0)
	l.start(t, l.conf)
	hello := captureHello(t)
	for i := range 20 {
		c := l.dial(t, "bob.test:9092")
		if i%2 == 0 {
			c.write(hello[:len(hello)/2])
			continue
		}
		c.write(hello)
		c.read(1) // the proxy has answered, and waits for the rest
	}
	promptly(t, func() { heartbeatThrough(t, &l.lab, b, l.come(t, "bob.test:9092", l.client(t))) })
}

// The page has every word that there is for a handshake that failed.
func TestTLSDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/tls.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, failure := range []tlsconf.Failure{
		tlsconf.NotTLS, tlsconf.CertificateRefused, tlsconf.NoCertificate, tlsconf.Untrusted, tlsconf.Expired, tlsconf.WrongName,
		tlsconf.SubjectRefused, tlsconf.VersionRefused, tlsconf.UnknownName, tlsconf.NoName, tlsconf.Timeout, tlsconf.Ended, tlsconf.Other,
	} {
		if !strings.Contains(string(page), "| `"+string(failure)+"` |") {
			t.Errorf("docs/tls.md says nothing of %s", failure)
		}
	}
	if want := string(proxy.BrokerRefusedTLS); !strings.Contains(string(page), "`"+want+"`") {
		t.Errorf("docs/tls.md says nothing of %s", want)
	}
}

// documented checks that docs/tls.md has the outcome of an attempt. ClientClosed is the outcome
// of a client that is served.
func documented(t *testing.T, what string, want proxy.CloseReason) {
	t.Helper()
	page, err := os.ReadFile("../docs/tls.md")
	if err != nil {
		t.Fatal(err)
	}
	outcome := "`" + string(want) + "`"
	if want == proxy.ClientClosed {
		outcome = "served"
	}
	if row := "| " + what + " | " + outcome + " |"; !strings.Contains(string(page), row) {
		t.Errorf("docs/tls.md has no row %q", row)
	}
}

// A ticket opens the listener that it is from, and no other: a client that bob
// knows would be let in by fred without a certificate of fred's.
func TestTicketOfAnotherListener(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	documented(t, "a ticket of another listener", proxy.TLSNoCertificate)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			l := newEdgeLab(t)
			b := l.startBroker(t, 0, 0)
			l.start(t, l.conf)
			config := l.client(t)
			config.MaxVersion = version
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for _, resumed := range []bool{false, true} {
				c := l.come(t, "bob.test:9092", config)
				heartbeatThrough(t, &l.lab, b, c)
				if got := c.conn.(*tls.Conn).ConnectionState().DidResume; got != resumed {
					t.Errorf("resumed is %v, want %v", got, resumed)
				}
			}
			c := l.come(t, "localhost:39092", config)
			_ = c.tryWrite(requestFrame(1, heartbeat()))
			_, _ = c.ended()
			l.ended(t, proxy.TLSNoCertificate)
		})
	}
}

// An end of either side is forwarded in TLS, too, after the outstanding responses.
func TestTLSEnds(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	l := newEdgeLab(t)
	b := l.startBroker(t, 0, 0)
	l.start(t, l.conf)
	open := func() (client, brokerConn) {
		c := l.come(t, "bob.test:9092", l.client(t))
		c.send(1, heartbeat())
		s := b.take()
		s.request(kmsg.Heartbeat, 1)
		return c, s
	}
	c, s := open()
	c.closeWrite()
	s.silent() // the end is held back
	s.answer(1, heartbeatAnswer())
	c.receive(1, heartbeatAnswer())
	s.eof()
	s.close()
	c.eof()
	l.ended(t, proxy.ClientClosed)

	c, s = open()
	s.write(answerFrame(1, heartbeatAnswer()))
	c.receive(1, heartbeatAnswer())
	c.send(2, of(4, kmsg.NewPtrFetchRequest()))
	s.request(kmsg.Fetch, 2)
	whole := answerFrame(2, fetchAnswer(4, make([]byte, 100_000)))
	s.write(whole)
	s.close()
	c.wants("the whole answer", whole)
	promptly(t, c.eof)
	c.close()
	l.ended(t, proxy.BrokerClosed)
}

// A client that stops reading in TLS is cut at once where a stop has no more time.
func TestTLSStalledClientDelaysNoStop(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	l := newEdgeLab(t)
	l.conf.DrainTimeout = 10 * time.Millisecond
	b := l.startBroker(t, 0, 0)
	l.start(t, l.conf)
	c := l.come(t, "bob.test:9092", l.client(t))
	c.send(1, of(4, kmsg.NewPtrFetchRequest()))
	s := b.take()
	s.request(kmsg.Fetch, 1)
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_ = s.tryWrite(answerFrame(1, fetchAnswer(4, make([]byte, 32<<20))))
	}()
	c.read(wire.SizeLen) // the response is on its way, and is not taken
	promptly(t, func() { l.proxy.Shutdown(t.Context()) })
	l.ended(t, proxy.DrainTimeout)
	s.close()
	<-wrote
}
