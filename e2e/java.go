//go:build e2e

package e2e

import (
	"context"

	"kproxy/e2e/lab"
)

// Kafka's own tools, by class.
const (
	topicCommand    = "org.apache.kafka.tools.TopicCommand"
	consoleProducer = "org.apache.kafka.tools.ConsoleProducer"
	consoleConsumer = "org.apache.kafka.tools.consumer.ConsoleConsumer"
)

// javaClient is a version of the Java client, under Kafka's own tools.
type javaClient struct {
	version   string
	classpath string
}

// newJavaClients are the client that the newest published tools came with, and that of
// the release. The first jar on a class path wins, so all code of the second that talks
// to a broker is the release's. The older jar behind it provides the helper classes that
// have moved since.
func newJavaClients(ctx context.Context, release lab.Release) ([]javaClient, error) {
	tools, err := lab.NewestTools(ctx)
	if err != nil {
		return nil, err
	}
	return []javaClient{
		{"as released with the tools", tools},
		{"as released with the broker", release.Client + ":" + tools},
	}, nil
}
