package proxy

import (
	"fmt"
	"log/slog"

	"kproxy/internal/admission"
	"kproxy/internal/logkey"
)

// limitConnections sets the limit of all connections, and logs it with its source.
func (p *Proxy) limitConnections() {
	sockets := len(p.acceptors)
	p.admission.SetMax(p.conf.MaxConnections)
	files, limited := admission.FileLimit()
	if !limited {
		return
	}
	others := sockets + p.pipes.Files()
	most := admission.ConnectionsFor(files, others)
	log := p.log.With(slog.Int(logkey.Files, files), slog.Int(logkey.Sockets, sockets))
	switch {
	case p.conf.MaxConnections == 0:
		p.admission.SetMax(most)
		log.Info("the limit of connections follows from the limit of open files", slog.Int(logkey.Max, most))
	case p.conf.MaxConnections > most:
		log.Warn("the limit of connections is more than open files allow",
			slog.String(logkey.Limit, admission.MaxConnectionsKey), slog.Int(logkey.Max, p.conf.MaxConnections),
			slog.String(logkey.Fix, fmt.Sprintf("raise the limit of open files (ulimit -n) to %d, or lower the key to %d",
				admission.FilesFor(p.conf.MaxConnections, others), most)))
	}
}
