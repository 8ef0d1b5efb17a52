package proxy

import (
	"time"

	"kproxy/rewrite"
)

// Observer is told what a Proxy does. Every field may be nil. Calls come from
// many goroutines at once, and the work waits for them.
type Observer struct {
	// A connection that is refused at a limit is opened, and closed at once.
	SessionOpened func(Session)
	SessionClosed func(Session, SessionEnd)
	// Dialed is called after each attempt to reach a broker. address is where
	// the dial rules lead; node is NoNode for a bootstrap address.
	Dialed func(cluster string, node int32, address string, err error)
	// Rewrote is called after an answer that named brokers or APIs was rewritten.
	Rewrote func(s Session, key, version int16, notes rewrite.Notes)
}

// NoNode stands for a node id where there is none.
const NoNode = -1

// Session is who talks to whom.
type Session struct {
	Cluster, Listener string
	Node              int32  // whose endpoint the client chose; NoNode for bootstrap, or a node not known yet
	Client            string // the client's host:port
}

// SessionEnd is how a session went.
type SessionEnd struct {
	Reason             CloseReason
	Err                error  // may be nil
	Upstream           string // host:port that was dialled; "" where nobody was
	BytesUp, BytesDown int64  // written to the broker, and to the client
	Duration           time.Duration
}

func (o *Observer) sessionOpened(s Session) {
	if o != nil && o.SessionOpened != nil {
		o.SessionOpened(s)
	}
}

func (o *Observer) sessionClosed(s Session, e SessionEnd) {
	if o != nil && o.SessionClosed != nil {
		o.SessionClosed(s, e)
	}
}

func (o *Observer) dialed(cluster string, node int32, address string, err error) {
	if o != nil && o.Dialed != nil {
		o.Dialed(cluster, node, address, err)
	}
}

func (o *Observer) rewrote(s Session, key, version int16, notes rewrite.Notes) {
	if o != nil && o.Rewrote != nil {
		o.Rewrote(s, key, version, notes)
	}
}
