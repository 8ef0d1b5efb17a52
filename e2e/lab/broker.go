//go:build linux

package lab

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Broker is one Kafka process.
type Broker struct {
	ID int32

	cluster *Cluster
	dir     string
	proc    *Process        // nil until started
	scope   context.Context // the run: its end kills the process
}

// Configure writes the broker's configuration, for its next Start.
func (b *Broker) Configure() error {
	props := sharedProperties(b.cluster.Size)
	if b.cluster.Release.ZooKeeper {
		maps.Copy(props, b.zooKeeperProperties())
	} else {
		maps.Copy(props, b.quorumProperties())
	}
	maps.Copy(props, b.listenerProperties())
	if b.cluster.Properties != nil {
		maps.Copy(props, b.cluster.Properties(int(b.ID)))
	}
	return writeProperties(b.config(), props)
}

// prepare writes the configuration, and formats the data directory if the release needs
// that.
func (b *Broker) prepare(ctx context.Context) error {
	if err := b.Configure(); err != nil || b.cluster.Release.ZooKeeper {
		return err
	}
	out, err := Output(b.cluster.Java.Tool(ctx, b.cluster.Release.Classpath, "kafka.tools.StorageTool",
		append([]string{"format", "--cluster-id", ClusterID, "--config", b.config()}, b.cluster.Format...)...))
	if err != nil {
		return fmt.Errorf("format broker %d: %w\n%s", b.ID, err, out)
	}
	return nil
}

// controls reports whether the broker is one of the controllers.
func (b *Broker) controls() bool { return int(b.ID) <= b.cluster.Size }

func (b *Broker) zooKeeperProperties() map[string]string {
	return map[string]string{
		"broker.id":         fmt.Sprint(b.ID),
		"log.dirs":          filepath.Join(b.dir, "data"),
		"zookeeper.connect": b.cluster.ZooKeeper,
		// A broker that was killed is noticed as soon as one without ZooKeeper.
		"zookeeper.session.timeout.ms": "6000",
	}
}

func (b *Broker) quorumProperties() map[string]string {
	var voters []string
	for id := 1; id <= b.cluster.Size; id++ {
		voters = append(voters, fmt.Sprintf("%d@%s", id, b.cluster.Controller(id)))
	}
	roles := "broker,controller"
	if !b.controls() {
		roles = "broker"
	}
	return map[string]string{
		"process.roles":             roles,
		"node.id":                   fmt.Sprint(b.ID),
		"log.dirs":                  filepath.Join(b.dir, "data"),
		"controller.listener.names": "CONTROLLER",
		"controller.quorum.voters":  strings.Join(voters, ","),

		// A broker that was killed is noticed sooner than after 9 s, and one
		// that waits for a core is not thought dead.
		"broker.heartbeat.interval.ms":          "500",
		"broker.session.timeout.ms":             "6000",
		"controller.quorum.fetch.timeout.ms":    "4000",
		"controller.quorum.election.timeout.ms": "2000",
	}
}

func (b *Broker) listenerProperties() map[string]string {
	id := int(b.ID)
	bind := []string{"INTERNAL://" + b.cluster.Internal(id)}
	advertise := slices.Clone(bind)
	protocols := []string{"INTERNAL:PLAINTEXT"}
	for _, l := range b.cluster.Clients {
		bind = append(bind, l.Name+"://"+l.Bind(id))
		advertise = append(advertise, l.Name+"://"+l.Advertise(id))
		protocols = append(protocols, l.Name+":"+l.Protocol)
	}
	if !b.cluster.Release.ZooKeeper {
		if b.controls() {
			bind = append(bind, "CONTROLLER://"+b.cluster.Controller(id))
		}
		protocols = append(protocols, "CONTROLLER:PLAINTEXT")
	}
	return map[string]string{
		"listeners":                      strings.Join(bind, ","),
		"advertised.listeners":           strings.Join(advertise, ","),
		"listener.security.protocol.map": strings.Join(protocols, ","),
		"inter.broker.listener.name":     "INTERNAL",
	}
}

// sharedProperties makes the cluster start fast and respond at once, and leaves the
// moving of leaders to the tests. A release ignores unknown properties.
func sharedProperties(size int) map[string]string {
	replicas, inSync := fmt.Sprint(size), fmt.Sprint(max(1, size-1))
	return map[string]string{
		"auto.create.topics.enable":    "false",
		"auto.leader.rebalance.enable": "false",
		"min.insync.replicas":          inSync,
		"default.replication.factor":   replicas,

		"offsets.topic.num.partitions":                     "3",
		"offsets.topic.replication.factor":                 replicas,
		"transaction.state.log.num.partitions":             "3",
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    inSync,
		"share.coordinator.state.topic.num.partitions":     "3",
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            inSync,
		"group.initial.rebalance.delay.ms":                 "0",
		// A record that was on its way to a client when its partition moved is given to
		// another after 5 s, not 30, and with the highest possible limit of deliveries.
		"group.share.min.record.lock.duration.ms": "1000",
		"group.share.record.lock.duration.ms":     "5000",
		"group.share.delivery.count.limit":        "10",
		// In the newer group protocols the broker sets the members' heartbeat interval, 5
		// s by default.
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

func (b *Broker) config() string { return filepath.Join(b.dir, "server.properties") }

// Start starts the process and does not wait until it is ready.
func (b *Broker) Start() error {
	c := b.cluster
	p, err := StartProcess(fmt.Sprintf("broker %d", b.ID), filepath.Join(b.dir, "broker.log"),
		c.Place.Command(c.Java.Server(b.scope, c.Release.Classpath, "kafka.Kafka", b.config())))
	if err != nil {
		return err
	}
	b.proc = p
	return nil
}

// stopTimeout is how long a broker may take to hand over its leaders and end.
const stopTimeout = 2 * time.Minute

// Stop is a controlled shutdown: the broker hands over its leaders first. The
// Java runtime reports an honoured SIGTERM as exit code 143.
func (b *Broker) Stop() error { return b.proc.Stop(stopTimeout, 143) }

// Kill ends the broker without a shutdown.
func (b *Broker) Kill() error {
	b.proc.Kill()
	return nil
}

// PID is that of the process, which must have been started.
func (b *Broker) PID() int { return b.proc.PID() }

// Pause stops the broker where it is, with its connections open, until Resume.
func (b *Broker) Pause() error { return b.proc.Signal(syscall.SIGSTOP) }

// Resume lets a paused broker go on.
func (b *Broker) Resume() error { return b.proc.Signal(syscall.SIGCONT) }

// writeProperties writes a Java properties file, and its directory.
func writeProperties(file string, props map[string]string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(props)) {
		fmt.Fprintf(&text, "%s=%s\n", key, props[key])
	}
	return os.WriteFile(file, []byte(text.String()), 0o600)
}
