package cluster

import (
	"sync"
	"time"
)

// lastContact has the times of the last response of a cluster and of the last failure.
type lastContact struct {
	mu           sync.Mutex // guards the following
	lastResponse time.Time
	lastFailed   time.Time
	lastError    error
}

// answered notes a response.
func (p *lastContact) answered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastResponse = time.Now()
}

// NoteAnswer notes that a broker has responded to a client.
func (c *Cluster) NoteAnswer() { c.contact.answered() }

// failed notes that no broker of the cluster could be reached, or that none has responded.
func (p *lastContact) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastFailed, p.lastError = time.Now(), err
}

// Status is the last contact with a cluster, and its brokers.
type Status struct {
	Up         bool
	LastAnswer time.Time
	LastError  error
	LastFailed time.Time
	Brokers    int
	Overflowed []Overflow      // nodes outside the range, in free slots
	Unmapped   []Overflow      // nodes without a slot: the range is full
	Strangers  []StrangerError // addresses at which brokers of another cluster respond
}

// Status returns the current Status. It sends no request.
func (c *Cluster) Status() Status {
	shown := c.shown.Load()
	c.contact.mu.Lock()
	defer c.contact.mu.Unlock()
	return Status{
		Up:         !c.contact.lastResponse.IsZero() && !c.contact.lastFailed.After(c.contact.lastResponse),
		LastAnswer: c.contact.lastResponse,
		LastError:  c.contact.lastError,
		LastFailed: c.contact.lastFailed,
		Brokers:    shown.brokers,
		Overflowed: shown.overflowed,
		Unmapped:   shown.unmapped,
		Strangers:  shown.recentStrangers(),
	}
}

// Overflow has the nodes of one listener whose endpoints do not follow from the
// configuration. They are outside its range, and took free slots of it in the order in
// which this proxy learned of them: replicas of the proxy may differ. Or they are unmapped:
// no slot is left, and clients are not told of them.
type Overflow struct {
	Listener string
	Nodes    []int32 // by ascending id; at least one
}
