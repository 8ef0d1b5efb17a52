package doctor

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"kproxy/internal/speaks"
	"kproxy/internal/tlsconf"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// The end of a handshake and the end of a response have texts of their own.
func TestJudgeFailures(t *testing.T) {
	overTLS := &User{TLS: &config.UpstreamTLS{}}
	tooLarge := errors.New("tls: handshake message of length 276000 bytes exceeds maximum of 262144 bytes")
	for name, tt := range map[string]struct {
		c    Case
		want Verdict
		says string
	}{
		"a handshake that takes long":         {Case{User: overTLS, Err: &tlsconf.Error{Failure: tlsconf.Timeout, Err: context.DeadlineExceeded}}, TLSFailed, "the TLS handshake has not ended in time"},
		"a certificate that is too large":     {Case{User: overTLS, Err: &tlsconf.Error{Failure: tlsconf.Other, Err: tooLarge}, Peer: speaks.Peer{Kind: speaks.Closes}}, TLSFailed, "message of length 276000"},
		"a port that closes at a handshake":   {Case{User: overTLS, Err: &tlsconf.Error{Failure: tlsconf.Ended, Err: io.EOF}, Peer: speaks.Peer{Kind: speaks.Closes}}, Closes, "closes it"},
		"Metadata without a response":         {Case{User: &User{}, Err: &AnsweredError{context.DeadlineExceeded}}, BadKafka, "Metadata fails: no response in time"},
		"Metadata that ends":                  {Case{User: &User{}, Err: &AnsweredError{io.ErrUnexpectedEOF}}, BadKafka, "before the response is complete"},
		"an id of two brokers":                {Case{User: &User{}, Node: 1, Err: &IDError{"2 brokers have this id"}}, BadID, "2 brokers have this id"},
		"a negative id, as the user's own is": {Case{User: &User{}, Node: proxy.NoNode, Err: &IDError{"the id is negative"}}, BadID, "the id is negative"},
	} {
		tt.c.Address = "b1.example.com:9092"
		got, _, reason, fix := Judge(tt.c)
		if got != tt.want || !strings.Contains(reason, tt.says) || fix.Text == "" || fix.Docs == "" {
			t.Errorf("%s: %s: %s; want %s with %q; fix %+v", name, got, reason, tt.want, tt.says, fix)
		}
	}
}
