package proxy

import "time"

// Observer has functions that a Proxy calls at events. Every field may be nil. Calls come
// from many goroutines at once, and the work waits for them. Observer is for single events;
// Stats has the counts.
type Observer struct {
	// SessionClosed is called when a session has ended and is counted as closed.
	// A connection that is refused at a limit is such a session too.
	SessionClosed func(Session, SessionEnd)
	// Dialed is called after each attempt to reach a broker. address is where
	// the dial rules lead; node is NoNode for a bootstrap address.
	Dialed func(cluster string, node int32, address string, err error)
}

const (
	// NoNode stands for a node id where there is none.
	NoNode = -1
	// UnknownNode stands for that of an endpoint whose node is not known yet,
	// where counts tell it from a bootstrap endpoint.
	UnknownNode = -2
)

// Session names the two sides of a session.
type Session struct {
	Cluster, Listener string
	Node              int32  // whose endpoint the client chose; NoNode for bootstrap, or a node not known yet
	Client            string // the client's host:port
}

// SessionEnd is how a session went.
type SessionEnd struct {
	Reason               CloseReason
	Err                  error  // may be nil
	Upstream             string // host:port that was dialled; "": none was
	BytesUp, BytesDown   int64  // written to the broker, and to the client
	FramesUp, FramesDown int64  // requests, and brokers' responses to them
	Duration             time.Duration
	Idle                 time.Duration // how long nothing had been written, either way
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
