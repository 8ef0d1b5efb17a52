package cluster

import (
	"sync"
	"time"
)

// pulse is when a cluster last answered, and when it last did not.
type pulse struct {
	mu         sync.Mutex // guards the following
	lastAnswer time.Time
	lastFailed time.Time
	lastError  error
}

// answered notes a sign of life.
func (p *pulse) answered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastAnswer = time.Now()
}

// NoteAnswer notes that a broker has answered a client.
func (c *Cluster) NoteAnswer() { c.pulse.answered() }

// failed notes that no broker of the cluster could be reached, or none answered.
func (p *pulse) failed(err error) {
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
	Overflowed []Overflow
}

// Status returns what is known. It asks no broker.
func (c *Cluster) Status() Status {
	shown := c.shown.Load()
	c.pulse.mu.Lock()
	defer c.pulse.mu.Unlock()
	return Status{
		Up:         !c.pulse.lastAnswer.IsZero() && !c.pulse.lastFailed.After(c.pulse.lastAnswer),
		LastAnswer: c.pulse.lastAnswer,
		LastError:  c.pulse.lastError,
		LastFailed: c.pulse.lastFailed,
		Brokers:    shown.brokers,
		Overflowed: shown.overflowed,
	}
}

// Overflow is the nodes of one listener whose endpoints do not follow from the
// configuration: they are outside of its range and took free slots of it, in the
// order in which this proxy has heard of them. Its replicas may differ.
type Overflow struct {
	Listener string
	Nodes    []int32 // by ascending id; at least one
}
