package proxy

import (
	"kproxy/internal/tlsconf"
	"kproxy/internal/tlslog"
	"kproxy/proxy/config"
)

// newClientTLS reads the files of the listener's TLS; nil where there is none.
func (l *listener) newClientTLS() (*tlsconf.Server, error) {
	if l.conf.TLS == nil {
		return nil, nil
	}
	server, err := tlsconf.NewServer(l.conf.ServerConfig(l.cluster.conf.Name), tlslog.Events(l.log, l.conf.Key))
	if err != nil {
		return nil, config.TLSFileErrors(l.conf.Key, err)
	}
	return server, nil
}
