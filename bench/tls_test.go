//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func testKeys(t *testing.T) *keyFiles {
	t.Helper()
	k, err := makeKeys(&workshop{dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func serverConfig(t *testing.T, k *keyFiles) *tls.Config {
	t.Helper()
	config, err := k.server()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// Clients of any kind can be configured to trust the certificate, by its name and by the
// address that all listen at.
func TestCertificate(t *testing.T) {
	k := testKeys(t)
	leaf := serverConfig(t, k).Certificates[0].Leaf
	config, err := k.client()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{tlsName, "127.0.0.1"} {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: config.RootCAs}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if leaf.PublicKeyAlgorithm != x509.ECDSA {
		t.Errorf("got a key of %v", leaf.PublicKeyAlgorithm)
	}
	about, err := k.about()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(about.Certificate, "PRIVATE") || !strings.Contains(about.Certificate, "BEGIN CERTIFICATE") {
		t.Error("the report has the key, or has not the certificate")
	}
	if info, err := os.Stat(k.Key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}
}

func TestAsPinned(t *testing.T) {
	for _, c := range []struct {
		name           string
		version, suite uint16
		want           error
	}{
		{"the one cipher", tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256, nil},
		{"another cipher", tls.VersionTLS13, tls.TLS_AES_256_GCM_SHA384, errOtherTLS},
		{"without AES instructions", tls.VersionTLS13, tls.TLS_CHACHA20_POLY1305_SHA256, errOtherTLS},
		{"another version", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, errOtherTLS},
	} {
		if got := asPinned(tls.ConnectionState{Version: c.version, CipherSuite: c.suite}); !errors.Is(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// startRelay starts the blind relay with TLS on the workload's sides.
func startTLSRelay(t *testing.T, k *keyFiles, sides tlsSides, broker string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var r relay
	if sides.down() {
		r.down = serverConfig(t, k)
	}
	if sides.up() {
		if r.up, err = k.client(); err != nil {
			t.Fatal(err)
		}
	}
	stop := context.AfterFunc(t.Context(), func() { _ = l.Close() })
	t.Cleanup(func() { stop() })
	serve := r.to(t.Context(), broker)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn.(*net.TCPConn))
		}
	}()
	return l.Addr().String()
}

// Load, relay and broker speak TLS on the sides that a workload says, also frames
// of many records, and plaintext on the others.
func TestLoadsOverTLS(t *testing.T) {
	t.Parallel()
	k := testKeys(t)
	plain, secure := startFakeBroker(t), startSecureBroker(t, serverConfig(t, k))
	for _, c := range []struct {
		sides  tlsSides
		broker string
	}{{tlsDown, plain}, {tlsUp, secure}, {tlsBoth, secure}} {
		for _, w := range []workload{produceOf(4*kib, 2), fetchOf(17, 4*kib, 2), fetchOf(17, mib, 1)} {
			w = w.secured(c.sides)
			t.Run(w.Name, func(t *testing.T) {
				job := loadJob{Work: w, Address: startTLSRelay(t, k, c.sides, c.broker), Warmup: 20 * time.Millisecond}
				if c.sides.down() {
					job.Keys = k
				}
				for _, rate := range []float64{0, 200} {
					job.Rate = rate
					untilMeasured(t, 200*time.Millisecond, func(d time.Duration) string {
						job.Duration = d
						if marks := runLoad(t, job); marks[2].Requests == marks[1].Requests {
							return fmt.Sprintf("at %v a second: got %+v", rate, marks)
						}
						return ""
					})
				}
			})
		}
	}
}

// A server that speaks an older TLS is not measured.
func TestLoadRefusesOtherTLS(t *testing.T) {
	k := testKeys(t)
	config := serverConfig(t, k)
	config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	err := ping(t.Context(), &place{net: loopback}, startSecureBroker(t, config), k)
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("got %v", err)
	}
}

// A response that is too large to be copied begins with a full record.
func TestAnswersFillRecords(t *testing.T) {
	var out pieces
	c := &brokerConn{broker: &fakeBroker{tls: &tls.Config{}}, conn: &out, response: &response{rest: bytes.Repeat([]byte{7}, 64*kib)}}
	if err := c.write(5); err != nil {
		t.Fatal(err)
	}
	if len(out.lengths) != 2 || out.lengths[0] != 16*kib || out.lengths[1] != 64*kib+8-16*kib {
		t.Errorf("got writes of %v", out.lengths)
	}
}

// pieces notes the lengths of writes. Any other call is a bug.
type pieces struct {
	net.Conn
	lengths []int
}

func (p *pieces) Write(b []byte) (int, error) {
	p.lengths = append(p.lengths, len(b))
	return len(b), nil
}

// A target's configuration has TLS on the workload's sides, and the one cipher.
func TestTargetsConfigureTLS(t *testing.T) {
	e := &env{keys: &keyFiles{Cert: "/c.pem", Key: "/c.pem.key"}}
	for _, sides := range []tlsSides{noTLS, tlsDown, tlsUp, tlsBoth} {
		var global, stream strings.Builder
		bind, server := e.haproxyTLS(&global, sides)
		listen := e.nginxTLS(&stream, sides)
		if (bind != "") != sides.down() || (server != "") != sides.up() || (listen != "") != sides.down() {
			t.Errorf("%s: got %q, %q, %q", sides.Text(), bind, server, listen)
		}
		if got := strings.Contains(stream.String(), "proxy_ssl on"); got != sides.up() {
			t.Errorf("%s: got %s", sides.Text(), stream.String())
		}
		want := map[tlsSides]int{noTLS: 0, tlsDown: 1, tlsUp: 1, tlsBoth: 2}[sides]
		for _, text := range []string{global.String(), stream.String()} {
			if got := strings.Count(text, tlsSuiteName); got != want {
				t.Errorf("%s: the cipher is named %d times, want %d:\n%s", sides.Text(), got, want, text)
			}
		}
	}
}

// Without a proxy there is one connection, which has TLS where the workload has
// any; a proxy's brokers have it where the workload says so.
func TestRouteOf(t *testing.T) {
	plain := upstream{addresses: []string{"plain"}, direct: []string{"plain"}}
	secure := upstream{addresses: []string{"secure"}, direct: []string{"secure"}}
	for _, c := range []struct {
		sides            tlsSides
		upstream, direct string
	}{{noTLS, "plain", "plain"}, {tlsDown, "plain", "secure"}, {tlsUp, "secure", "secure"}, {tlsBoth, "secure", "secure"}} {
		w := fetchOf(17, kib, 1)
		w.TLS = c.sides
		r := routeOf(w, nil, plain, secure)
		if r.upstream[0] != c.upstream || r.direct[0] != c.direct {
			t.Errorf("%s: got %v, %v", c.sides.Text(), r.upstream, r.direct)
		}
	}
}
