//go:build e2e && linux

package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/lab"
)

// chart is the chart's folder.
const chart = "../../configs/helm/kproxy"

// brokers starts three brokers on the node, with a topic t.
func brokers(t *testing.T) {
	t.Helper()
	port := 19092
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(3, "t"), kfake.SeedTopics(crowdSize, crowdTopic), kfake.ListenFn(func(network, _ string) (net.Listener, error) {
		l, err := new(net.ListenConfig).Listen(t.Context(), network, fmt.Sprintf("%s:%d", node, port))
		port++
		return l, err
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
}

// common are the values of every release.
const common = `
image: {repository: localhost/kproxy, tag: local, pullPolicy: Never}
drain: {delay: 5s, timeout: 20s}
rollout: {minReadySeconds: 3}
resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 256Mi}}
`

// outsideValues lead clients outside to ports of the node.
const outsideValues = common + `
exposure: {mode: ports}
clusters:
  orders:
    bootstrap: ["` + node + `:19092"]
    listener: {advertise: "` + node + `:31092", nodes: {advertise_ports: 31100-31109}}
`

// install installs or upgrades a release.
func install(t *testing.T, name, values string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := helm(t.Context(), "upgrade", "--install", name, chart, "-f", file); err != nil {
		t.Fatal(err)
	}
}

// release installs or upgrades a release, and waits for its pods. dnsmasq gets the Services' names.
func release(t *testing.T, name, values string) {
	t.Helper()
	install(t, name, values)
	if out, err := kubectl(t.Context(), "rollout", "status", "deployment/"+name+"-kproxy", "--timeout=150s"); err != nil {
		pods, _ := kubectl(t.Context(), "describe", "pods")
		logs, _ := kubectl(t.Context(), "logs", "deployment/"+name+"-kproxy", "--tail=20")
		t.Fatalf("%v\n%s\n%s\n%s", err, out, pods, logs)
	}
	names(t)
}

// nameServer is the dnsmasq that runs, for all tests; nil: none does.
var nameServer *lab.Process

// names gives the Services' names to dnsmasq. A headless Service's name has the addresses of its pods.
func names(t *testing.T) {
	t.Helper()
	if err := refreshNames(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func refreshNames(ctx context.Context) error {
	out, err := kubectl(ctx, "get", "services", "-A", "-o", `jsonpath={range .items[?(@.spec.clusterIP!="None")]}{.spec.clusterIP} {.metadata.name}.{.metadata.namespace}.svc.cluster.local{"\n"}{end}`)
	if err != nil {
		return err
	}
	pods, err := kubectl(ctx, "get", "endpointslices", "-A", "-l", "service.kubernetes.io/headless", "-o", `go-template={{range .items}}{{$of := .metadata}}{{range .endpoints}}{{if .conditions.ready}}{{range .addresses}}{{.}} {{index $of.labels "kubernetes.io/service-name"}}.{{$of.namespace}}.svc.cluster.local{{"\n"}}{{end}}{{end}}{{end}}{{end}}`)
	if err != nil {
		return err
	}
	out += pods
	file := filepath.Join(site.dir, "names")
	if before, err := os.ReadFile(file); err == nil && string(before) == out {
		return nil
	}
	if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
		return err
	}
	if nameServer != nil {
		nameServer.Kill()
	}
	s := server{name: "dnsmasq", args: []string{
		"-k", "--no-resolv", "--no-hosts", "--addn-hosts=" + file, "--listen-address=" + node, "--bind-interfaces", "--local=/cluster.local/",
		"--address=/" + publicName + "/" + balancer, "--address=/" + gatewayName + "/" + gateway, "--user=root", "--pid-file=",
	}}
	nameServer, err = s.process(ctx)
	return err
}

// dialer reaches kproxy's ports of the node alone, and remembers other addresses.
type dialer struct{ strange []string }

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !strings.HasPrefix(address, node+":31") {
		d.strange = append(d.strange, address)
		return nil, errors.New("not an address of kproxy: " + address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// client is a client outside.
func client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	d := &dialer{}
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(node+":31092"), kgo.Dialer(d.dial), kgo.MetadataMinAge(100*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if len(d.strange) > 0 {
			t.Errorf("the client got %q", d.strange)
		}
	})
	return c
}

// The chart on a Kubernetes: from outside by node ports, from a pod by a Service's name, a change of
// the configuration, a rollout under load, and a node outside the range.
func TestChart(t *testing.T) {
	brokers(t)
	release(t, "outside", outsideValues)
	t.Cleanup(func() {
		for _, name := range []string{"outside", "inside", "shifted"} {
			uninstall(t, name)
		}
	})
	t.Run("outside", outside)
	t.Run("helm test", func(t *testing.T) {
		if out, err := helm(t.Context(), "test", "outside", "--timeout", "60s", "--logs"); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("inside", fromPod)
	t.Run("reload", reload)
	t.Run("rollout", rollout)
	t.Run("range", outOfRange)
}

// outside sends and reads records through the node's ports.
func outside(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := sendAndRead(ctx, client(t, kgo.ConsumeTopics("t"))); err != nil {
		t.Fatal(err)
	}
}

// sendAndRead sends 30 records to the topic t, and reads as many.
func sendAndRead(ctx context.Context, c *kgo.Client) error {
	for i := range 30 {
		if err := c.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
			return err
		}
	}
	for read := 0; read < 30; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("%d records are read: %w", read, err)
		}
		read += fetches.NumRecords()
	}
	return nil
}

// fromPod runs a client in a pod, which finds the Service by its name.
func fromPod(t *testing.T) {
	release(t, "inside", common+`
clusters:
  orders: {bootstrap: ["`+node+`:19092"]}
`)
	pod := `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": {"restartPolicy": "Never",
 "securityContext": {"runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
 "containers": [{"name": "client", "image": "localhost/client:local", "imagePullPolicy": "Never", "args": ["records", "inside-kproxy.kafka.svc:9092", "30"],
  "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}}`
	file := filepath.Join(t.TempDir(), "pod.json")
	if err := os.WriteFile(file, []byte(pod), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := kubectl(t.Context(), "apply", "-f", file); err != nil {
		t.Fatal(err)
	}
	if _, err := kubectl(t.Context(), "wait", "pod/client", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"); err != nil {
		out, _ := kubectl(t.Context(), "logs", "client")
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := helm(t.Context(), "test", "inside", "--timeout", "60s", "--logs"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// pods are the names and addresses of the pods of a release.
func pods(t *testing.T, name string) []string {
	t.Helper()
	out, err := kubectl(t.Context(), "get", "pods", "-l", "app.kubernetes.io/component=proxy,app.kubernetes.io/instance="+name, "-o", `jsonpath={range .items[*]}{.metadata.name} {.status.podIP}{"\n"}{end}`)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(out), "\n")
}

// reload changes the configuration. Each pod applies it, and none is replaced.
func reload(t *testing.T) {
	before := pods(t, "outside")
	release(t, "outside", outsideValues+"limits: {max_age: 1h}\n")
	if err := generation(t, "outside", 2); err != nil {
		t.Error(err)
	}
	if after := pods(t, "outside"); strings.Join(before, ",") != strings.Join(after, ",") {
		t.Errorf("the pods were %q, and are %q", before, after)
	}
}

// generation waits until each pod of a release has the nth configuration.
func generation(t *testing.T, name string, n int) error {
	t.Helper()
	want := fmt.Sprintf("\nkproxy_config_generation %d\n", n)
	for _, pod := range pods(t, name) {
		_, ip, _ := strings.Cut(pod, " ")
		if err := lab.Poll(t.Context(), 3*time.Minute, func() error {
			metrics, err := lab.Get(t.Context(), net.JoinHostPort(ip, "9400"), "/metrics")
			if err == nil && !strings.Contains(metrics, want) {
				err = errors.New(pod + " uses the configuration of before")
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// rollout replaces all pods under load. Each record is acknowledged, once.
func rollout(t *testing.T) {
	c := client(t, kgo.ProducerLinger(0))
	ctx, cancel := context.WithCancel(t.Context())
	type outcome struct {
		sent, failed int
		longest      time.Duration
		err          error
	}
	done := make(chan outcome)
	go func() {
		var o outcome
		for ctx.Err() == nil {
			began := time.Now()
			err := c.ProduceSync(context.WithoutCancel(ctx), &kgo.Record{Topic: "t", Value: fmt.Append(nil, "rollout ", o.sent)}).FirstErr()
			o.sent++
			if err != nil {
				o.failed++
				o.err = err
			}
			o.longest = max(o.longest, time.Since(began))
		}
		done <- o
	}()
	before := pods(t, "outside")
	_, err := kubectl(t.Context(), "rollout", "restart", "deployment/outside-kproxy")
	if err == nil {
		_, err = kubectl(t.Context(), "rollout", "status", "deployment/outside-kproxy", "--timeout=180s")
	}
	// The old pods end after the rollout is complete.
	for _, pod := range before {
		name, _, _ := strings.Cut(pod, " ")
		if err == nil {
			_, err = kubectl(t.Context(), "wait", "--for=delete", "pod/"+name, "--timeout=60s")
		}
	}
	cancel()
	o := <-done
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d records one after the other while 3 pods were replaced; the longest took %v", o.sent, o.longest)
	if o.failed > 0 || o.sent < 100 {
		t.Errorf("%d of %d failed: %v", o.failed, o.sent, o.err)
	}
}

// outOfRange leaves node 0 outside the range. helm test fails: kproxy check by the configuration, and
// kproxy health by a replica.
func outOfRange(t *testing.T) {
	values := strings.ReplaceAll(outsideValues, "31092", "31192")
	values = strings.ReplaceAll(values, "advertise_ports: 31100-31109", "advertise_ports: 31200-31209, first_node: 1")
	release(t, "shifted", values)
	if out, err := helm(t.Context(), "test", "shifted", "--timeout", "60s"); err == nil {
		t.Errorf("helm test succeeds\n%s", out)
	}
	for _, container := range []string{"check", "health"} {
		if out, err := kubectl(t.Context(), "logs", "shifted-kproxy-test", "-c", container); err != nil || !strings.Contains(strings.Join(strings.Fields(out), " "), "node 0 is outside the range") {
			t.Errorf("%s: %v\n%s", container, err, out)
		}
	}
}
