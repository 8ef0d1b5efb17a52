package doctor

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"kproxy/internal/speaks"
	"kproxy/internal/tlsconf"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// Causes that look alike have advice of their own.
func TestAdvice(t *testing.T) {
	cert := func(from, to time.Duration) speaks.Peer {
		return speaks.Peer{Cert: &speaks.Certificate{NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to)}}
	}
	expired := &tlsconf.Error{Failure: tlsconf.Expired, Err: io.EOF}
	for _, tt := range []struct {
		name          string
		c             Case
		reason, text  string
		not, property string
	}{
		{"not valid yet", Case{Err: expired, Peer: cert(time.Hour, 2*time.Hour)}, "not yet valid", "clock is right", "renew", ""},
		{"expired", Case{Err: expired, Peer: cert(-2*time.Hour, -time.Minute)}, time.Now().Add(-time.Minute).UTC().Format("to 2006-01-02 15:04 UTC"), "renew", "is right", ""},
		{"half a response", Case{Err: context.DeadlineExceeded, Peer: speaks.Peer{Kind: speaks.Cut}}, "stops before its end", "hangs", "unknown", ""},
		{"half a response, and closed", Case{Err: io.ErrUnexpectedEOF, Peer: speaks.Peer{Kind: speaks.Kafka}}, "stops before its end", "log", "unknown", ""},
		{"a name server that fails", Case{Err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}}, "name server", "name server", "spelt", ""},
		{"a broker behind send-proxy", Case{Err: io.EOF, Peer: speaks.Peer{Kind: speaks.ClosesFirst}}, "closes it before", "send-proxy", "", ""},
		{"a controller", Case{Err: &NotBrokerError{}, User: &User{File: "f"}}, "controller", "9092", "", "bootstrap.servers=HOST:9092"},
		{"refused", Case{Err: dial("192.0.2.1", errRefused)}, "refused", "the end of its log says why", "", ""},
	} {
		if tt.c.User == nil {
			tt.c.User = &User{}
		}
		tt.c.Node, tt.c.Address = proxy.NoNode, "b0.example.com:9092"
		_, _, reason, fix := Judge(tt.c)
		if !strings.Contains(reason, tt.reason) || !strings.Contains(fix.Text, tt.text) || strings.Join(fix.Properties, " ") != tt.property {
			t.Errorf("%s: %s; %+v", tt.name, reason, fix)
		}
		if tt.not != "" && strings.Contains(reason+fix.Text, tt.not) {
			t.Errorf("%s: has %q: %s; %s", tt.name, tt.not, reason, fix.Text)
		}
	}
}

// A broker's lines end in a restart, and the advice does not doubt that a broker runs
// which responds elsewhere.
func TestLinesForABroker(t *testing.T) {
	for text, c := range map[string]Case{
		"the broker runs": {Err: dial("192.0.2.1", errRefused), Working: "b0.example.com:9092"},
		"container":       {Err: &net.DNSError{IsNotFound: true}},
	} {
		c.User, c.Address = &User{Addresses: []string{"kafka.example.com:9092"}}, "b1.example.com:9093"
		if _, _, _, fix := Judge(c); !strings.Contains(fix.Text, text) || !strings.HasSuffix(fix.Text, restart) {
			t.Errorf("%s: %+v", text, fix)
		}
	}
}

// A file's PLAIN without TLS works, and the text says that it sends the password; a single broker
// is no "all".
func TestPrintPlain(t *testing.T) {
	for mechanism, want := range map[string]bool{"PLAIN": true, "SCRAM-SHA-256": false} {
		r := &Report{Heard: true, Brokers: 1, User: User{File: "f", Addresses: []string{"b0:9092"}, SASL: &config.SASL{Mechanism: mechanism}}}
		var out bytes.Buffer
		if err := r.Print(&out, Style{}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "readable") != want || !strings.Contains(out.String(), "can use the broker.") {
			t.Errorf("%s: %s", mechanism, out.String())
		}
	}
}
