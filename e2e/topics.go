//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// topicName is a name that no topic had yet, for `go test -count`.
func (c *cluster) topicName(prefix string) string {
	return fmt.Sprintf("%s-%d", prefix, c.topics.Add(1))
}

// NewTopic creates a topic with a replica on every broker and returns its name
// when every broker knows it, so that no client starts in a leader election.
func (c *cluster) NewTopic(t *testing.T, prefix string, partitions int32) (name string) {
	t.Helper()
	name = c.topicName(prefix)
	if err := c.Cluster.NewTopic(t.Context(), partitions, nil, name); err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
	if err := c.WaitWhole(t.Context()); err != nil {
		t.Fatal(err)
	}
	return name
}

// WaitRecords waits until consumers may read n records of a topic.
func (c *cluster) WaitRecords(t *testing.T, topic string, n int64) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		ends, err := c.Admin.ListEndOffsets(t.Context(), topic)
		if err != nil {
			return err
		}
		got := int64(0)
		ends.Each(func(o kadm.ListedOffset) { got += o.Offset })
		if got < n {
			return fmt.Errorf("records in %s: got %d, want %d", topic, got, n)
		}
		return nil
	})
}
