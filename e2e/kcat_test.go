//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"testing"
)

// TestKcatProduceAndConsume sends thousands of records through each listener
// with librdkafka, in each way that changes the frames on the wire.
func TestKcatProduceAndConsume(t *testing.T) {
	const records = 5000
	p := startKproxy(t, shared.kafka.byAddress())
	tests := []struct {
		listener string
		settings []string
	}{
		{"bob", []string{"acks=all"}},
		{"fred", []string{"enable.idempotence=true", "compression.codec=lz4"}},
		{"alice", []string{"acks=1", "compression.codec=zstd"}},
		{"many", []string{"acks=all", "compression.codec=gzip", "batch.num.messages=10"}},
		{"bob", []string{"acks=0", "compression.codec=snappy"}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %v", tt.listener, tt.settings), func(t *testing.T) {
			topic := shared.kafka.NewTopic(t, "kcat", 6)
			l := p.Via(tt.listener)
			want := values(topic, records)

			kcat(t, l, lines(want), append([]string{"-P", "-t", topic}, settings(tt.settings...)...)...)
			shared.kafka.WaitRecords(t, topic, records) // with acks=0 kcat has not
			got := kcat(t, l, nil, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%s\n").Lines()

			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("records read: got %d, want %d, the same", len(got), len(want))
			}
		})
	}
}

// TestKcatLargeRecords sends frames far larger than any buffer of kproxy's.
func TestKcatLargeRecords(t *testing.T) {
	topic := shared.kafka.NewTopic(t, "kcat-large", 3)
	l := startKproxy(t, shared.kafka.byAddress()).Via("fred")
	want := make([]string, 40)
	for i := range want {
		want[i] = fmt.Sprintf("%0*d", 900_000, i) // the broker takes up to 1 MiB a record
	}
	kcat(t, l, lines(want), "-P", "-t", topic)
	got := kcat(t, l, nil, append([]string{"-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%s\n"},
		settings("fetch.message.max.bytes=8000000")...)...).Lines()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("records read: got %d, want %d, the same", len(got), len(want))
	}
}

// settings are librdkafka's, as arguments.
func settings(kv ...string) []string {
	var args []string
	for _, s := range kv {
		args = append(args, "-X", s)
	}
	return args
}
