//go:build e2e

package login

import (
	"context"
	"fmt"
	"strings"
)

// client sends records and reads them. It does not retry.
type client interface {
	// produce sends values until there are no more of them, and returns when the broker
	// has them all.
	produce(ctx context.Context, a *access, topic string, values <-chan string) error
	// consume reads n records from the beginning of a topic.
	consume(ctx context.Context, a *access, topic string, n int) ([]string, error)
}

// clients are all that there are, by name.
func (s *site) clients() map[string]client {
	return map[string]client{"kcat": kcat{s}, "java": java{s}, "franz-go": franz{}, "sarama": saramas{}}
}

// records are n of them, each once.
func records(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("record-%06d", i))
	}
	return all
}

// all are values that are to be sent at once.
func all(values []string) <-chan string {
	c := make(chan string, len(values))
	for _, v := range values {
		c <- v
	}
	close(c)
	return c
}

// topicName makes a name that Kafka takes.
func topicName(name string) string {
	return strings.NewReplacer("/", "-", " ", "-").Replace(name)
}
