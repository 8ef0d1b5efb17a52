package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/internal/relay"
	"kproxy/internal/tlsconf"
	"kproxy/internal/tlslog"
	"kproxy/internal/upstream"
	"kproxy/proxy/config"
)

// newBrokerTLS reads the files of a cluster's tls. It returns nil without tls.
func newBrokerTLS(conf *config.ClusterPlan, log *slog.Logger) (*tlsconf.Client, error) {
	if conf.TLS == nil {
		return nil, nil
	}
	keys := tlsconf.ClientConfig(*conf.TLS)
	keys.ServerName = hostport.Canonical(keys.ServerName)
	client, err := tlsconf.NewClient(keys, tlslog.Events(log, conf.Key))
	if err != nil {
		return nil, config.TLSFileErrors(conf.Key, err)
	}
	if conf.TLS.InsecureSkipVerify {
		log.Warn("any certificate is accepted as a broker's: a machine between can read and change everything",
			slog.String(logkey.Fix, "set clusters."+conf.Name+".tls.ca in place of insecure_skip_verify"))
	}
	return client, nil
}

// maxServerName is the longest server name that an error shows, in bytes.
const maxServerName = 255

// maxTLSError bounds the characters of a TLS error. Such an error can have the names of the
// broker's certificate, up to 100 of them.
const maxTLSError = 500

// handshake prepares a new connection for requests: it sends the PROXY protocol header and
// does the TLS handshake, if the cluster's configuration has them. The broker's certificate
// must have the broker's own name, also if a dial rule has led elsewhere. handshake closes
// conn on any error.
func (w *Way) handshake(ctx context.Context, conn net.Conn, t upstream.Target, who Client) (net.Conn, error) {
	if err := w.sendProxyHeader(ctx, conn, who); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if w.tls == nil {
		return conn, nil
	}
	secure, err := w.tls.Handshake(ctx, relay.NewRawTCPConn(conn), hostport.Canonical(t.Host))
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS with %s, as %s: %w", t, foreign.LineOf(hostport.Join(t.Host, t.Port), maxServerName), foreign.ErrorOf(err, maxTLSError))
	}
	return secure, nil
}

// Advice returns the fix for a handshake that failed; "" for any other error.
func Advice(err error) string {
	if failed, ok := errors.AsType[*tlsconf.Error](err); ok {
		return failed.Advice
	}
	return ""
}
