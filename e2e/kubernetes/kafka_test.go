//go:build e2e && linux

package kubernetes

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
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
		seeds = append(seeds, fmt.Sprintf("%q", kafkaHost(id)+":9093"))
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

// Real brokers in pods behind the chart, with TLS and SCRAM: for clients outside, and as a sidecar.
func TestKafka(t *testing.T) {
	brokersCA := certlab.NewAuthority(t, "brokers")
	startKafka(t, brokersCA)
	secrets(t, "kafka-orders", "Opaque", map[string][]byte{"ca.crt": brokersCA.PEM, "password": []byte(password)})
	t.Run("rollout", kafkaRollout)
	t.Run("sidecar", sidecar)
}

// kafkaRollout replaces kproxy's pods. No record is lost of producers with acks=all, idempotent ones and
// transactions, and no commit of a group.
func kafkaRollout(t *testing.T) {
	publicCA := certlab.NewAuthority(t, "public")
	passwd := lab.Command(t.Context(), filepath.Join(site.dir, "images/kproxy"), "passwd", "alice")
	passwd.Stdin = strings.NewReader(password + "\n")
	users, err := passwd.Output()
	if err != nil {
		t.Fatal(err)
	}
	public := publicCA.Issue(t, nil, publicName, "*."+publicName)
	secrets(t, "kafka-example-com", "kubernetes.io/tls", map[string][]byte{"tls.crt": public.CertPEM, "tls.key": public.KeyPEM})
	secrets(t, "kproxy-users", "Opaque", map[string][]byte{"users": users})
	balanced(t, "kafka", kafkaValues("local"))

	c := &crowd{recorder: history.NewRecorder(0), advertised: advertised(publicName), tls: &tls.Config{RootCAs: publicCA.Pool(), MinVersion: tls.VersionTLS12}}
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

// sidecar adds kproxy to the pods of an application, by the commands of docs/kubernetes.md. The application has
// neither TLS nor a login.
func sidecar(t *testing.T) {
	seeds, _, _ := strings.Cut(kafkaValues("local"), "    certificate:")
	_, seeds, _ = strings.Cut(seeds, "clusters:")
	install(t, "app", common+"exposure: {mode: sidecar}\nclusters:"+seeds+"secrets: {orders: kafka-orders}\n")
	t.Cleanup(func() { uninstall(t, "app") })
	apply(t, `{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "spec": {
 "selector": {"matchLabels": {"app": "app"}}, "template": {"metadata": {"labels": {"app": "app"}}, "spec": {
  "securityContext": {"runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
  "containers": [{"name": "client", "image": "localhost/client:local", "imagePullPolicy": "Never", "args": ["serve", "localhost:9092", "30"],
   "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}}}}`)
	t.Cleanup(func() {
		if _, err := kubectl(context.WithoutCancel(t.Context()), "delete", "deployment", "app"); err != nil {
			t.Error(err)
		}
	})
	patch, err := kubectl(t.Context(), "get", "configmap", "app-kproxy-sidecar", "-o", `jsonpath={.data.patch\.yaml}`)
	file := filepath.Join(t.TempDir(), "patch.yaml")
	if err = errors.Join(err, os.WriteFile(file, []byte(patch), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := kubectl(t.Context(), "patch", "deployment", "app", "--patch-file", file); err != nil {
		t.Fatal(err)
	}
	if err := lab.Poll(t.Context(), 90*time.Second, func() error {
		out, err := kubectl(t.Context(), "logs", "deployment/app", "-c", "client")
		if err == nil && !strings.Contains(out, "30 records") {
			err = errors.New("the application has not read its records: " + out)
		}
		return err
	}); err != nil {
		pods, _ := kubectl(t.Context(), "describe", "pods", "-l", "app=app")
		logs, _ := kubectl(t.Context(), "logs", "-l", "app=app", "-c", "kproxy", "--tail=20", "--ignore-errors")
		t.Errorf("%v\n%s\n%s", err, pods, logs)
	}
}

// startKafka starts brokers in pods of a StatefulSet. A Service leads to each.
func startKafka(t *testing.T, ca *certlab.Authority) {
	t.Helper()
	identity := ca.Issue(t, nil, "*.kafka.svc.cluster.local")
	secrets(t, "kafka-brokers", "Opaque", map[string][]byte{"broker.pem": slices.Concat(identity.KeyPEM, identity.CertPEM)})
	apply(t, kafkaObjects())
	t.Cleanup(func() {
		if _, err := kubectl(context.WithoutCancel(t.Context()), "delete", "statefulset,service", "-l", "app=kafka", "--timeout=60s"); err != nil {
			t.Error(err)
		}
	})
	names(t)
	if _, err := kubectl(t.Context(), "rollout", "status", "statefulset/kafka", "--timeout=150s"); err != nil {
		pods, _ := kubectl(t.Context(), "describe", "pods", "-l", "app=kafka")
		logs, _ := kubectl(t.Context(), "logs", "-l", "app=kafka", "--tail=20")
		t.Fatalf("%v\n%s\n%s", err, pods, logs)
	}
	var seeds []string
	for id := range kafkaBrokers {
		seeds = append(seeds, kafkaHost(id)+":9092")
	}
	dialer := &net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: toNameServer}}
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.Dialer(dialer.DialContext))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	made, err := kadm.NewClient(client).CreateTopics(t.Context(), 6, kafkaBrokers, nil, kafkaTopic, "t")
	if err = errors.Join(err, made.Error()); err != nil {
		t.Fatal(err)
	}
}

// kafkaObjects are a StatefulSet and its Services. A broker's Service leads to it before it is ready, because the
// controllers find each other by it.
func kafkaObjects() string {
	var voters []string
	var items []any
	ports := []map[string]any{{"name": "internal", "port": 9092}, {"name": "kafka", "port": 9093}, {"name": "controller", "port": 9094}}
	service := func(name string, spec map[string]any) {
		items = append(items, map[string]any{
			"apiVersion": "v1", "kind": "Service",
			"metadata": map[string]any{"name": name, "labels": map[string]string{"app": "kafka"}}, "spec": spec,
		})
	}
	for id := range kafkaBrokers {
		voters = append(voters, fmt.Sprintf("%d@%s:9094", id, kafkaHost(id)))
		pod := fmt.Sprintf("kafka-%d", id)
		service(pod, map[string]any{"ports": ports, "publishNotReadyAddresses": true, "selector": map[string]string{"statefulset.kubernetes.io/pod-name": pod}})
	}
	service("kafka", map[string]any{"clusterIP": "None", "ports": ports, "selector": map[string]string{"app": "kafka"}})
	field := func(name, path string) map[string]any {
		return map[string]any{"name": name, "valueFrom": map[string]any{"fieldRef": map[string]string{"fieldPath": path}}}
	}
	// A variable uses those before it.
	env := []map[string]any{field("POD", "metadata.name"), field("KAFKA_NODE_ID", "metadata.labels['apps.kubernetes.io/pod-index']")}
	for _, p := range [][2]string{
		{"PROCESS_ROLES", "broker,controller"},
		{"LISTENERS", "INTERNAL://:9092,PODS://:9093,CONTROLLER://:9094"},
		{"ADVERTISED_LISTENERS", "INTERNAL://$(POD).kafka.svc.cluster.local:9092,PODS://$(POD).kafka.svc.cluster.local:9093"},
		{"LISTENER_SECURITY_PROTOCOL_MAP", "INTERNAL:PLAINTEXT,PODS:SASL_SSL,CONTROLLER:PLAINTEXT"},
		{"INTER_BROKER_LISTENER_NAME", "INTERNAL"},
		{"CONTROLLER_LISTENER_NAMES", "CONTROLLER"},
		{"CONTROLLER_QUORUM_VOTERS", strings.Join(voters, ",")},
		{"DEFAULT_REPLICATION_FACTOR", "3"},
		{"MIN_INSYNC_REPLICAS", "2"},
		{"OFFSETS_TOPIC_REPLICATION_FACTOR", "3"},
		{"TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "3"},
		{"TRANSACTION_STATE_LOG_MIN_ISR", "2"},
		{"GROUP_INITIAL_REBALANCE_DELAY_MS", "0"},
		{"SASL_ENABLED_MECHANISMS", "SCRAM-SHA-512"},
		{"LISTENER_NAME_PODS_SSL_KEYSTORE_TYPE", "PEM"},
		{"LISTENER_NAME_PODS_SSL_KEYSTORE_LOCATION", "/run/certificate/broker.pem"},
		{"LISTENER_NAME_PODS_SCRAM___SHA___512_SASL_JAAS_CONFIG", "org.apache.kafka.common.security.scram.ScramLoginModule required;"},
	} {
		env = append(env, map[string]any{"name": "KAFKA_" + p[0], "value": p[1]})
	}
	broker := map[string]any{
		"name": "kafka", "image": "localhost/kafka:local", "imagePullPolicy": "Never", "env": env,
		"args":            []string{"--add-scram", "SCRAM-SHA-512=[name=kproxy,password=" + password + "]"},
		"readinessProbe":  map[string]any{"tcpSocket": map[string]any{"port": 9093}, "periodSeconds": 2},
		"securityContext": map[string]any{"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []string{"ALL"}}},
		"volumeMounts":    []map[string]any{{"name": "data", "mountPath": "/tmp"}, {"name": "certificate", "mountPath": "/run/certificate", "readOnly": true}},
	}
	items = append(items, map[string]any{
		"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": map[string]any{"name": "kafka", "labels": map[string]string{"app": "kafka"}},
		"spec": map[string]any{
			"replicas": kafkaBrokers, "serviceName": "kafka", "podManagementPolicy": "Parallel",
			"selector": map[string]any{"matchLabels": map[string]string{"app": "kafka"}},
			"template": map[string]any{
				"metadata": map[string]any{"labels": map[string]string{"app": "kafka"}},
				"spec": map[string]any{
					"automountServiceAccountToken": false, "enableServiceLinks": false, // KAFKA_… are keys of a broker
					"securityContext": map[string]any{"runAsNonRoot": true, "runAsUser": 1000, "fsGroup": 1000, "seccompProfile": map[string]string{"type": "RuntimeDefault"}},
					"containers":      []any{broker},
					"volumes": []map[string]any{
						{"name": "data", "emptyDir": map[string]any{}},
						{"name": "certificate", "secret": map[string]string{"secretName": "kafka-brokers"}},
					},
				},
			},
		},
	})
	text, _ := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": items}) // maps of plain values
	return string(text)
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
