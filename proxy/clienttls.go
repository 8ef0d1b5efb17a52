package proxy

import (
	"kproxy/internal/tlsconf"
	"kproxy/internal/tlslog"
)

// serverConfig is the listener's TLS as package tlsconf takes it.
func (l *Listener) serverConfig(cluster string) tlsconf.ServerConfig {
	c := tlsconf.ServerConfig{
		Name:       cluster + "/" + l.Name,
		ClientCA:   l.TLS.ClientCA,
		ClientAuth: tlsconf.ClientAuth(l.TLS.ClientAuth),
		Subjects:   l.TLS.Subjects,
		MinVersion: l.TLS.MinVersion,
		TicketKeys: l.TLS.TicketKeys,
	}
	for _, pair := range l.TLS.Certs {
		c.Certs = append(c.Certs, tlsconf.KeyPair(pair))
	}
	return c
}

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
