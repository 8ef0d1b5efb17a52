//go:build linux

package workload

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/history"
)

// Hostile are the readers whose records NewTamper's function spoils, by the beginnings of
// their names, and the kinds that the checker has to find.
var Hostile = map[string]history.Kind{
	"drop":   history.Skipped,
	"repeat": history.Back,
	"swap":   history.Back,
	"damage": history.Torn,
	"forge":  history.Inconsistent,
}

// NewTamper returns a Tamper that spoils one record for each of the hostile readers: a
// stand-in for a proxy that does.
func NewTamper() func(client string, records []*kgo.Record) []*kgo.Record {
	var mu sync.Mutex
	done := map[string]bool{}
	return func(client string, records []*kgo.Record) []*kgo.Record {
		how, _, _ := strings.Cut(client, "-")
		mu.Lock()
		defer mu.Unlock()
		if _, hostile := Hostile[how]; !hostile || done[client] || !whole(records) {
			return records
		}
		done[client] = true
		return spoil(how, slices.Clone(records))
	}
}

// SeenBy is a history with one hostile reader of those that it may have.
func SeenBy(h history.History, reader string) history.History {
	h.Events = slices.DeleteFunc(h.Events, func(e history.Event) bool {
		how, _, _ := strings.Cut(e.Client, "-")
		_, hostile := Hostile[how]
		return hostile && e.Client != reader
	})
	return h
}

// whole reports whether the first four are records of the load, and not control records.
func whole(records []*kgo.Record) bool {
	return len(records) >= 4 && !slices.ContainsFunc(records[:4], func(r *kgo.Record) bool { return r.Attrs.IsControl() })
}

// spoil spoils the second record.
func spoil(how string, records []*kgo.Record) []*kgo.Record {
	r := *records[1]
	switch how {
	case "drop":
		return slices.Delete(records, 1, 2)
	case "repeat":
		return slices.Insert(records, 2, records[1])
	case "swap":
		records[1], records[2] = records[2], records[1]
	case "damage":
		r.Value = bytes.Clone(r.Value)
		r.Value[len(r.Value)-1]++
		records[1] = &r
	case "forge": // the content of another record
		r.Value = records[2].Value
		records[1] = &r
	}
	return records
}
