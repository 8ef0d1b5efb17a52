package proxy

import (
	"fmt"
	"log/slog"

	"kproxy/internal/logkey"
)

const (
	// filesPerConnection are the client's socket and the broker's.
	filesPerConnection = 2
	// otherFiles are kept free for everything else: log and configuration, the
	// poller, name resolution, questions of the proxy's own, dials that try
	// two addresses at once, and the connections of the admin server, which
	// has half of them at most. What bytes are spliced through comes on top.
	otherFiles = 64
)

// connectionsFor is how many connections a limit of files is enough for, beside
// that many others; at least one.
func connectionsFor(files, others int) int {
	return max((files-others-otherFiles)/filesPerConnection, 1)
}

// limitConnections sets the limit of all connections, and says in the log where
// it is from.
func (p *Proxy) limitConnections() {
	sockets := len(p.doors)
	all := &p.admission.all
	all.max = p.conf.MaxConnections
	files, limited := fileLimit()
	if !limited {
		return
	}
	others := sockets + p.pipes.Files()
	most := connectionsFor(files, others)
	log := p.log.With(slog.Int(logkey.Files, files), slog.Int(logkey.Sockets, sockets))
	switch {
	case all.max == 0:
		all.max = most
		log.Info("the limit of connections follows from the limit of open files", slog.Int(logkey.Max, most))
	case all.max > most:
		log.Warn("the limit of connections is more than open files allow",
			slog.String(logkey.Limit, all.alarm.key), slog.Int(logkey.Max, all.max),
			slog.String(logkey.Fix, fmt.Sprintf("raise the limit of open files (ulimit -n) to %d, or lower the key to %d",
				all.max*filesPerConnection+others+otherFiles, most)))
	}
}
