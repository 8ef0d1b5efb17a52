//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// broker is one Kafka process, broker and controller in one. It listens on
// loopback three times: for its peers, for the controllers' quorum, and for
// clients, to whom it advertises a name that does not resolve.
type broker struct {
	id         int32
	advertised string // what its clients are told, e.g. broker-1.vpc.invalid:9092
	client     string // where that listener really is: what a dial rule leads to
	internal   string
	controller string

	dir   string
	java  javaRuntime
	proc  *process        // nil until started
	scope context.Context // the run: its end kills the process
}

// properties is the broker's configuration, less what all brokers share.
func (b *broker) properties(quorum string) map[string]string {
	return map[string]string{
		"node.id":                  fmt.Sprint(b.id),
		"controller.quorum.voters": quorum,
		"log.dirs":                 filepath.Join(b.dir, "data"),
		"listeners": fmt.Sprintf("INTERNAL://%s,CLIENT://%s,CONTROLLER://%s",
			b.internal, b.client, b.controller),
		"advertised.listeners": fmt.Sprintf("INTERNAL://%s,CLIENT://%s", b.internal, b.advertised),
	}
}

// sharedProperties makes the cluster start fast and answer at once, and leaves
// the moving of leaders to the tests.
func sharedProperties() map[string]string {
	return map[string]string{
		"process.roles":                  "broker,controller",
		"listener.security.protocol.map": "INTERNAL:PLAINTEXT,CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name":     "INTERNAL",
		"controller.listener.names":      "CONTROLLER",

		"auto.create.topics.enable":    "false",
		"auto.leader.rebalance.enable": "false",
		"min.insync.replicas":          "2",
		"default.replication.factor":   fmt.Sprint(brokerCount),

		// A broker that was killed is noticed sooner than after 9 s, and one
		// that waits for a core is not thought dead.
		"broker.heartbeat.interval.ms":          "500",
		"broker.session.timeout.ms":             "6000",
		"controller.quorum.fetch.timeout.ms":    "4000",
		"controller.quorum.election.timeout.ms": "2000",

		"offsets.topic.num.partitions":                     "3",
		"offsets.topic.replication.factor":                 "3",
		"transaction.state.log.num.partitions":             "3",
		"transaction.state.log.replication.factor":         "3",
		"transaction.state.log.min.isr":                    "2",
		"share.coordinator.state.topic.num.partitions":     "3",
		"share.coordinator.state.topic.replication.factor": "3",
		"share.coordinator.state.topic.min.isr":            "2",
		"group.initial.rebalance.delay.ms":                 "0",
		// A record that was on its way to a client when its partition moved is
		// given to another after 5 s, not 30, and as often as can be set.
		"group.share.min.record.lock.duration.ms": "1000",
		"group.share.record.lock.duration.ms":     "5000",
		"group.share.delivery.count.limit":        "10",
		// In the newer group protocols the broker paces the members, by 5 s.
		"group.consumer.min.heartbeat.interval.ms": "300",
		"group.consumer.heartbeat.interval.ms":     "300",
		"group.share.min.heartbeat.interval.ms":    "300",
		"group.share.heartbeat.interval.ms":        "300",

		// Two cores carry three brokers, kproxy and its clients.
		"num.network.threads":               "2",
		"num.io.threads":                    "4",
		"num.recovery.threads.per.data.dir": "1",
		"log.index.size.max.bytes":          "1048576",
		"log.cleaner.dedupe.buffer.size":    "2097152",
	}
}

// Format writes the broker's configuration and prepares its data directory.
func (b *broker) Format(ctx context.Context, clusterID, quorum string) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	props := sharedProperties()
	maps.Copy(props, b.properties(quorum))
	var file strings.Builder
	for _, key := range slices.Sorted(maps.Keys(props)) {
		fmt.Fprintf(&file, "%s=%s\n", key, props[key])
	}
	if err := os.WriteFile(b.config(), []byte(file.String()), 0o600); err != nil {
		return err
	}
	out, err := outputOf(b.java.Tool(ctx, b.java.broker, "kafka.tools.StorageTool",
		"format", "--cluster-id", clusterID, "--config", b.config()))
	if err != nil {
		return fmt.Errorf("format broker %d: %w\n%s", b.id, err, out)
	}
	return nil
}

func (b *broker) config() string { return filepath.Join(b.dir, "server.properties") }

// Start starts the process and does not wait for it to be of use.
func (b *broker) Start() error {
	p, err := startProcess(fmt.Sprintf("broker %d", b.id), filepath.Join(b.dir, "broker.log"),
		b.java.Broker(b.scope, b.config()))
	if err != nil {
		return err
	}
	b.proc = p
	return nil
}

// stopTimeout is how long a broker may take to hand over its leaders and end.
const stopTimeout = 60 * time.Second

// Stop is a controlled shutdown: the broker hands over its leaders first. The
// Java runtime reports an honoured SIGTERM as exit code 143.
func (b *broker) Stop() error { return b.proc.Stop(stopTimeout, 143) }

// Kill ends the broker without a word to anyone.
func (b *broker) Kill() error {
	b.proc.Kill()
	return nil
}
