package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"kproxy/internal/auth"
	"kproxy/internal/speaks"
	"kproxy/internal/tlsconf"
	"kproxy/internal/upstream"
	"kproxy/internal/via"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// dial is an error of a connection to an IP address.
func dial(ip string, err error) error {
	return fmt.Errorf("dial it: %w", &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 9092}, Err: err})
}

var (
	errRefused = os.NewSyscallError("connect", syscall.ECONNREFUSED)
	errNoRoute = os.NewSyscallError("connect", syscall.EHOSTUNREACH)
	errLate    = os.ErrDeadlineExceeded
)

// The verdict on an address, by the error and the facts around it.
func TestJudge(t *testing.T) {
	const far, near = "kafka.example.com:9092", "localhost:9092"
	handshake := func(f tlsconf.Failure) error { return &tlsconf.Error{Failure: f, Err: io.EOF} }
	login := func(err error, refused bool) error {
		return &auth.LoginError{Mechanism: "PLAIN", Refused: refused, Err: err}
	}
	kind := func(k speaks.Kind) speaks.Peer { return speaks.Peer{Kind: k} }
	overTLS := &config.UpstreamTLS{}
	for _, tt := range []struct {
		name string
		c    Case
		from string // the user's address
		want Verdict
		step Step
	}{
		{"no such name", Case{Err: &net.DNSError{Err: "no such host", IsNotFound: true}}, far, NameUnknown, Name},
		{"no name server", Case{Err: &net.DNSError{Err: "i/o timeout", IsTimeout: true, IsTemporary: true}}, far, NameTimeout, Name},
		{"0.0.0.0", Case{Address: "0.0.0.0:9092", Err: ErrNoAddress}, far, Wildcard, Name},
		{"::", Case{Address: "[::]:9092", Err: ErrNoAddress}, far, Wildcard, Name},
		{"no host", Case{Address: ":9092", Err: ErrNoAddress}, far, NoAddress, Name},
		{"missing", Case{Err: ErrMissing}, far, Missing, Name},
		{"localhost of another machine", Case{Address: "localhost:9092", Err: dial("127.0.0.1", errRefused)}, far, Localhost, Connect},
		{"127.0.0.1 of another machine", Case{Address: "127.0.0.1:9092", Err: dial("127.0.0.1", errLate)}, far, Localhost, Connect},
		{"another broker at localhost", Case{Address: "[::1]:9092", Err: &SelfError{AnotherNode, 7, "node 7 responds there"}}, far, Localhost, Itself},
		{"localhost of this machine", Case{Address: "localhost:9093", Err: dial("127.0.0.1", errRefused)}, near, Refused, Connect},
		{"refused", Case{Err: dial("192.0.2.1", errRefused)}, far, Refused, Connect},
		{"a port of a machine that responds", Case{Err: dial("172.17.0.2", errLate), KnownHost: true}, far, PortBlocked, Connect},
		{"a private address", Case{Address: "172.17.0.2:9092", Err: dial("172.17.0.2", errLate)}, far, Private, Connect},
		{"a name of a private address", Case{Err: dial("10.0.0.2", errLate)}, far, Private, Connect},
		{"a private address for bootstrap", Case{Node: proxy.NoNode, Err: dial("10.0.0.2", errLate)}, far, Filtered, Connect},
		{"nothing comes back", Case{Err: dial("192.0.2.1", errLate)}, far, Filtered, Connect},
		{"no route", Case{Err: dial("192.0.2.1", errNoRoute)}, far, NoRoute, Connect},
		{"another error of a dial", Case{Err: dial("192.0.2.1", syscall.EADDRNOTAVAIL)}, far, NotReached, Connect},
		{"metadata services are not dialled", Case{Err: &upstream.RefusedError{Problem: "link-local"}}, far, NotDialled, Connect},
		{"via", Case{Err: &via.Error{Outcome: via.OutcomeTargetUnreachable, Err: io.EOF}}, far, ViaFailed, Connect},
		{"another authority", Case{Err: handshake(tlsconf.Untrusted)}, far, Untrusted, TLS},
		{"expired", Case{Err: handshake(tlsconf.Expired)}, far, Expired, TLS},
		{"another name", Case{Err: handshake(tlsconf.WrongName)}, far, WrongName, TLS},
		{"a certificate is wanted", Case{Err: handshake(tlsconf.NoCertificate)}, far, WantsCert, TLS},
		{"Java wants a certificate", Case{Err: handshake(tlsconf.CertificateRefused)}, far, WantsCert, TLS},
		{"no common version", Case{Err: handshake(tlsconf.VersionRefused)}, far, TLSVersion, TLS},
		{"an unknown name", Case{Err: handshake(tlsconf.UnknownName)}, far, TLSName, TLS},
		{"a handshake that fails", Case{Err: handshake(tlsconf.Other)}, far, TLSFailed, TLS},
		{"plaintext at a TLS port", Case{Err: io.EOF, Peer: speaks.Peer{Kind: speaks.Kafka, Secure: true}}, far, WantsTLS, TLS},
		{"TLS at a plaintext port", Case{Err: handshake(tlsconf.Ended), Peer: kind(speaks.Kafka), User: &User{TLS: overTLS}}, far, NoTLS, TLS},
		{"TLS at an SSH server", Case{Err: handshake(tlsconf.NotTLS), Peer: kind(speaks.SSH), User: &User{TLS: overTLS}}, far, OtherThing, Kafka},
		{"HTTP", Case{Err: io.EOF, Peer: kind(speaks.HTTP)}, far, OtherThing, Kafka},
		{"HTTP inside TLS", Case{Err: io.EOF, Peer: speaks.Peer{Kind: speaks.HTTP, Secure: true}}, far, OtherThing, Kafka},
		{"bytes of no protocol", Case{Err: io.EOF, Peer: kind(speaks.Unknown)}, far, OtherThing, Kafka},
		{"ZooKeeper", Case{Err: io.EOF, Peer: kind(speaks.ZooKeeper)}, far, OtherThing, Kafka},
		{"a controller", Case{Err: &NotBrokerError{}}, far, IsControl, Kafka},
		{"a controller in TLS", Case{Err: io.EOF, Peer: speaks.Peer{Kind: speaks.Controller, Secure: true}}, far, IsControl, Kafka},
		{"a PROXY header is wanted", Case{Err: io.EOF, Peer: kind(speaks.ProxyWanted)}, far, ProxyFirst, Kafka},
		{"a PROXY header is sent", Case{Err: io.EOF, Peer: kind(speaks.ProxySent)}, far, ProxyFirst, Kafka},
		{"closes at once", Case{Err: io.EOF, Peer: kind(speaks.ClosesFirst)}, far, ClosesFirst, Kafka},
		{"closes", Case{Err: io.EOF, Peer: kind(speaks.Closes)}, far, Closes, Kafka},
		{"silent", Case{Err: context.DeadlineExceeded, Peer: kind(speaks.Silent)}, far, Silent, Kafka},
		{"silent at a handshake", Case{Err: handshake(tlsconf.Timeout), Peer: kind(speaks.Silent)}, far, Silent, Kafka},
		{"any other error", Case{Err: errors.New("a response of 2000000 bytes")}, far, BadKafka, Kafka},
		{"a mechanism", Case{Err: login(&auth.OfferError{Offered: []string{"PLAIN"}}, true)}, far, Mechanism, Login},
		{"a password", Case{Err: login(io.EOF, false)}, far, Password, Login},
		{"no logins", Case{Err: login(auth.ErrNoLogin, true)}, far, NoLogin, Login},
		{"no TLS for a secret", Case{Err: login(auth.ErrPlaintext, false)}, far, Plaintext, Login},
		{"no TLS for a secret, and the port has it", Case{Err: login(auth.ErrPlaintext, false), Peer: speaks.Peer{Kind: speaks.Kafka, Secure: true}}, far, WantsTLS, TLS},
		{"any other error of a login", Case{Err: login(errors.New("x"), false)}, far, LoginFailed, Login},
		{"a login is wanted", Case{Err: proxy.ErrNeedsLogin}, far, LoginWanted, Login},
		{"no Kafka before a login", Case{Err: &auth.LoginError{Unanswered: true, Err: io.EOF}, Peer: kind(speaks.Closes)}, far, Closes, Kafka},
	} {
		c := tt.c
		if c.User == nil {
			c.User = &User{}
		}
		c.User.Addresses = []string{tt.from}
		if c.Address == "" {
			c.Address = "b1.example.com:9092"
		}
		got, step, reason, fix := Judge(c)
		if got != tt.want || step != tt.step || reason == "" || fix.Text == "" || fix.Docs == "" {
			t.Errorf("%s: got %q at %s: %s; %+v; want %q at %s", tt.name, got, step, reason, fix, tt.want, tt.step)
		}
	}
}

// The report has the IP address of a name, unless the connection goes through another
// machine.
func TestResolved(t *testing.T) {
	for address, want := range map[string]string{"b0.example.com:9092": "192.0.2.1", "192.0.2.1:9092": "", "localhost:9092": "", "x": ""} {
		if got := Resolved(dial("192.0.2.1", errRefused), address); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
	if got := Resolved(&via.Error{Err: dial("192.0.2.1", errRefused)}, "b0:1"); got != "" {
		t.Errorf("through another machine: %q", got)
	}
}

// Each verdict has a reason and a fix of its own for both kinds of addresses and all kinds
// of users, which mention the keys that the user has.
func TestFixesNameTheUsersKeys(t *testing.T) {
	shown := speaks.Peer{Kind: speaks.Kafka, Secure: true, Cert: &speaks.Certificate{Names: []string{"b0.example.com"}, Issuer: "CN=ca"}}
	offer := &auth.LoginError{Refused: true, Err: &auth.OfferError{Offered: []string{"GSSAPI", "SCRAM-SHA-512"}}}
	password := &auth.LoginError{Refused: true, Err: io.EOF}
	for _, tt := range []struct {
		name                     string
		c                        Case
		flags, java, rdkafka     string // of the lines, or of the command
		flagText, javaT, rdkafkT string
	}{
		{"TLS is wanted", Case{Err: io.EOF, Peer: shown}, "kproxy doctor b0:9092 --tls --ca FILE", "security.protocol=SSL ssl.truststore.type=PEM ssl.truststore.location=FILE", "security.protocol=SSL ssl.ca.location=FILE", "--tls", "security.protocol", "security.protocol"},
		{"a mechanism", Case{Err: offer}, "kproxy doctor b0:9092 --sasl SCRAM-SHA-512", `sasl.mechanism=SCRAM-SHA-512 sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="alice" password="SECRET";`, "sasl.mechanism=SCRAM-SHA-512", "--sasl SCRAM-SHA-512", "sasl.mechanism=SCRAM-SHA-512", "sasl.mechanism=SCRAM-SHA-512"},
		{"a password", Case{Err: password}, "", "", "", "--password-file", "sasl.jaas.config", "sasl.password"},
		{"a certificate", Case{Err: &tlsconf.Error{Failure: tlsconf.NoCertificate, Err: io.EOF}}, "kproxy doctor b0:9092 --cert FILE --key FILE", "ssl.keystore.type=PEM ssl.keystore.location=FILE", "ssl.certificate.location=FILE ssl.key.location=FILE", "--cert", "ssl.keystore.location", "ssl.certificate.location"},
	} {
		for _, u := range []struct {
			user        User
			lines, text string
		}{
			{User{}, tt.flags, tt.flagText},
			{User{File: "client.properties"}, tt.java, tt.javaT},
			{User{File: "client.conf", Librdkafka: true}, tt.rdkafka, tt.rdkafkT},
		} {
			c := tt.c
			u.user.Addresses, u.user.Args = []string{"b0:9092"}, []string{"b0:9092"}
			if tt.name == "a mechanism" {
				u.user.SASL = &config.SASL{Mechanism: "PLAIN", Username: "alice"}
				if u.user.File == "" {
					u.user.Args = append(u.user.Args, "--sasl", "PLAIN")
				}
			}
			c.User, c.Node, c.Address = &u.user, proxy.NoNode, "b0:9092"
			_, _, _, fix := Judge(c)
			lines := strings.Join(fix.Properties, " ") + fix.Command
			if lines != u.lines || !strings.Contains(fix.Text, u.text) {
				t.Errorf("%s, %+v: got %q, want %q; %q, want %q", tt.name, u.user, lines, u.lines, fix.Text, u.text)
			}
			if u.user.File != "" && strings.Contains(fix.Text, "--") {
				t.Errorf("%s: flags in the place of keys: %s", tt.name, fix.Text)
			}
		}
	}
}

// Faults of a listener have lines for the broker, with the known values filled in.
func TestFixesOfListeners(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    Case
		want string
	}{
		{"localhost, and where it works is known", Case{Address: "localhost:9092", Err: dial("127.0.0.1", errRefused), Working: "b0.example.com:9092"}, "advertised.listeners=PLAINTEXT://b0.example.com:9092"},
		{"localhost, and it is not", Case{Address: "localhost:9092", Err: dial("127.0.0.1", errRefused)}, "advertised.listeners=PLAINTEXT://HOST:9092"},
		{"0.0.0.0", Case{Address: "0.0.0.0:9092", Err: ErrNoAddress}, "advertised.listeners=PLAINTEXT://HOST:9092"},
		{"a balancer", Case{Address: "lb:9092", Err: &SelfError{Balancer, 0, "x"}}, "advertised.listeners=PLAINTEXT://HOST:9092"},
		{"a closed port", Case{Address: "b0:9093", Err: dial("192.0.2.1", errRefused), Working: "b0.example.com:9092"}, "advertised.listeners=PLAINTEXT://b0.example.com:9092"},
		{"a closed port, and nothing is known", Case{Address: "b0:9093", Err: dial("192.0.2.1", errRefused)}, "advertised.listeners=PLAINTEXT://b0:PORT"},
		{"a filtered port", Case{Address: "192.0.2.1:9093", Err: dial("192.0.2.1", errLate), KnownHost: true}, ""},
		{"a controller's port", Case{Address: "b0:9093", Err: &NotBrokerError{}}, "advertised.listeners=PLAINTEXT://b0:PORT"},
		{"TLS at its port", Case{Address: "b0:9093", Err: io.EOF, Peer: speaks.Peer{Kind: speaks.Kafka, Secure: true}}, "advertised.listeners=PLAINTEXT://b0:PORT"},
	} {
		tt.c.User = &User{Addresses: []string{"kafka.example.com:9092"}}
		_, _, _, fix := Judge(tt.c)
		if got := strings.Join(fix.Properties, " "); got != tt.want || len(fix.Env) != len(fix.Properties) || (got != "") != (fix.File == "server.properties of node 0") {
			t.Errorf("%s: %q, want %q; %+v", tt.name, got, tt.want, fix)
		}
		if (strings.Contains(tt.want, "HOST") || strings.Contains(tt.want, "PORT")) && len(fix.Notes) < 2 {
			t.Errorf("%s: no note gives the value to write: %q", tt.name, fix.Notes)
		}
	}
}
