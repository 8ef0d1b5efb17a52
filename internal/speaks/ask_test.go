package speaks

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kproxy/internal/certlab"
	"kproxy/internal/via/viatest"
	"kproxy/internal/wire"
)

// serving accepts connections until the test ends, and gives each to serve.
func serving(t *testing.T, serve func(c net.Conn)) (dial func(context.Context) (net.Conn, error)) {
	t.Helper()
	gate := viatest.NewGate(t, serve)
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", gate.Address)
	}
}

// kafka responds to one request over r and w as a broker or controller.
func kafka(r io.Reader, w io.Writer, payload []byte) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil || binary.BigEndian.Uint32(size[:]) > 1000 {
		return
	}
	request := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(r, request); err != nil {
		return
	}
	id := int32(binary.BigEndian.Uint32(request[4:]))
	_, _ = w.Write(append(wire.AppendResponsePrefix(nil, id, len(payload)), payload...))
	_, _ = io.Copy(io.Discard, r)
}

func greeting(text string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, text)
		_, _ = io.Copy(io.Discard, c)
	}
}

// secure serves inside TLS.
func secure(config *tls.Config, serve func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		s := tls.Server(c, config)
		if s.Handshake() == nil {
			serve(s)
		}
		_ = s.Close()
	}
}

func broker(c net.Conn)     { kafka(c, c, responseOf(brokersKeys...)) }
func controller(c net.Conn) { kafka(c, c, responseOf(controllersKeys...)) }

// behindHeader closes unless a PROXY header comes first, as HAProxy's accept-proxy does.
func behindHeader(c net.Conn) {
	r := bufio.NewReader(c)
	if b, err := r.Peek(6); err != nil || string(b) != "PROXY " {
		return
	}
	if _, err := r.ReadString('\n'); err == nil {
		kafka(r, c, responseOf(brokersKeys...))
	}
}

// zookeeper takes srvr, and closes at all else.
func zookeeper(c net.Conn) {
	var word [4]byte
	if _, err := io.ReadFull(c, word[:]); err == nil && string(word[:]) == "srvr" {
		_, _ = io.WriteString(c, "Zookeeper version: 3.8.4\nMode: standalone\n")
	}
}

// waits responds after the end of a line, as Redis and HTTP servers do.
func waits(text string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
			_, _ = io.WriteString(c, text)
		}
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	ca := certlab.NewAuthority(t, "the authority")
	pair := ca.Issue(t, nil, "b0.example.com", "10.0.0.1").Pair
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	mutual := config.Clone()
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, ca.Pool()
	mutual12 := mutual.Clone()
	mutual12.MaxVersion = tls.VersionTLS12
	closes := func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }
	for _, tt := range []struct {
		name   string
		serve  func(net.Conn)
		q      Question
		want   Kind
		secure bool
		wants  bool
	}{
		{"SSH greets", greeting("SSH-2.0-OpenSSH_9\r\n"), Question{}, SSH, false, false},
		{"a broker in TLS", secure(config, broker), Question{}, Kafka, true, false},
		{"a controller in TLS", secure(config, controller), Question{}, Controller, true, false},
		{"TLS and a client's certificate", secure(mutual, broker), Question{}, TLS, true, true},
		{"the same in TLS 1.2", secure(mutual12, broker), Question{}, TLS, true, true},
		{"HTTP inside TLS", secure(config, greeting("HTTP/1.1 400 Bad Request\r\n\r\n")), Question{}, HTTP, true, false},
		{"HTTP inside TLS that waits for a line", secure(config, waits("HTTP/1.1 400 Bad Request\r\n\r\n")), Question{}, HTTP, true, false},
		{"silence inside TLS", secure(config, greeting("")), Question{}, TLS, true, false},
		{"a broker without TLS", broker, Question{AfterTLS: true}, Kafka, false, false},
		{"a controller without TLS", controller, Question{AfterTLS: true}, Controller, false, false},
		{"closes at once", func(net.Conn) {}, Question{Closed: true}, ClosesFirst, false, false},
		{"closes at the first byte", closes, Question{Closed: true}, Closes, false, false},
		{"closes, and TLS was tried", closes, Question{Closed: true, AfterTLS: true}, Closes, false, false},
		{"silent", greeting(""), Question{}, Silent, false, false},
		{"a PROXY header is wanted", behindHeader, Question{Closed: true}, ProxyWanted, false, false},
		{"ZooKeeper", zookeeper, Question{Closed: true}, ZooKeeper, false, false},
		{"Redis", waits("-ERR unknown command\r\n+PONG\r\n"), Question{}, Redis, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.q.Dial = serving(t, tt.serve)
			got := Ask(t.Context(), tt.q)
			if got.Kind != tt.want || got.Secure != tt.secure || got.Wants != tt.wants {
				t.Errorf("got %+v, want %q, secure %t, wants a certificate %t", got, tt.want, tt.secure, tt.wants)
			}
			if tt.secure && (got.Cert == nil || got.Cert.For() != `"b0.example.com", "10.0.0.1"` || !strings.Contains(got.Cert.By(), "the authority") || got.Cert.Trusted) {
				t.Errorf("the certificate is %+v", got.Cert)
			}
		})
	}
}

// A real HTTP server responds to a TLS handshake in HTTP.
func TestAskHTTP(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", s.Listener.Addr().String())
	}
	if got := Ask(t.Context(), Question{Dial: dial}); got.Kind != HTTP || got.Secure {
		t.Errorf("got %+v", got)
	}
}

// A port that cannot be reached again stays unknown, and Ask ends with its context.
func TestAskEnds(t *testing.T) {
	t.Parallel()
	if got := Ask(t.Context(), Question{Dial: func(context.Context) (net.Conn, error) { return nil, io.EOF }}); got.Kind != Unreachable {
		t.Errorf("got %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	start := time.Now()
	dial := serving(t, greeting(""))
	Ask(ctx, Question{Dial: func(ctx context.Context) (net.Conn, error) {
		defer cancel()
		return dial(ctx)
	}})
	if took := time.Since(start); took > hearing {
		t.Errorf("it took %s", took)
	}
}
