package proxy_test

import (
	"crypto/tls"
	"testing"

	"kproxy/proxy"
)

// A flood of connections that send no request is not one of the log.
func TestFloodOfForeignRequests(t *testing.T) {
	t.Parallel()
	const flood = 200
	var l lab
	l.startBroker(t, 0, 0)
	conf := l.config()
	conf.Clusters[0].Listeners[0].TLS = nil
	l.start(t, conf)
	for range flood {
		_ = l.dial(t, "bob.test:9092").tryWrite([]byte("GET / HTTP/1.1\r\n\r\n"))
		l.ended(t, proxy.ForeignProtocol)
	}
	l.proxy.Shutdown(t.Context())
	l.log.times(t, 1, "session closed", "reason=foreign_protocol")
	l.log.has(t, "more sessions closed", "reason=foreign_protocol", "source=127.0.0.1")
	if n := l.log.count("more sessions closed", "reason=foreign_protocol", "source=127.0.0.1"); n > 20 {
		t.Errorf("%d lines tell of the others", n)
	}
	if n := len(l.log.entries()); n > flood/2 {
		t.Errorf("the log has %d lines", n)
	}
}

// Nor is one of names without an endpoint.
func TestFloodOfUnknownNames(t *testing.T) {
	t.Parallel()
	l := newSNILab(t)
	l.startBroker(t, 0, 0)
	l.startBroker(t, 10, 10)
	l.start(t, l.conf)
	for range 50 {
		raw := l.dial(t, "127.0.0.1:9093")
		if err := tls.Client(raw.conn, &tls.Config{ServerName: "nobody.test", InsecureSkipVerify: true}).HandshakeContext(t.Context()); err == nil {
			t.Fatal("a name without an endpoint is served")
		}
		_ = raw.conn.Close()
		l.ended(t, proxy.TLSUnknownName)
	}
	l.proxy.Shutdown(t.Context())
	l.log.times(t, 1, "session closed", "reason=tls_unknown_sni")
	l.log.has(t, "more sessions closed", "reason=tls_unknown_sni", "connections=")
}
