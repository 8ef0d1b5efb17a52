//go:build e2e

// Package brokers tests the behaviour that kproxy relies on with real brokers, of every
// tested release: when they respond, when they close, the layout of their messages. It
// speaks the protocol by hand and without kproxy. docs/wire.md has the list.
package brokers

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

const (
	size     = 2 // brokers: one leads, the other does not
	username = "frank"
	password = "never-gonna-let-you-down"
	topic    = "wire"
)

// facts are the tests of brokers.
var facts = []struct {
	name, since string
	check       func(t *testing.T, c *cluster)
}{
	{"no coordinator yet", "", noCoordinator}, // first: it wants a cluster without a group
	{"one request at a time", "", oneRequestAtATime},
	{"closes without a response", "", closesWithoutResponse},
	{"ApiVersions of the future", "", apiVersionsOfTheFuture},
	{"no topic is asked for", "", noTopicIsAskedFor},
	{"acks=0", "", acksZero},
	{"leader hints of Produce", "", produceHints},
	{"leader hints of Fetch", "", fetchHints},
	{"leader hints of a throttled Fetch", "3.7", throttledHints},
	{"before the login", "", beforeLogin},
	{"Metadata before the login", "", metadataBeforeLogin},
	{"SaslHandshake v0", "", handshakeV0},
	{"who the client means", "4.4", whoTheClientMeans},
	{"addresses among settings", "", addressesAmongSettings},
	{"who the client means, at a login", "4.4", whoTheClientMeansAtALogin},
	{"telemetry without a receiver", "3.7", telemetryWithoutReceiver},
}

// cluster is two brokers and where they are.
type cluster struct {
	*lab.Cluster
	plain, sasl func(id int) string
}

func TestBrokers(t *testing.T) {
	dir, err := os.MkdirTemp(os.Getenv("E2E_DIR"), "kproxy-brokers-") //nolint:usetesting // E2E_DIR keeps it after the test
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("E2E_DIR") == "" {
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	java, err := lab.NewJava(dir)
	if err != nil {
		t.Fatal(err)
	}
	ports := lab.NewPorts()
	for _, version := range lab.Releases() {
		t.Run("Kafka "+version, func(t *testing.T) {
			c := start(t, java, version, filepath.Join(dir, version), ports)
			for _, fact := range facts {
				if fact.since == "" || lab.AtLeast(version, fact.since) {
					t.Run(fact.name, func(t *testing.T) { fact.check(t, c) })
				}
			}
		})
	}
}

// start runs the brokers of a release, and makes a topic whose one partition is led by
// broker 1.
func start(t *testing.T, java lab.Java, version, dir string, ports *lab.Ports) *cluster {
	t.Helper()
	release, err := lab.NewRelease(t.Context(), version)
	if err != nil {
		t.Fatal(err)
	}
	var at [5]func(int) string
	for i := range at {
		base, err := ports.Block(t.Context(), "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		at[i] = func(id int) string { return lab.HostPort("127.0.0.1", base+id) }
	}
	c := &cluster{plain: at[0], sasl: at[1]}
	life, cancel := context.WithCancel(context.Background()) // the test's own ends before the clean-up
	c.Cluster, err = lab.StartCluster(life, lab.ClusterConfig{
		Release: release, Java: java, Size: size, Dir: dir, Internal: at[2], Controller: at[3], ZooKeeper: at[4](0),
		Clients: []lab.ClientListener{
			{Name: "PLAIN", Protocol: "PLAINTEXT", Bind: at[0], Advertise: at[0]},
			{Name: "SASL", Protocol: "SASL_PLAINTEXT", Bind: at[1], Advertise: at[1]},
		},
		Properties: func(int) map[string]string {
			return map[string]string{
				"sasl.enabled.mechanisms": "PLAIN",
				"listener.name.sasl.plain.sasl.jaas.config": strings.Join([]string{
					"org.apache.kafka.common.security.plain.PlainLoginModule required",
					"user_" + username + `="` + password + `";`,
				}, " "),
			}
		},
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Complaints())
		}
		c.Close()
		cancel()
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.NewTopic(t.Context(), 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	ctx, done := context.WithTimeout(t.Context(), 30*time.Second)
	defer done()
	// Twice, so that the leader's epoch is above 0.
	for _, replicas := range [][]int32{{2, 1}, {1, 2}} {
		if err := c.Lead(ctx, replicas, topic); err != nil {
			t.Fatal(err)
		}
	}
	return c
}
