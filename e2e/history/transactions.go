package history

import "fmt"

// torn finds records whose bytes differ from those that were sent, and transactions of
// which readers of committed records have seen a part at the end.
func (c *checker) torn() {
	for i := range c.h.Events {
		e := &c.h.Events[i]
		if e.Type != Poll {
			continue
		}
		for i, number := range e.Numbers {
			f := Finding{Kind: Torn, Client: e.Client, Partition: e.Partition, Offsets: []int64{e.Offsets[i]}}
			r := c.records[number]
			switch {
			case number == NoNumber:
				f.Detail = "no value of this load"
			case r != nil && r.sum != e.Sums[i]:
				f.Numbers = []int64{number}
				f.Detail = fmt.Sprintf("checksum %08x, sent %08x", e.Sums[i], r.sum)
			default:
				continue
			}
			c.find(f)
		}
	}
	for _, k := range c.clients {
		for _, t := range k.txs {
			c.tornTransaction(t)
		}
	}
}

// tornTransaction wants all of a transaction, or nothing. That readers have seen a part of
// it before the end is no fault: its partitions are read one after another.
func (c *checker) tornTransaction(t *transaction) {
	if t.outcome() == txAborted || !t.seen() {
		return
	}
	for _, r := range t.records {
		if r.outcome != OK || r.committed || c.partition(r.partition).finalCommitted == NoOffset {
			continue
		}
		c.find(r.finding(Torn, fmt.Sprintf("others of transaction %d were read", t.id)))
	}
}

// aborted finds records that must not be visible: those of aborted transactions to readers
// of committed records, and those that have certainly failed to any reader.
func (c *checker) aborted() {
	for i := range c.h.Events {
		e := &c.h.Events[i]
		if e.Type != Poll {
			continue
		}
		committed := c.client(e.Client).join.Committed
		for i, number := range e.Numbers {
			r := c.records[number]
			if r == nil {
				continue
			}
			f := Finding{Kind: Aborted, Client: e.Client, Partition: e.Partition, Offsets: []int64{e.Offsets[i]}, Numbers: []int64{number}}
			switch {
			case r.outcome == Fail:
				f.Detail = fmt.Sprintf("the send of %s has failed", r.client.name)
			case committed && r.tx != nil && r.tx.outcome() == txAborted:
				f.Detail = fmt.Sprintf("%s aborted transaction %d", r.client.name, r.tx.id)
			default:
				continue
			}
			c.find(f)
		}
	}
}
