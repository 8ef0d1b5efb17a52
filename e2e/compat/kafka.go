//go:build linux

package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kadm"

	"kproxy/e2e/lab"
)

const (
	clusterSize = 3
	plainPort   = 9092
	saslPort    = 9094
	// All users that log in, by any mechanism.
	username = "frank"
	password = "never-gonna-let-you-down"
	// reauth is how long a login lasts.
	reauthMillis = 5000
	// biggestRecord is the largest record that brokers take.
	biggestRecord = 12 << 20
)

// startKafka runs three brokers of a release in vpc.
func startKafka(ctx context.Context, b *build, p *places, release lab.Release, dir string) (*lab.Cluster, error) {
	at := func(port int) func(int) string {
		return func(id int) string { return lab.HostPort(brokerAddress(id), port) }
	}
	named := func(port int) func(int) string {
		return func(id int) string { return lab.HostPort(brokerName(id), port) }
	}
	c, err := lab.StartCluster(ctx, lab.ClusterConfig{
		Release: release, Java: b.java, Size: clusterSize, Dir: dir, Place: p.vpc,
		Internal: at(9091), Controller: at(9093), ZooKeeper: brokerAddress(1) + ":2181",
		Clients: []lab.ClientListener{
			{Name: "PLAIN", Protocol: "PLAINTEXT", Bind: at(plainPort), Advertise: named(plainPort)},
			{Name: "SASL", Protocol: "SASL_PLAINTEXT", Bind: at(saslPort), Advertise: named(saslPort)},
		},
		Properties: func(id int) map[string]string { return brokerProperties(b, release.Version, id) },
	})
	if err != nil {
		return c, err
	}
	return c, addScram(ctx, b, c)
}

func brokerProperties(b *build, version string, id int) map[string]string {
	const module = "org.apache.kafka.common.security."
	props := map[string]string{
		"broker.rack":                 rack(id),
		"message.max.bytes":           fmt.Sprint(biggestRecord),
		"replica.fetch.max.bytes":     fmt.Sprint(biggestRecord),
		"fetch.max.bytes":             fmt.Sprint(200 << 20),
		"sasl.enabled.mechanisms":     "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
		"connections.max.reauth.ms":   fmt.Sprint(reauthMillis),
		"delegation.token.master.key": "of the compatibility matrix", // until 3.x
		"delegation.token.secret.key": "of the compatibility matrix",

		"listener.name.sasl.plain.sasl.jaas.config": fmt.Sprintf(
			"%splain.PlainLoginModule required user_%s=%q;", module, username, password),
		"listener.name.sasl.scram-sha-256.sasl.jaas.config": module + "scram.ScramLoginModule required;",
		"listener.name.sasl.scram-sha-512.sasl.jaas.config": module + "scram.ScramLoginModule required;",
		// Tokens without a signature: Kafka's own for development.
		"listener.name.sasl.oauthbearer.sasl.jaas.config": module +
			`oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="admin";`,
	}
	if lab.AtLeast(version, "2.4") {
		props["replica.selector.class"] = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
	}
	if lab.AtLeast(version, telemetrySince) {
		props["metric.reporters"] = "TelemetryReceiver"
		props["kproxy.telemetry.file"] = telemetryFile(b, version)
	}
	return props
}

// rack is where a broker is.
func rack(id int) string { return fmt.Sprintf("rack-%d", id) }

// addScram gives every user a SCRAM password. Kafka has an API for it from 2.7 on;
// before that it is written to ZooKeeper.
func addScram(ctx context.Context, b *build, c *lab.Cluster) error {
	if !c.Release.AtLeast("2.7") {
		out, err := lab.Output(c.Place.Command(b.java.Tool(ctx, c.Release.Classpath, "kafka.admin.ConfigCommand",
			"--zookeeper", c.ZooKeeper, "--alter", "--entity-type", "users", "--entity-name", username,
			"--add-config", fmt.Sprintf("SCRAM-SHA-256=[password=%s],SCRAM-SHA-512=[password=%[1]s]", password))))
		if err != nil {
			return fmt.Errorf("kafka-configs: %w\n%s", err, out)
		}
		return nil
	}
	for _, mechanism := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} { // one request may name a user once
		altered, err := c.Admin.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{
			{User: username, Mechanism: mechanism, Iterations: 4096, Password: password},
		})
		if err == nil {
			err = altered.Error()
		}
		if err != nil {
			return fmt.Errorf("SCRAM password: %w", err)
		}
	}
	return nil
}

// kafkaDir is where a release's brokers keep their files.
func kafkaDir(b *build, version string) string { return filepath.Join(b.dir, "kafka-"+version) }
