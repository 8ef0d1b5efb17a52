package proxy

import (
	"kproxy/internal/tlsconf"
	"kproxy/internal/tlslog"
)

// newClientTLS reads the files of the listener's TLS; nil where there is none.
func (l *listener) newClientTLS() (*tlsconf.Server, error) {
	if l.conf.TLS == nil {
		return nil, nil
	}
	server, err := tlsconf.NewServer(l.conf.serverConfig(l.cluster.conf.Name), tlslog.Events(l.log, l.key()))
	if err != nil {
		return nil, tlsFileErrors(l.key(), err)
	}
	return server, nil
}
