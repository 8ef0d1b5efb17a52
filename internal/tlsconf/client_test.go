package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"kproxy/internal/certlab"
)

const broker = "b1.internal"

// brokerLab is a cluster with TLS, and kproxy's configuration for it.
type brokerLab struct {
	folder certlab.Folder
	ca     *certlab.Authority
	own    certlab.Identity // kproxy's certificate
	config ClientConfig
}

func newBrokerLab(t *testing.T) *brokerLab {
	t.Helper()
	l := &brokerLab{folder: certlab.NewFolder(t), ca: certlab.NewAuthority(t, "cluster")}
	l.own = l.ca.Issue(t, nil, "kproxy")
	l.config = ClientConfig{CA: l.folder.Write(t, "ca.pem", l.ca.PEM)}
	return l
}

func (l *brokerLab) certified(t *testing.T) ClientConfig {
	t.Helper()
	pair, c := pairOf(t, l.folder, "kproxy", l.own), l.config
	c.Cert, c.Key = pair.Cert, pair.Key
	return c
}

// broker is a broker's configuration, with a certificate for the names.
func (l *brokerLab) broker(t *testing.T, names ...string) *tls.Config {
	t.Helper()
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{l.ca.Issue(t, nil, names...).Pair},
		ClientCAs:    l.ca.Pool(),
	}
}

// reach connects a Client to a broker of crypto/tls, which sends one byte. The error is
// the Client's, or that of Explain for a read.
func reach(t *testing.T, c *Client, config *tls.Config, host string) (state tls.ConnectionState, err error) {
	t.Helper()
	near, far := tcpPair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		server := tls.Server(far, config)
		if server.HandshakeContext(deadline(t)) == nil {
			state = server.ConnectionState()
			_, _ = server.Write([]byte{1}) // if it fails, the Client's read does
		}
	}()
	conn, err := c.Handshake(deadline(t), near, host)
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
		err = c.Explain(err)
	}
	near.Close()
	<-done
	return state, err
}

func TestBrokerThatIsTrusted(t *testing.T) {
	l := newBrokerLab(t)
	for _, row := range []struct {
		name   string
		config ClientConfig
		host   string
		broker *tls.Config
		sni    string
	}{
		{"by its own name", l.config, broker, l.broker(t, broker), broker},
		{"by an address, which is no server name", l.config, "127.0.0.1", l.broker(t, "127.0.0.1"), ""},
		{
			"by the name that is configured",
			ClientConfig{CA: l.config.CA, ServerName: "kafka.example.com"},
			broker,
			l.broker(t, "kafka.example.com"), "kafka.example.com",
		},
		{"unseen", ClientConfig{InsecureSkipVerify: true}, broker, l.broker(t, "elsewhere"), broker},
	} {
		t.Run(row.name, func(t *testing.T) {
			state, err := reach(t, mustClient(t, row.config, Events{}), row.broker, row.host)
			if err != nil {
				t.Fatal(err)
			}
			if state.ServerName != row.sni {
				t.Errorf("asked for %q, want %q", state.ServerName, row.sni)
			}
		})
	}
}

func TestEachBrokerByItsOwnName(t *testing.T) {
	l := newBrokerLab(t)
	c := mustClient(t, l.config, Events{})
	for _, name := range []string{"b1.internal", "b2.internal", "b1.internal"} {
		if _, err := reach(t, c, l.broker(t, name), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBrokerIsShownTheCertificate(t *testing.T) {
	l := newBrokerLab(t)
	c := mustClient(t, l.certified(t), Events{})
	config := l.broker(t, broker)
	config.ClientAuth = tls.RequireAndVerifyClientCert
	state, err := reach(t, c, config, broker)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := state.PeerCertificates[0].Subject.CommonName, "kproxy"; got != want {
		t.Errorf("the broker sees %q, want %q", got, want)
	}
	if got := c.Status().Certificates; len(got) != 2 || got[0].Names[0] != "kproxy" || got[1].Subject != "CN=cluster" {
		t.Errorf("status %+v, want the certificate and the CA", got)
	}
}

func TestBrokersThatFail(t *testing.T) {
	l := newBrokerLab(t)
	plain, certified := mustClient(t, l.config, Events{}), mustClient(t, l.certified(t), Events{})
	strict := mustClient(t, ClientConfig{CA: l.config.CA, MinVersion: "1.3"}, Events{})
	for _, row := range []struct {
		name   string
		client *Client
		change func(*tls.Config)
		want   Failure
	}{
		{"expired", plain, func(c *tls.Config) { c.Certificates[0] = l.ca.Issue(t, certlab.Expired, broker).Pair }, Expired},
		{"wrong name", plain, func(c *tls.Config) { c.Certificates[0] = l.ca.Issue(t, nil, "b2.internal").Pair }, WrongName},
		{"common name alone", plain, func(c *tls.Config) {
			c.Certificates[0] = l.ca.Issue(t, func(c *x509.Certificate) { c.DNSNames = nil }, broker).Pair
		}, WrongName},
		{"unknown CA", plain, func(c *tls.Config) { c.Certificates[0] = certlab.NewAuthority(t, "others").Issue(t, nil, broker).Pair }, Untrusted},
		{"TLS 1.1", plain, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, VersionRefused},
		{"TLS 1.2 where 1.3 is asked for", strict, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, VersionRefused},
		{"wants a certificate, 1.2", plain, func(c *tls.Config) {
			c.ClientAuth, c.MaxVersion = tls.RequireAndVerifyClientCert, tls.VersionTLS12
		}, NoCertificate},
		{"wants a certificate, 1.3", plain, func(c *tls.Config) { c.ClientAuth = tls.RequireAndVerifyClientCert }, NoCertificate},
		{"refuses the certificate, 1.2", certified, func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs, c.MaxVersion = tls.RequireAndVerifyClientCert, certlab.NewAuthority(t, "others").Pool(), tls.VersionTLS12
		}, CertificateRefused},
		{"refuses the certificate, 1.3", certified, func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, certlab.NewAuthority(t, "others").Pool()
		}, CertificateRefused},
		{"does not know the name", plain, func(c *tls.Config) { c.Certificates = nil }, UnknownName},
	} {
		t.Run(row.name, func(t *testing.T) {
			config := l.broker(t, broker)
			row.change(config)
			_, err := reach(t, row.client, config, broker)
			wantFailure(t, err, row.want)
		})
	}
}

// TestMissingCertificateIsToldApart uses the alerts of brokers that miss a certificate:
// Java 17 says bad_certificate (42) in TLS 1.2 and 1.3, crypto/tls handshake_failure (40)
// in TLS 1.2. Java 17 sends certificate_unknown (46) for one that it does not trust.
func TestMissingCertificateIsToldApart(t *testing.T) {
	l := newBrokerLab(t)
	plain, certified := mustClient(t, l.config, Events{}), mustClient(t, l.certified(t), Events{})
	for _, alert := range []tls.AlertError{40, 42, 46} {
		err := &net.OpError{Op: "remote error", Err: alert}
		wantFailure(t, plain.Explain(err), NoCertificate)
		wantFailure(t, certified.Explain(err), CertificateRefused)
	}
	wantFailure(t, plain.explain(&net.OpError{Op: "remote error", Err: tls.AlertError(40)}, false), VersionRefused)
}

func TestExplainLeavesOtherErrorsAlone(t *testing.T) {
	c := mustClient(t, ClientConfig{}, Events{})
	for _, err := range []error{nil, errors.New("broken"), &net.OpError{Op: "read", Err: errors.New("reset")}} {
		if got := c.Explain(err); got != err { //nolint:errorlint // the very same
			t.Errorf("%v became %v", err, got)
		}
	}
}

func TestWrongNameTellsTheNames(t *testing.T) {
	l := newBrokerLab(t)
	names := []string{"10.0.0.9"}
	for i := range 20 {
		names = append(names, strings.Repeat("n", i+1)+".internal")
	}
	_, err := reach(t, mustClient(t, l.config, Events{}), l.broker(t, names...), broker)
	failed, ok := errors.AsType[*Error](err)
	if !ok || !strings.Contains(failed.Advice, `for "n.internal", "nn.internal", `) || !strings.Contains(failed.Advice, "11 more") {
		t.Errorf("%#v, want advice with the first names", err)
	}
}

// The error and the advice are short, however many names a certificate has.
func TestWrongNameIsShort(t *testing.T) {
	l := newBrokerLab(t)
	var names []string
	for i := range 90 {
		names = append(names, strings.Repeat("n", 60)+"."+strings.Repeat("m", 60)+"."+strings.Repeat("o", i%60+1)+".internal")
	}
	_, err := reach(t, mustClient(t, l.config, Events{}), l.broker(t, names...), broker)
	failed, ok := errors.AsType[*Error](err)
	if !ok || failed.Failure != WrongName || len(failed.Error()) > 1000 || len(failed.Advice) > 2000 {
		t.Errorf("got %d and %d bytes: %v", len(failed.Error()), len(failed.Advice), err)
	}
}

// serverHello is the message of a server that has chosen TLS 1.1 although it was not
// offered.
var serverHello = slices.Concat([]byte("\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02"), make([]byte, 32), []byte("\x00\x00\x2f\x00"))

func TestBrokerThatDoesNotSpeakTLS(t *testing.T) {
	l := newBrokerLab(t)
	c := mustClient(t, l.config, Events{})
	for _, row := range []struct {
		name, response string
		reset          bool
		want           Failure
	}{
		{"closes, as Kafka does", "", false, NotTLS},
		{"resets, as Kafka does with bytes unread", "", true, NotTLS},
		{"answers", "\x00\x00\x00\x08\x00\x00\x00\x00\x00\x23\x00\x00", false, NotTLS},
		{"chooses a version that was not offered", string(serverHello), false, VersionRefused},
		{"ends after a hello of TLS", string(serverHello[:20]), false, NotTLS},
	} {
		t.Run(row.name, func(t *testing.T) {
			near, far := tcpPair(t)
			go func() {
				_, _ = far.Read(make([]byte, 1))
				_, _ = far.Write([]byte(row.response))
				if row.reset {
					_ = far.(*net.TCPConn).SetLinger(0)
					far.Close()
					return
				}
				_ = far.(*net.TCPConn).CloseWrite()
			}()
			_, err := c.Handshake(deadline(t), near, broker)
			wantFailure(t, err, row.want)
		})
	}
}

func TestBrokerThatIsSilent(t *testing.T) {
	c := mustClient(t, ClientConfig{}, Events{})
	t.Run("context", func(t *testing.T) {
		near, _ := tcpPair(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := c.Handshake(ctx, near, broker)
		wantFailure(t, err, Timeout)
	})
	t.Run("connection", func(t *testing.T) {
		near, _ := tcpPair(t)
		if err := near.SetReadDeadline(time.Now()); err != nil {
			t.Fatal(err)
		}
		_, err := c.Handshake(t.Context(), near, broker)
		wantFailure(t, err, Timeout)
	})
}
