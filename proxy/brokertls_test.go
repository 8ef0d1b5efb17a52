package proxy_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/certlab"
	"kproxy/internal/wire"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// secureLab is a lab whose brokers speak TLS.
type secureLab struct {
	lab
	files  certlab.Folder
	ca     *certlab.Authority // of the brokers
	client certlab.Identity   // the proxy's own
}

// newSecureLab makes one for the first few nodes, each by its own name.
func newSecureLab(t *testing.T) *secureLab {
	t.Helper()
	l := &secureLab{files: certlab.NewFolder(t), ca: certlab.NewAuthority(t, "brokers")}
	l.client = l.ca.Issue(t, nil, "kproxy")
	l.brokerTLS = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{l.ca.Issue(t, nil, brokerHosts(3)...).Pair},
		ClientCAs:    l.ca.Pool(),
	}
	return l
}

func brokerHosts(n int) (hosts []string) {
	for node := range n {
		host, _, _ := net.SplitHostPort(brokerName(node))
		hosts = append(hosts, host)
	}
	return hosts
}

// trusting is a lab's configuration whose cluster trusts the brokers' CA.
func (l *secureLab) trusting(t *testing.T) *proxy.Config {
	t.Helper()
	conf := l.config()
	conf.Clusters[0].TLS = &config.UpstreamTLS{CA: l.files.Write(t, "ca.pem", l.ca.PEM)}
	return conf
}

// outcomes counts how dials of the first cluster have gone.
func (l *lab) outcomes() map[proxy.DialOutcome]int64 {
	counts := map[proxy.DialOutcome]int64{}
	for _, d := range l.proxy.Stats().Clusters[0].Dials {
		counts[d.Outcome] += d.Count
	}
	return counts
}

// Each case bends one thing, and tells what the operator is told.
func TestBrokerTLSFailures(t *testing.T) {
	t.Parallel()
	expired := func(t *testing.T, l *secureLab, _ *proxy.Config) {
		t.Helper()
		l.brokerTLS.Certificates = []tls.Certificate{l.ca.Issue(t, certlab.Expired, brokerHosts(1)...).Pair}
	}
	wantsOne := func(version uint16) func(*testing.T, *secureLab, *proxy.Config) {
		return func(_ *testing.T, l *secureLab, _ *proxy.Config) {
			l.brokerTLS.ClientAuth, l.brokerTLS.MaxVersion = tls.RequireAndVerifyClientCert, version
		}
	}
	stranger := func(t *testing.T, l *secureLab, conf *proxy.Config) {
		t.Helper()
		wantsOne(tls.VersionTLS13)(t, l, conf)
		id := certlab.NewAuthority(t, "strangers").Issue(t, nil, "kproxy")
		conf.Clusters[0].TLS.Cert, conf.Clusters[0].TLS.Key = l.files.Pair(t, "stranger", id)
	}
	for _, tt := range []struct {
		name    string
		bend    func(*testing.T, *secureLab, *proxy.Config)
		reason  proxy.CloseReason
		outcome proxy.DialOutcome
		advice  string
	}{
		{"expired", expired, proxy.DialFailed, "tls_certificate_expired", "renew it"},
		{"wrong name", func(t *testing.T, l *secureLab, _ *proxy.Config) {
			t.Helper()
			l.brokerTLS.Certificates = []tls.Certificate{l.ca.Issue(t, nil, "other.invalid").Pair}
		}, proxy.DialFailed, "tls_wrong_name", "other.invalid"},
		{"unknown CA", func(t *testing.T, l *secureLab, conf *proxy.Config) {
			t.Helper()
			conf.Clusters[0].TLS.CA = l.files.Write(t, "other.pem", certlab.NewAuthority(t, "others").PEM)
		}, proxy.DialFailed, "tls_certificate_untrusted", "tls.ca"},
		{"TLS 1.1", func(_ *testing.T, l *secureLab, _ *proxy.Config) {
			l.brokerTLS.MinVersion, l.brokerTLS.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
		}, proxy.DialFailed, "tls_version", "ssl.enabled.protocols"},
		{"no certificate, TLS 1.2", wantsOne(tls.VersionTLS12), proxy.DialFailed, "tls_no_certificate", "wants a certificate"},
		{"no certificate, TLS 1.3", wantsOne(tls.VersionTLS13), proxy.BrokerRefusedTLS, proxy.OutcomeOK, "tls.cert"},
		{"unknown CA of the proxy's", stranger, proxy.BrokerRefusedTLS, proxy.OutcomeOK, "truststore"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newSecureLab(t)
			conf := l.trusting(t)
			tt.bend(t, l, conf)
			l.startBroker(t, 0)
			l.start(t, conf)
			c := l.dial(t, "bob.test:9092")
			c.send(1, metadataRequest(12))
			if _, err := c.ended(); err == nil {
				t.Error("the client sees a clean end, want a reset, as of a broker that is down")
			}
			l.ended(t, tt.reason)
			l.log.has(t, "level=WARN", "reason="+string(tt.reason), tt.advice)
			if n := l.outcomes()[tt.outcome]; n == 0 {
				t.Errorf("dials went %v, want %s among them", l.outcomes(), tt.outcome)
			}
		})
	}
}

// A plaintext broker takes a hello for the size of a request, which is far too
// large, and closes.
func TestBrokerTLSToPlaintext(t *testing.T) {
	t.Parallel()
	l := newSecureLab(t)
	l.refuseSizes(t, brokerName(0))
	l.start(t, l.trusting(t))
	c := l.dial(t, "bob.test:9092")
	c.send(1, metadataRequest(12))
	_, _ = c.ended()
	l.ended(t, proxy.DialFailed)
	l.log.has(t, "level=WARN", "reason=dial_failed", "take tls from the cluster")
	if n := l.outcomes()["tls_plaintext"]; n == 0 {
		t.Errorf("dials went %v, want tls_plaintext among them", l.outcomes())
	}
}

// refuseSizes puts a broker on the vpc that finds every request too large.
func (l *lab) refuseSizes(t *testing.T, address string) {
	t.Helper()
	ln, err := l.vpc.ListenAs(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(conn, make([]byte, wire.SizeLen))
			_ = conn.Close()
		}
	}()
}

// A broker that takes the connection and says nothing is not waited for longer
// than connect_timeout.
func TestBrokerTLSHandshakeWithinConnectTimeout(t *testing.T) {
	t.Parallel()
	l := newSecureLab(t)
	conf := l.trusting(t)
	conf.Clusters[0].ConnectTimeout = 100 * time.Millisecond
	silent, err := l.vpc.ListenAs(t.Context(), brokerName(0))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	l.start(t, conf)
	c := l.dial(t, "bob.test:9092")
	c.send(1, metadataRequest(12))
	promptly(t, func() { _, _ = c.ended() })
	l.ended(t, proxy.DialFailed)
	if n := l.outcomes()["tls_timeout"]; n == 0 {
		t.Errorf("dials went %v, want tls_timeout among them", l.outcomes())
	}
}

// Two brokers behind one address, as behind a gateway that routes by SNI: each is
// asked for by its own name.
func TestBrokerKeepsItsNameWhereverItIsDialled(t *testing.T) {
	t.Parallel()
	l := newSecureLab(t)
	conf := l.trusting(t)
	conf.Clusters[0].TLS.Cert, conf.Clusters[0].TLS.Key = l.files.Pair(t, "kproxy", l.client)
	conf.Clusters[0].Dial = []config.DialRule{{Match: "*", To: "gateway.invalid:443"}}
	l.brokerTLS.ClientAuth = tls.RequireAndVerifyClientCert
	b := l.startBroker(t, 0, 0, 1)
	l.vpc.Alias("gateway.invalid:443", brokerName(0))
	l.start(t, conf)
	l.learned(t, 0, 1)
	for node, address := range []string{"bob.test:9100", "bob.test:9101"} {
		c := l.dial(t, address)
		c.send(1, heartbeat())
		s := b.take()
		s.request(kmsg.Heartbeat, 1)
		state := s.conn.(*tls.Conn).ConnectionState()
		if want := brokerHosts(2)[node]; state.ServerName != want {
			t.Errorf("node %d is asked for by %q, want %q", node, state.ServerName, want)
		}
		if got := state.PeerCertificates[0].Subject.CommonName; got != "kproxy" {
			t.Errorf("the broker is shown the certificate of %q", got)
		}
		s.answer(1, heartbeatAnswer())
		c.receive(1, heartbeatAnswer())
	}
}

// Where one name is asked of all brokers, nothing tells them apart behind one
// address.
func TestServerNameSharesNoAddress(t *testing.T) {
	t.Parallel()
	l := newSecureLab(t)
	conf := l.trusting(t)
	conf.Clusters[0].TLS.ServerName = brokerHosts(1)[0]
	conf.Clusters[0].Dial = []config.DialRule{{Match: "*", To: "gateway.invalid:443"}}
	l.startBroker(t, 0, 0, 1)
	l.vpc.Alias("gateway.invalid:443", brokerName(0))
	l.start(t, conf)
	l.learned(t, 0)
	l.log.has(t, "level=ERROR", "leads two nodes to one address", "node=1")
}

// The header tells a load balancer who the client is; the load balancer knows
// nothing of TLS.
func TestProxyHeaderGoesBeforeTheHello(t *testing.T) {
	t.Parallel()
	l := newSecureLab(t)
	conf := l.trusting(t)
	conf.Clusters[0].ProxyProtocol = config.HeaderV2
	ln, err := l.vpc.ListenAs(t.Context(), brokerName(0))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	seen := make(chan error, 1)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(conn)
			_, headerErr := proxyproto.Read(in)
			hello, _ := in.Peek(1)
			if headerErr == nil && (len(hello) == 0 || hello[0] != 22) {
				headerErr = errors.New("no hello behind the header")
			}
			_ = conn.Close()
			select {
			case seen <- headerErr:
			default:
			}
		}
	}()
	l.start(t, conf)
	if err := <-seen; err != nil {
		t.Errorf("the broker's load balancer sees %v in place of a header and a hello behind it", err)
	}
}
