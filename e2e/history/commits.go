package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// A group's committed offset of a partition is a register: a commit writes it, a fetch
// reads it. Which of two concurrent commits came first, and whether one of unknown outcome
// has happened, no response says, so this is a search, and porcupine's. The log itself
// needs none: each acknowledgement names the record's place, which orders all appends.

// groupPartition is a register.
type groupPartition struct {
	group     string
	partition int32
}

// access is a commit or a fetch.
type access struct {
	write  bool
	offset int64
}

// linearizing bounds the search in one register. The ones of this load take milliseconds.
const linearizing = 2 * time.Second

var register = porcupine.Model{
	Init: func() any { return int64(NoOffset) },
	Step: func(state, input, _ any) (bool, any) {
		a := input.(access)
		if a.write {
			return true, a.offset
		}
		return a.offset == state, state
	},
}

// stale finds fetches of a committed offset that no order of the commits explains, and
// members that begin before the committed offset.
func (c *checker) stale() {
	for at, operations := range c.accesses() {
		switch porcupine.CheckOperationsTimeout(register, operations, linearizing) {
		case porcupine.Ok:
		case porcupine.Unknown:
			c.find(Finding{Kind: Incomplete, Partition: at.partition, Detail: "the search in " + at.group + "'s commits took too long"})
		case porcupine.Illegal:
			c.find(Finding{
				Kind: Stale, Partition: at.partition, Offsets: firstIllegal(operations),
				Detail: fmt.Sprintf("no order of %s's commits explains the fetch", at.group),
			})
		}
	}
	c.begins()
}

// accesses are the operations on each register. A commit that failed has not happened; one
// of unknown outcome may happen at any later time.
func (c *checker) accesses() map[groupPartition][]porcupine.Operation {
	type key struct {
		client string
		op     int64
	}
	begun := map[key]*Event{}
	ended := map[key]*Event{}
	for i := range c.h.Events {
		switch e := &c.h.Events[i]; e.Type {
		case Commit, Fetch:
			begun[key{e.Client, e.Op}] = e
		case Committed, Fetched:
			ended[key{e.Client, e.Op}] = e
		default:
		}
	}
	all := map[groupPartition][]porcupine.Operation{}
	for k, call := range begun {
		end := ended[k]
		outcome := Unknown
		if end != nil {
			outcome = end.Outcome
		}
		op := porcupine.Operation{Call: int64(call.At), Return: math.MaxInt64}
		if outcome == OK {
			op.Return = int64(end.At)
		}
		switch {
		case outcome == Fail, outcome == Unknown && call.Type == Fetch:
			continue
		case call.Type == Commit:
			op.Input = access{write: true, offset: call.Offset}
		default:
			op.Input = access{offset: end.Offset}
		}
		at := groupPartition{call.Group, call.Partition}
		all[at] = append(all[at], op)
	}
	for _, operations := range all {
		slices.SortFunc(operations, func(a, b porcupine.Operation) int {
			return cmp.Or(cmp.Compare(a.Call, b.Call), cmp.Compare(a.Return, b.Return))
		})
	}
	return all
}

// firstIllegal is the offset of the first fetch that cannot be explained: that with which
// the operations that began before its end are illegal.
func firstIllegal(operations []porcupine.Operation) []int64 {
	fetches := slices.Clone(operations)
	fetches = slices.DeleteFunc(fetches, func(op porcupine.Operation) bool { return op.Input.(access).write })
	slices.SortFunc(fetches, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	for i := range fetches {
		var until []porcupine.Operation
		for _, op := range operations {
			if op.Call <= fetches[i].Return && (op.Input.(access).write || op.Return <= fetches[i].Return) {
				until = append(until, op)
			}
		}
		if porcupine.CheckOperationsTimeout(register, until, linearizing) == porcupine.Illegal {
			return []int64{fetches[i].Input.(access).offset}
		}
	}
	return nil
}

// begins compares the first poll of each assignment in a group with the commits that were
// acknowledged before the assignment. Earlier than the lowest that may be the group's
// offset, no member begins.
func (c *checker) begins() {
	commits := c.accesses()
	assigned := map[string]map[int32]time.Duration{} // by client: when, until the first poll
	for i := range c.h.Events {
		e := &c.h.Events[i]
		group := c.client(e.Client).join.Group
		if group == "" {
			continue
		}
		if assigned[e.Client] == nil {
			assigned[e.Client] = map[int32]time.Duration{}
		}
		switch e.Type {
		case Assign:
			for _, p := range e.Partitions {
				assigned[e.Client][p] = e.At
			}
		case Revoke:
			for _, p := range e.Partitions {
				delete(assigned[e.Client], p)
			}
		case Poll:
			at, first := assigned[e.Client][e.Partition]
			if !first || len(e.Offsets) == 0 {
				continue
			}
			delete(assigned[e.Client], e.Partition)
			if least := lowest(commits[groupPartition{group, e.Partition}], int64(at)); e.Offsets[0] < least {
				c.find(Finding{
					Kind: Stale, Client: e.Client, Partition: e.Partition, Offsets: []int64{e.Offsets[0]},
					Detail: fmt.Sprintf("%s had committed %d", group, least),
				})
			}
		default:
		}
	}
}

// lowest is the lowest offset that may be a group's at a time: of the commits that had been
// invoked, those that no later one has certainly overwritten.
func lowest(commits []porcupine.Operation, at int64) int64 {
	written := slices.DeleteFunc(slices.Clone(commits), func(op porcupine.Operation) bool {
		return !op.Input.(access).write || op.Call > at
	})
	least, certain := int64(math.MaxInt64), false
	latest := int64(math.MinInt64) // the latest invocation of those that were acknowledged
	for _, op := range written {
		if op.Return <= at {
			certain = true
			latest = max(latest, op.Call)
		}
	}
	if !certain {
		return 0
	}
	for _, op := range written {
		if op.Return >= latest { // not overwritten for certain
			least = min(least, op.Input.(access).offset)
		}
	}
	return least
}
