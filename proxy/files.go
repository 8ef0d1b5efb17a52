package proxy

import (
	"fmt"
	"log/slog"

	"kproxy/internal/admission"
	"kproxy/internal/logkey"
)

// limitConnections sets the limit of all connections, and logs it with its source.
func (p *Proxy) limitConnections() {
	sockets, limit := len(p.acceptors()), p.conf().MaxConnections
	files, limited := admission.FileLimit()
	if !limited {
		p.admission.SetMax(limit)
		return
	}
	others := sockets + p.pipes.Files()
	most := admission.ConnectionsFor(files, others)
	log := p.log.With(slog.Int(logkey.Files, files), slog.Int(logkey.Sockets, sockets))
	follows := limit == 0
	if follows {
		limit = most
	}
	switch changed := p.admission.SetMax(limit); {
	case !changed:
	case follows:
		log.Info("the limit of connections follows from the limit of open files", slog.Int(logkey.Max, most))
	case limit > most:
		log.Warn("the limit of connections is more than open files allow",
			slog.String(logkey.Limit, admission.MaxConnectionsKey), slog.Int(logkey.Max, limit),
			slog.String(logkey.Fix, fmt.Sprintf("raise the limit of open files (ulimit -n) to %d, or lower the key to %d",
				admission.FilesFor(limit, others), most)))
	}
}
