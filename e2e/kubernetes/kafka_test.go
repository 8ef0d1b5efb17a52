//go:build e2e && linux

package kubernetes

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"kproxy/e2e/history"
	"kproxy/e2e/lab"
	"kproxy/e2e/workload"
	"kproxy/internal/certlab"
)

const (
	kafkaBrokers = 3
	kafkaTopic   = "records"
	password     = "only-for-this-test"
)

// kafkaHost is the name that a broker advertises. Only pods can use it.
func kafkaHost(id int) string { return fmt.Sprintf("kafka-%d.kafka.svc.cluster.local", id) }

// kafkaValues are a release before the brokers: TLS and SCRAM on both sides.
func kafkaValues(tag string) string {
	var seeds []string
	for id := range kafkaBrokers {
		seeds = append(seeds, fmt.Sprintf("%q", kafkaHost(id+1)+":9093"))
	}
	return strings.Replace(common, "tag: local", "tag: "+tag, 1) + `
exposure: {mode: loadBalancer}
clusters:
  orders:
    bootstrap: [` + strings.Join(seeds, ", ") + `]
    tls: {ca: /run/secrets/orders/ca.crt}
    sasl: {mechanism: SCRAM-SHA-512, username: kproxy, password_file: /run/secrets/orders/password}
    certificate: {secret: kafka-example-com}
    listener: {advertise: "` + publicName + `:443", login: {mechanisms: [SCRAM-SHA-512], users_file: /run/secrets/users/users}}
secrets: {orders: kafka-orders, users: kproxy-users}
`
}

// Real brokers behind the chart, with TLS and SCRAM: a rollout loses no record of producers with acks=all,
// idempotent ones and transactions, and no commit of a group.
func TestKafka(t *testing.T) {
	brokersCA, publicCA := certlab.NewAuthority(t, "brokers"), certlab.NewAuthority(t, "public")
	cluster := startKafka(t, brokersCA)
	if err := cluster.NewTopic(t.Context(), 6, nil, kafkaTopic); err != nil {
		t.Fatal(err)
	}
	passwd := lab.Command(t.Context(), filepath.Join(site.dir, "images/kproxy/kproxy"), "passwd", "alice")
	passwd.Stdin = strings.NewReader(password + "\n")
	users, err := passwd.Output()
	if err != nil {
		t.Fatal(err)
	}
	public := publicCA.Issue(t, nil, publicName, "*."+publicName)
	secrets(t, "kafka-example-com", "kubernetes.io/tls", map[string][]byte{"tls.crt": public.CertPEM, "tls.key": public.KeyPEM})
	secrets(t, "kafka-orders", "Opaque", map[string][]byte{"ca.crt": brokersCA.PEM, "password": []byte(password)})
	secrets(t, "kproxy-users", "Opaque", map[string][]byte{"users": users})
	balanced(t, "kafka", kafkaValues("local"))

	c := &crowd{recorder: history.NewRecorder(0), tls: &tls.Config{RootCAs: publicCA.Pool(), MinVersion: tls.VersionTLS12}}
	load, err := workload.Start(t.Context(), workload.Config{
		Recorder: c.recorder, Topic: kafkaTopic, Partitions: 6, Rate: 50,
		Client: func(string) []kgo.Opt {
			return []kgo.Opt{kgo.SeedBrokers(publicName + ":443"), kgo.Dialer(c.dial), kgo.SASL(scram.Auth{User: "alice", Pass: password}.AsSha512Mechanism())}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	steady := c.recorder.Now()
	err = load.Flows(t.Context(), 300)
	began := c.recorder.Now()
	if err == nil {
		err = replaced(t, "kafka", func() error { release(t, "kafka", kafkaValues("next")); return nil })
	}
	took := c.recorder.Now() - began
	err = errors.Join(err, load.Flows(t.Context(), 300), load.Stop(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err = errors.Join(err, load.Final(ctx, "final")); err != nil {
		t.Fatal(err)
	}
	h := c.recorder.History()
	t.Logf("3 pods were replaced in %.0f s; the longest wait for an acknowledgement was %.2f s, before that %.2f s", took.Seconds(),
		slowest(h, began, c.recorder.Now()).Seconds(), slowest(h, steady, began).Seconds())
	c.judge(t, 300)
	if got := slowest(h, began, c.recorder.Now()); got > patience {
		t.Errorf("a record took %v", got)
	}
}

// startKafka starts brokers on the node. A Service without a selector leads to each.
func startKafka(t *testing.T, ca *certlab.Authority) *lab.Cluster {
	t.Helper()
	release, err := lab.NewRelease(t.Context(), lab.Newest)
	if err != nil {
		t.Fatal(err)
	}
	java, err := lab.NewJava(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	files := certlab.NewFolder(t)
	stores := map[int]string{}
	for id := 1; id <= kafkaBrokers; id++ {
		identity := ca.Issue(t, nil, kafkaHost(id))
		stores[id] = files.Write(t, fmt.Sprintf("broker-%d.pem", id), slices.Concat(identity.KeyPEM, identity.CertPEM))
		service(t, id)
	}
	names(t)
	at := func(host string, port int) func(id int) string {
		return func(id int) string { return lab.HostPort(host, port+id) }
	}
	cluster, err := lab.StartCluster(t.Context(), lab.ClusterConfig{
		Release: release, Java: java, Size: kafkaBrokers, Dir: t.TempDir(),
		Internal: at("127.0.0.1", 29100), Controller: at("127.0.0.1", 29200),
		Clients: []lab.ClientListener{{
			Name: "PODS", Protocol: "SASL_SSL", Bind: at(node, kafkaPort),
			Advertise: func(id int) string { return lab.HostPort(kafkaHost(id), 9093) },
		}},
		Properties: func(id int) map[string]string {
			return map[string]string{
				"sasl.enabled.mechanisms":                           "SCRAM-SHA-512",
				"listener.name.pods.ssl.keystore.type":              "PEM",
				"listener.name.pods.ssl.keystore.location":          stores[id],
				"listener.name.pods.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
			}
		},
		Format: []string{"--add-scram", "SCRAM-SHA-512=[name=kproxy,password=" + password + "]"},
	})
	t.Cleanup(cluster.Close)
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

// A broker has the port kafkaPort plus its id on the node.
const kafkaPort = 29090

// service makes the Service of a broker, and the EndpointSlice that leads it to the broker.
func service(t *testing.T, id int) {
	t.Helper()
	apply(t, fmt.Sprintf(`{"apiVersion": "v1", "kind": "List", "items": [
 {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kafka-%[1]d"}, "spec": {"ports": [{"name": "kafka", "port": 9093}]}},
 {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
  "metadata": {"name": "kafka-%[1]d", "labels": {"kubernetes.io/service-name": "kafka-%[1]d"}},
  "ports": [{"name": "kafka", "port": %[2]d}], "endpoints": [{"addresses": ["%[3]s"]}]}]}`, id, kafkaPort+id, node))
}

// slowest is the longest time that a record took which was sent in a part of a history.
func slowest(h history.History, from, to time.Duration) time.Duration {
	sent := map[int64]time.Duration{}
	var longest time.Duration
	for _, e := range h.Events {
		switch at, ok := sent[e.Number]; {
		case e.Type == history.Send && e.At >= from && e.At < to:
			sent[e.Number] = e.At
		case e.Type == history.Sent && ok:
			longest = max(longest, e.At-at)
		}
	}
	return longest
}

// apply makes objects, or changes them.
func apply(t *testing.T, objects string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "objects.json")
	if err := os.WriteFile(file, []byte(objects), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := kubectl(t.Context(), "apply", "-f", file); err != nil {
		t.Fatal(err)
	}
}

// secrets makes a Secret, or changes it.
func secrets(t *testing.T, name, kind string, data map[string][]byte) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]string{"name": name}, "type": kind, "data": data})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, string(text))
}
