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

// readTLS reads from a TLS connection. Between two frames it waits for the first
// byte alone, and holds no buffer for what comes behind: that is in the
// connection's own record by then. Inside a frame it does not: that byte would be
// passed on by itself, and a client that is slow to read would have its receive
// buffer filled with small packets.
func (p *pipe) readTLS(need int) (n int, err error) {
	if !p.between || p.end > 0 {
		n, err = p.src.Read(p.room(need))
	} else {
		p.giveBack()
		if n, err = p.src.Read(p.first[:]); n > 0 {
			p.between = false
			p.room(need)[0] = p.first[0]
		}
	}
	if n > 0 && err == nil && p.over != nil && !p.exact {
		n += p.gather(p.buf[p.end+n:])
	}
	return n, err
}
