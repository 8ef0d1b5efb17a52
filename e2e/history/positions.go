package history

import "fmt"

// unset is a position that is not known: the next poll sets it.
const unset = -2

// reading is where a reader is in its partitions.
type reading struct {
	c    *checker
	k    *client
	want Kind
	next map[int32]int64
}

// positions follows each reader through its polls. Within an assignment every poll goes on
// behind the one before. Control records and aborted ones leave gaps, so a gap is
// compared with the polls of others.
func (c *checker) positions(want Kind) {
	readers := map[string]*reading{}
	highest := map[groupPartition]int64{} // the highest offset whose commit was invoked
	for i := range c.h.Events {
		e := &c.h.Events[i]
		if readers[e.Client] == nil {
			readers[e.Client] = &reading{c: c, k: c.client(e.Client), want: want, next: map[int32]int64{}}
		}
		r := readers[e.Client]
		switch e.Type {
		case Commit:
			at := groupPartition{e.Group, e.Partition}
			highest[at] = max(highest[at], e.Offset)
		case Assign, Revoke:
			for _, p := range e.Partitions {
				r.next[p] = unset
			}
		case Seek:
			r.next[e.Partition] = e.Offset
		case Poll:
			r.poll(e, highest[groupPartition{r.k.join.Group, e.Partition}])
		case Final:
			r.passes(e.Partition, e.Offset)
		default:
		}
	}
}

// poll follows one poll. A member of a group whose position is not known begins at the
// group's committed offset, which is committed at most. Where commits were not recorded, as
// those that the client makes by itself, it may begin anywhere.
func (r *reading) poll(e *Event, committed int64) {
	next, known := r.next[e.Partition]
	if !known || next == unset {
		next = unset
		if r.c.commits[r.k.join.Group] {
			r.next[e.Partition] = committed
		}
	}
	for _, offset := range e.Offsets {
		if next != unset && offset < next {
			if r.want == Back {
				r.c.find(Finding{
					Kind: Back, Client: r.k.name, Partition: e.Partition, Offsets: []int64{offset},
					Detail: fmt.Sprintf("it was at %d", next),
				})
			}
		} else {
			r.passes(e.Partition, offset)
		}
		next = offset + 1
		r.next[e.Partition] = next
	}
}

// passes looks at the offsets between a reader's position and the next that it got.
func (r *reading) passes(partition int32, to int64) {
	from, known := r.next[partition]
	if !known || from == unset || r.want != Skipped {
		return
	}
	p := r.c.partition(partition)
	f := Finding{Kind: Skipped, Client: r.k.name, Partition: partition}
	for _, offset := range p.between(from, to) {
		for _, s := range p.distinct(offset) {
			rec := r.c.records[s.number]
			if rec == nil || rec.partition != partition || !r.sees(rec) {
				continue
			}
			f.Offsets, f.Numbers = append(f.Offsets, offset), append(f.Numbers, s.number)
			f.Detail = fmt.Sprintf("from %d to %d; read by %s", from, to, s.reader)
		}
	}
	if len(f.Offsets) > 0 {
		r.c.find(f)
	}
}

// sees reports whether the reader has to get a record that is in the log.
func (r *reading) sees(rec *record) bool {
	if !r.k.join.Committed || rec.tx == nil {
		return true
	}
	outcome := rec.tx.outcome()
	return outcome == txCommitted || outcome == txUnknown && rec.tx.seen()
}
