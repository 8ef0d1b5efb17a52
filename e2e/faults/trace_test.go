//go:build linux

package main

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/history"
)

// TestTrace wants a load's records to be known again by their names, and a spoiled one to
// be found.
func TestTrace(t *testing.T) {
	const first, second = "rx-0000001 sss", "rx-0000002 sss"
	for _, tt := range []struct {
		name   string
		values []string // as they are read
		want   history.Kind
	}{
		{"clean", []string{first, second}, 0},
		{"damaged", []string{first, "rx-0000002 ssS"}, history.Torn},
		{"no record of the load", []string{first, "something"}, history.Torn},
		{"never sent", []string{first, second, "rx-0000003 sss"}, history.Phantom},
		{"missing", []string{first}, history.Unseen},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trace := newTrace("x-", "group")
			for i, value := range []string{first, second} {
				trace.send(i+1, value)
				trace.sent(i+1, &kgo.Record{Partition: 3, Offset: int64(i)}, nil)
			}
			for i, value := range tt.values {
				trace.polled(traceAudit, 3, []*kgo.Record{{Partition: 3, Offset: int64(i), Value: []byte(value)}})
			}
			trace.Add(history.Event{Type: history.Final, Client: traceAudit, Partition: 3, Offset: int64(len(tt.values))})
			r := history.Check(trace.History())
			if tt.want == 0 && len(r.Findings) > 0 || tt.want != 0 && !r.Has(tt.want) {
				t.Errorf("findings: want kind %v, got\n%s", tt.want, r)
			}
			if got := r.Counts.Read; got != len(tt.values) || !strings.Contains(r.String(), "2 acknowledged") {
				t.Errorf("read %d, want %d; report:\n%s", got, len(tt.values), r)
			}
		})
	}
}
