package connect

import (
	"fmt"

	"kproxy/internal/doctor"
	"kproxy/internal/hostport"
)

// maxTried is the most brokers whose addresses a Session or an examination tries: a response
// may name ten thousand.
const maxTried = 100

// roster is the summary of a list of brokers. It is made once: a list of many thousands
// must not be walked for each of them.
type roster struct {
	size      int                // how many brokers there are
	listed    map[int32]int      // how often each id is there
	advertise map[string][]int32 // the nodes that advertise an address, by its canonical text: at most two ids
}

// rosterOf reads a list of brokers.
func rosterOf(brokers []Broker) roster {
	r := roster{size: len(brokers), listed: map[int32]int{}, advertise: map[string][]int32{}}
	for _, b := range brokers {
		r.listed[b.Node]++
		at := hostport.CanonicalAddress(addressOf(b))
		if who := r.advertise[at]; len(who) == 0 || len(who) == 1 && who[0] != b.Node {
			r.advertise[at] = append(who, b.Node)
		}
	}
	return r
}

// objectionToID is why an id does not stand for one broker; nil: it does.
func (r roster) objectionToID(node int32) error {
	switch {
	case node < 0:
		return &doctor.IDError{Says: "the broker's id is negative, and no client can use a broker with such an id"}
	case r.listed[node] > 1:
		return &doctor.IDError{Says: fmt.Sprintf("%d brokers have this id, and a client can use one broker of an id only", r.listed[node])}
	}
	return nil
}

// objection is why a broker cannot be used, judging by the list alone.
func (r roster) objection(b Broker) error {
	for _, other := range r.advertise[hostport.CanonicalAddress(addressOf(b))] {
		if other != b.Node {
			return &doctor.SelfError{Verdict: doctor.SameAddress, Says: fmt.Sprintf("node %d advertises the same address", other)}
		}
	}
	return nil
}

// limit keeps the brokers of the cluster that are tried: the first ones. A broker with an
// invalid id has failed already: it is not asked, and no other is asked about it.
func (e *examination) limit() {
	e.roster = rosterOf(e.first.Brokers)
	few := *e.first
	few.Brokers = nil
	for _, b := range e.first.Brokers[:min(len(e.first.Brokers), maxTried)] {
		w := &way{node: b.Node, address: addressOf(b), settled: make(chan struct{})}
		if w.err = e.roster.objectionToID(b.Node); w.err != nil {
			close(w.settled)
		} else {
			few.Brokers = append(few.Brokers, b)
		}
		e.brokers = append(e.brokers, w)
	}
	e.first = &few
}
