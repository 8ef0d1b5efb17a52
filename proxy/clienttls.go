package proxy

import (
	"kproxy/internal/tlsconf"
	"kproxy/internal/tlslog"
	"kproxy/proxy/config"
)

// newClientTLS reads the files of the listener's TLS; nil where there is none.
func (l *listener) newClientTLS(conf *config.ListenerPlan) (*tlsconf.Server, error) {
	if conf.TLS == nil {
		return nil, nil
	}
	server, err := tlsconf.NewServer(conf.ServerConfig(l.cluster.name), tlslog.Events(l.log, l.key))
	if err != nil {
		return nil, config.TLSFileErrors(l.key, err)
	}
	return server, nil
}
