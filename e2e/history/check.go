package history

import (
	"fmt"
	"slices"
)

// Check checks a history. It is a function of the history alone, but for a search that
// takes too long: the history is incomplete then.
func Check(h History) Report { return check(h, 0) }

// rules find the kinds, one each.
var rules = []struct {
	kind Kind
	find func(*checker)
}{
	{Incomplete, (*checker).incomplete},
	{Lost, (*checker).lost},
	{Unseen, (*checker).unseen},
	{Duplicate, (*checker).duplicate},
	{Reordered, (*checker).reordered},
	{Torn, (*checker).torn},
	{Aborted, (*checker).aborted},
	{Phantom, (*checker).phantom},
	{Inconsistent, (*checker).inconsistent},
	{Back, func(c *checker) { c.positions(Back) }},
	{Skipped, func(c *checker) { c.positions(Skipped) }},
	{Stale, (*checker).stale},
}

// check is Check but for one rule, which tests leave out.
func check(h History, without Kind) Report {
	c := index(h)
	for _, r := range rules {
		if r.kind != without {
			r.find(c)
		}
	}
	slices.SortStableFunc(c.findings, Finding.compare)
	return Report{Findings: c.findings, Counts: c.counts}
}

// incomplete wants a history that can prove something.
func (c *checker) incomplete() {
	if c.h.Dropped > 0 {
		c.find(Finding{Kind: Incomplete, Detail: fmt.Sprintf("the recorder dropped %d events", c.h.Dropped)})
	}
	for id, p := range c.partitions {
		if p.final == NoOffset {
			c.find(Finding{Kind: Incomplete, Partition: id, Detail: "there was no final read"})
		}
	}
	for _, r := range c.order {
		if r.client.join.Type == "" {
			c.find(Finding{Kind: Incomplete, Client: r.client.name, Detail: "the client has not joined: its guarantee is not known"})
			return
		}
	}
}

// missing calls each for the acknowledged records that were never read, and in whose place nothing
// else was.
func (c *checker) missing(each func(r *record, p *partition)) {
	for _, r := range c.order {
		if !r.required() || len(r.offsets) > 0 {
			continue
		}
		if p := c.partition(r.partition); r.offset < 0 || len(p.read[r.offset]) == 0 {
			each(r, p)
		}
	}
}

func (c *checker) lost() {
	c.missing(func(r *record, p *partition) {
		if r.offset >= 0 && p.last > r.offset {
			c.find(r.finding(Lost, fmt.Sprintf("read up to offset %d", p.last)))
		}
	})
}

func (c *checker) unseen() {
	c.missing(func(r *record, p *partition) {
		if p.final != NoOffset && (r.offset < 0 || p.last < r.offset) {
			c.find(r.finding(Unseen, fmt.Sprintf("the log ends at %d", p.final)))
		}
	})
}

func (c *checker) duplicate() {
	for _, r := range c.order {
		switch {
		case len(r.offsets) < 2:
		case r.client.strict():
			c.find(Finding{Kind: Duplicate, Client: r.client.name, Partition: r.partition, Offsets: r.offsets, Numbers: []int64{r.number}})
		default:
			c.counts.AllowedDuplicates++
		}
	}
}

// reordered compares the first place of each record with the order of invocation. Records
// of unknown outcome that were read have to be in order, too: a producer's sequence
// numbers forbid the broker to take one later.
func (c *checker) reordered() {
	for _, k := range c.clients {
		ahead := map[int32]*record{} // by partition: the record with the highest offset so far
		for _, r := range k.sent {
			at := r.first()
			if at == NoOffset {
				continue
			}
			before := ahead[r.partition]
			if before == nil || before.first() <= at {
				ahead[r.partition] = r
				continue
			}
			if !k.strict() {
				c.counts.AllowedOutOfOrder++
				continue
			}
			c.find(Finding{
				Kind: Reordered, Client: k.name, Partition: r.partition,
				Offsets: []int64{before.first(), at}, Numbers: []int64{before.number, r.number},
				Detail: fmt.Sprintf("%d was sent before %d", before.number, r.number),
			})
		}
	}
}

// first is the record's first offset, as it was read, or else as it was acknowledged.
func (r *record) first() int64 {
	if len(r.offsets) > 0 {
		return r.offsets[0]
	}
	return r.offset
}

// phantom finds numbers that were not sent to the partition where they are.
func (c *checker) phantom() {
	for id, p := range c.partitions {
		for _, offset := range p.sorted {
			for _, s := range p.distinct(offset) {
				r := c.records[s.number]
				if r != nil && r.partition == id {
					continue
				}
				f := Finding{Kind: Phantom, Client: s.reader, Partition: id, Offsets: []int64{offset}, Numbers: []int64{s.number}, Detail: "no producer has sent it"}
				if r != nil {
					f.Detail = fmt.Sprintf("%s sent it to partition %d", r.client.name, r.partition)
				}
				c.find(f)
			}
		}
	}
}

// distinct are the sightings at an offset, one for each number. A record that cannot be
// read is torn, and no other record.
func (p *partition) distinct(offset int64) (all []sighting) {
	for _, s := range p.read[offset] {
		if s.number != NoNumber && !slices.ContainsFunc(all, func(o sighting) bool { return o.number == s.number }) {
			all = append(all, s)
		}
	}
	return all
}

// inconsistent compares the records that readers saw at an offset with each other, and with
// the acknowledged one.
func (c *checker) inconsistent() {
	for id, p := range c.partitions {
		for _, offset := range p.sorted {
			if all := p.distinct(offset); len(all) > 1 {
				c.find(Finding{
					Kind: Inconsistent, Client: all[1].reader, Partition: id, Offsets: []int64{offset},
					Numbers: []int64{all[0].number, all[1].number}, Detail: "and " + all[0].reader,
				})
			}
		}
	}
	for _, r := range c.order {
		if r.outcome != OK || r.offset < 0 {
			continue
		}
		if there := c.partition(r.partition).distinct(r.offset); len(there) > 0 && there[0].number != r.number {
			c.find(Finding{
				Kind: Inconsistent, Client: r.client.name, Partition: r.partition, Offsets: []int64{r.offset},
				Numbers: []int64{r.number, there[0].number}, Detail: "the first was acknowledged, and the second read by " + there[0].reader,
			})
		} else if len(there) == 0 && len(r.offsets) > 0 {
			c.find(Finding{
				Kind: Inconsistent, Client: r.client.name, Partition: r.partition, Offsets: []int64{r.offset, r.offsets[0]},
				Numbers: []int64{r.number}, Detail: "acknowledged at the first offset, and read at the second",
			})
		}
	}
}
