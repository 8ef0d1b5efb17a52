package via_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"kproxy/internal/via"
	"kproxy/internal/via/viatest"
)

func replace(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Any wrapper of a TCP connection disables splice.
func TestTCPIsNotWrapped(t *testing.T) {
	b := viatest.Broker(t)
	for _, url := range []string{"socks5://" + viatest.SOCKS5(t, false).Address, "http://" + viatest.Connect(t, false).Address} {
		conn := rig{Dialer: viatest.Dialer(t, via.Config{URL: url})}.connect(t, b.Far())
		if _, raw := conn.(*net.TCPConn); !raw {
			t.Errorf("%s: got a %T, want *net.TCPConn", url, conn)
		}
		viatest.Exchange(t, conn, "x")
	}
}

func TestLoginRefused(t *testing.T) {
	b := viatest.Broker(t)
	for _, url := range []string{"socks5://USER" + viatest.SOCKS5(t, true).Address, "http://USER" + viatest.Connect(t, true).Address} {
		tests := map[string]via.Config{
			"none":             {URL: strings.Replace(url, "USER", "", 1)},
			"another user":     {URL: strings.Replace(url, "USER", "x@", 1), PasswordFile: viatest.File(t, viatest.Password)},
			"another password": {URL: strings.Replace(url, "USER", viatest.User+"@", 1), PasswordFile: viatest.File(t, "x")},
		}
		for name, c := range tests {
			got, err := viatest.Outcome(t, t.Context(), viatest.Dialer(t, c), b.Far())
			if got != via.OutcomeLoginRefused {
				t.Errorf("%s, %s: got %s (%v), want %s", url, name, got, err, via.OutcomeLoginRefused)
			}
			if name == "none" && !strings.Contains(err.Error(), "password file") {
				t.Errorf("%v has no advice", err)
			}
		}
	}
	// A proxy without logins accepts one that is offered.
	c := via.Config{URL: "socks5://" + viatest.User + "@" + viatest.SOCKS5(t, false).Address, PasswordFile: viatest.File(t, viatest.Password)}
	viatest.Exchange(t, rig{Dialer: viatest.Dialer(t, c)}.connect(t, b.Far()), "x")
}

// The status line of a refusal is reported; the rest is not read.
func TestConnectRefusal(t *testing.T) {
	g := viatest.NewGate(t, func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, "HTTP/1.1 502 Host \x1b[31m"+strings.Repeat("long ", 100)+"\r\nContent-Length: 1000000\r\n\r\n<html>")
	})
	_, err := viatest.Outcome(t, t.Context(), viatest.Dialer(t, via.Config{URL: "http://" + g.Address}), viatest.FarName+":9092")
	if text := err.Error(); !strings.Contains(text, `HTTP/1.1 502 Host \x1b[31mlong`) || len(text) > 400 {
		t.Errorf("got %s, want a short, quoted status line", text)
	}
}

// Responses of 1xx come before the last one (RFC 9110, 15.2).
func TestConnectInterimAnswers(t *testing.T) {
	g := viatest.NewGate(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		_, _ = http.ReadRequest(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nearly")
		_ = conn.(*net.TCPConn).CloseWrite()
	})
	conn := rig{Dialer: viatest.Dialer(t, via.Config{URL: "http://" + g.Address})}.connect(t, viatest.FarName+":9092")
	if got, err := io.ReadAll(conn); string(got) != "early" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for name, response := range map[string]string{
		"101":     "HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"endless": strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 10_000),
	} {
		g := viatest.NewGate(t, func(conn net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, response)
		})
		if got, err := viatest.Outcome(t, t.Context(), viatest.Dialer(t, via.Config{URL: "http://" + g.Address}), viatest.FarName+":9092"); got != via.OutcomeProxyProtocol {
			t.Errorf("%s: got %s (%v), want %s", name, got, err, via.OutcomeProxyProtocol)
		}
	}
}

// The far side's first bytes may come in one piece with the response.
func TestConnectEarlyBytes(t *testing.T) {
	g := viatest.NewGate(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		_, _ = http.ReadRequest(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nearly ")
		_, _ = io.Copy(conn, r)
		_ = conn.(*net.TCPConn).CloseWrite()
	})
	conn := rig{Dialer: viatest.Dialer(t, via.Config{URL: "http://" + g.Address})}.connect(t, viatest.FarName+":9092")
	_, _ = io.WriteString(conn, "late")
	endWrite(t, conn)
	if got, err := io.ReadAll(conn); string(got) != "early late" || err != nil {
		t.Errorf("got %q, %v; want both", got, err)
	}
}

// A response that comes byte by byte is read.
func TestAnswersByteByByte(t *testing.T) {
	answers := map[string]string{
		"socks5": "\x05\x02\x01\x00\x05\x00\x00\x03\x04host\x00\x01",
		"http":   "HTTP/1.0 200 OK\r\nVia: x\r\n\r\n",
	}
	for scheme, response := range answers {
		g := viatest.NewGate(t, func(conn net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			for i := range len(response) {
				_, _ = conn.Write([]byte{response[i]})
			}
			_, _ = io.WriteString(conn, "hello")
			<-t.Context().Done()
		})
		conn, err := viatest.Dialer(t, configFor(t, scheme, g)).DialContext(t.Context(), "tcp", viatest.FarName+":9092")
		if err != nil {
			t.Errorf("%s: %v", scheme, err)
			continue
		}
		defer conn.Close()
		got := make([]byte, 5)
		if _, err := io.ReadFull(conn, got); string(got) != "hello" || err != nil {
			t.Errorf("%s: got %q, %v", scheme, got, err)
		}
	}
}

// https: the login is sent only if the proxy's certificate is valid.
func TestHTTPSProxy(t *testing.T) {
	pair := httptest.NewUnstartedServer(nil)
	pair.StartTLS() // for its certificate, which is 127.0.0.1's
	defer pair.Close()
	config := pair.TLS.Clone()
	config.NextProtos = nil
	g := viatest.NewGate(t, func(conn net.Conn) {
		secure := tls.Server(conn, config)
		viatest.ServeConnect(secure, secure.CloseWrite, true)
	})
	b := viatest.Broker(t)
	roots := x509.NewCertPool()
	roots.AddCert(pair.Certificate())
	c := via.Config{URL: fmt.Sprintf("https://%s@127.0.0.1:%d", viatest.User, g.Port()), DialProxy: g.Dial, PasswordFile: viatest.File(t, viatest.Password), TLS: &tls.Config{RootCAs: roots}}
	conn := rig{viatest.Dialer(t, c), g}.connect(t, b.Far())
	_, _ = io.WriteString(conn, "x")
	endWrite(t, conn)
	if got, err := io.ReadAll(conn); string(got) != "x" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}

	c.TLS = nil
	if got, err := viatest.Outcome(t, t.Context(), viatest.Dialer(t, c), b.Far()); got != via.OutcomeProxyUntrusted {
		t.Errorf("got %s (%v), want %s", got, err, via.OutcomeProxyUntrusted)
	}
	plain := viatest.Connect(t, false)
	c.DialProxy = nil
	c.URL = "https://" + viatest.User + "@" + plain.Address
	if got, err := viatest.Outcome(t, t.Context(), viatest.Dialer(t, c), b.Far()); got != via.OutcomeProxyProtocol {
		t.Errorf("got %s (%v), want %s", got, err, via.OutcomeProxyProtocol)
	}
	mute := viatest.NewGate(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	c.URL = "https://" + viatest.User + "@" + mute.Address
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if got, err := viatest.Outcome(t, ctx, viatest.Dialer(t, c), b.Far()); got != via.OutcomeCanceled {
		t.Errorf("got %s (%v), want %s", got, err, via.OutcomeCanceled)
	}
}

// The files are read for each login: a password that was replaced is used.
func TestPasswordReplaced(t *testing.T) {
	g := viatest.SOCKS5(t, true)
	b := viatest.Broker(t)
	path := viatest.File(t, "old")
	d := viatest.Dialer(t, via.Config{URL: "socks5://" + viatest.User + "@" + g.Address, PasswordFile: path})
	if got, err := viatest.Outcome(t, t.Context(), d, b.Far()); got != via.OutcomeLoginRefused {
		t.Errorf("got %s (%v), want %s", got, err, via.OutcomeLoginRefused)
	}
	replace(t, path, viatest.Password+"\r\n")
	viatest.Exchange(t, rig{d, g}.connect(t, b.Far()), "x")
	replace(t, path, string(bytes.Repeat([]byte("x"), 65<<10)))
	if got, err := viatest.Outcome(t, t.Context(), d, b.Far()); got != via.OutcomeCredentials {
		t.Errorf("got %s (%v), want %s", got, err, via.OutcomeCredentials)
	}
}
