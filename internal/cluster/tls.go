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

// newBrokerTLS reads the files of a cluster's TLS; nil where there is none.
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

// maxTLSError is the most characters of an error of TLS, in which the names of the
// broker's certificate stand, up to 100 of them.
const maxTLSError = 500

// greet makes a new connection one to send requests on: it says who the client
// is, where it has to, and speaks TLS, where the cluster does. The broker's own
// name is looked for in its certificate, wherever dial rules have led. greet
// closes conn on any error.
func (c *Cluster) greet(ctx context.Context, conn net.Conn, t upstream.Target, who Client) (net.Conn, error) {
	if err := c.introduce(ctx, conn, who); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if c.TLS == nil {
		return conn, nil
	}
	secure, err := c.TLS.Handshake(ctx, relay.NewRawTCPConn(conn), hostport.Canonical(t.Host))
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS with %s, as %s: %w", t, foreign.LineOf(hostport.Join(t.Host, t.Port), maxServerName), foreign.ErrorOf(err, maxTLSError))
	}
	return secure, nil
}

// TLSReadError translates a read error of a broker's connection into the TLS alert behind
// it. In TLS 1.3 a broker rejects a client certificate after the handshake.
func (c *Cluster) TLSReadError(err error) error {
	if c.TLS == nil {
		return err
	}
	return c.TLS.Explain(err)
}

// Advice returns the fix for a handshake that failed; "" for any other error.
func Advice(err error) string {
	if failed, ok := errors.AsType[*tlsconf.Error](err); ok {
		return failed.Advice
	}
	return ""
}
