//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// locate finds the missing records in a topic's log. It distinguishes a record that was
// acknowledged and never written from one that a consumer skipped, which is the first
// question about every loss. It asks the brokers directly.
func (c *cluster) locate(t *testing.T, topic string, missing []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ends, err := c.Admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err.Error()
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Seeds()...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	if err != nil {
		return err.Error()
	}
	defer client.Close()
	toRead, at := int64(0), make(map[string]string)
	ends.Each(func(o kadm.ListedOffset) { toRead += o.Offset })
	for toRead > 0 && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			at[nameOf(string(r.Value))] = fmt.Sprintf("%d@%d", r.Partition, r.Offset)
			toRead--
		})
	}
	var out strings.Builder
	for i, name := range missing {
		if i == 50 {
			fmt.Fprintf(&out, "and %d more", len(missing)-i)
			break
		}
		fmt.Fprintf(&out, "%s: %s\n", name, cmp.Or(at[name], "not in the log"))
	}
	return out.String()
}
