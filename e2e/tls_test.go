//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/lab"
	"kproxy/internal/certlab"
)

// edge is kproxy with TLS on both sides of the shared cluster, and a second one
// behind the same port.
type edge struct {
	proc  *lab.Process
	port  int
	files certlab.Folder
	ca    *certlab.Authority // of kproxy's own certificates
	caPEM string             // its file
	hosts string             // a hosts file with all advertised names
}

const edgeConfiguration = `
clusters:
  story:
    bootstrap: [broker-1.vpc.invalid:9093, broker-2.vpc.invalid:9093, broker-3.vpc.invalid:9093]
    tls: {ca: %[1]q, cert: %[2]q, key: %[3]q}
    dial: [%[4]s]
    listeners:
      edge:
        bind: 127.0.0.1:%[5]d
        advertise: story.kproxy.test:%[5]d
        nodes: {sni: "b{node}.{cluster}.kproxy.test:%[5]d"}
        tls: {certs: [{cert: %[6]q, key: %[7]q}]}
  audit:
    bootstrap: [%[8]s]
    dial: [%[9]s]
    listeners:
      edge:
        bind: 127.0.0.1:%[5]d
        advertise: audit.kproxy.test:%[5]d
        nodes: {sni: "b{node}.{cluster}.kproxy.test:%[5]d"}
        tls: {certs: [{cert: %[6]q, key: %[7]q}]}
log: {format: json}
`

// startEdge runs kproxy until the test ends. way leads to the second cluster.
func startEdge(t *testing.T, way route) *edge {
	t.Helper()
	e := &edge{files: certlab.NewFolder(t), ca: certlab.NewAuthority(t, "kproxy")}
	e.caPEM = e.files.Write(t, "ca.pem", e.ca.PEM)
	cert, key := e.renew(t)
	ownCert, ownKey := e.files.Pair(t, "own", shared.kafka.pki.authority.Issue(t, nil, "kproxy"))
	var err error
	if e.port, err = shared.ports.Block(t.Context(), "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	var dial []string
	hosts := "127.0.0.1 localhost story.kproxy.test audit.kproxy.test\n"
	for id := 1; id <= brokerCount; id++ {
		dial = append(dial, fmt.Sprintf("{match: %q, to: \"127.0.0.1:%d\"}", brokerHost(id)+":9093", shared.kafka.secureBase+id))
		hosts += fmt.Sprintf("127.0.0.1 b%d.story.kproxy.test b%[1]d.audit.kproxy.test\n", id)
	}
	e.hosts = e.files.Write(t, "hosts", []byte(hosts))
	config := fmt.Sprintf(edgeConfiguration, shared.kafka.pki.ca, ownCert, ownKey, strings.Join(dial, ", "),
		e.port, cert, key, strings.Join(way.Bootstrap, ", "), strings.Join(way.Dial, ", "))
	// Not the test's context: that ends before the cleanup which stops kproxy.
	e.proc, err = lab.StartKproxy(context.Background(), shared.kproxy, string(e.files), nil, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.proc.Stop(drainTimeout); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("kproxy's log:\n%s", e.proc.LogTail())
		}
	})
	client := e.client(t, "story")
	eventually(t, 30*time.Second, func() error {
		if err := e.proc.Alive(); err != nil {
			return lab.Permanent(err)
		}
		return client.Ping(t.Context())
	})
	return e
}

// renew writes a certificate for all names, with a key of its own.
func (e *edge) renew(t *testing.T) (cert, key string) {
	t.Helper()
	return e.files.Pair(t, "edge", e.ca.Issue(t, nil, "story.kproxy.test", "*.story.kproxy.test", "audit.kproxy.test", "*.audit.kproxy.test"))
}

// bootstrap is the bootstrap address of a cluster's clients.
func (e *edge) bootstrap(cluster string) string {
	return fmt.Sprintf("%s.kproxy.test:%d", cluster, e.port)
}

// client is franz-go, which resolves kproxy's names alone, and verifies them.
func (e *edge) client(t *testing.T, cluster string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(e.bootstrap(cluster)), kgo.Dialer(e.dial))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func (e *edge) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || !strings.HasSuffix(host, ".kproxy.test") {
		return nil, fmt.Errorf("%s is no address of kproxy's", address)
	}
	dialer := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: e.ca.Pool()}}
	return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

// shown is the serial number of the certificate that a new client is shown.
func (e *edge) shown(t *testing.T) *big.Int {
	t.Helper()
	conn, err := e.dial(t.Context(), "tcp", e.bootstrap("story"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber
}

// named makes a tool resolve names by the hosts file, in a mount namespace of its own.
func (e *edge) named(cmd *exec.Cmd) *exec.Cmd {
	args := append([]string{"unshare", "--map-root-user", "--mount", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, e.hosts, cmd.Path}, cmd.Args[1:]...)
	cmd.Args = args
	cmd.Path, cmd.Err = "/usr/bin/unshare", nil
	return cmd
}

func (e *edge) kcat(t *testing.T, cluster, stdin string, args ...string) output {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	args = append(settings("security.protocol=ssl", "ssl.ca.location="+e.caPEM), args...)
	return runTool(t, e.named(kcatCommand(ctx, listener{Advertise: e.bootstrap(cluster)}, args...)), strings.NewReader(stdin))
}

func (e *edge) java(t *testing.T, client javaClient, class, stdin string, args ...string) output {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	for _, property := range []string{"security.protocol=SSL", "ssl.truststore.type=PEM", "ssl.truststore.location=" + e.caPEM} {
		args = append(args, "--command-property", property)
	}
	return runTool(t, e.named(javaCommand(ctx, client, listener{Advertise: e.bootstrap("story")}, class, args...)), strings.NewReader(stdin))
}

// TestOnePortForAllInTLS has three real brokers, which speak TLS and want a certificate,
// and a second cluster behind one port, distinguished by server names. Every client
// verifies the certificate.
func TestOnePortForAllInTLS(t *testing.T) {
	const auditTopic = "audit-edge"
	_, way := startFake(t, auditTopic, 3)
	e := startEdge(t, way)
	topic := shared.kafka.NewTopic(t, "edge", 6)
	want := values(topic, 1000)
	input := strings.Join(want, "\n") + "\n"

	e.kcat(t, "story", input, "-P", "-t", topic)
	shared.kafka.WaitRecords(t, topic, 1000)
	read := func(got []string) {
		t.Helper()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("records read: got %d, want %d, the same", len(got), len(want))
		}
	}
	read(e.kcat(t, "story", "", "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%s\n").Lines())
	for _, client := range shared.tools {
		read(e.java(t, client, consoleConsumer, "", "--topic", topic, "--from-beginning", "--max-messages", "1000", "--timeout-ms", "60000").Lines())
	}
	javaTopic := shared.kafka.NewTopic(t, "edge-java", 6)
	e.java(t, shared.tools[0], consoleProducer, input, "--topic", javaTopic)
	shared.kafka.WaitRecords(t, javaTopic, 1000)

	for _, cluster := range []string{"story", "audit"} {
		listed := e.kcat(t, cluster, "", "-L").stdout
		for id := 1; id <= brokerCount; id++ {
			if name := fmt.Sprintf("b%d.%s.kproxy.test:%d", id, cluster, e.port); !strings.Contains(listed, name) {
				t.Errorf("%s is not advertised to clients of %s: %s", name, cluster, listed)
			}
		}
	}
	e.kcat(t, "audit", "a\nb\nc\n", "-P", "-t", auditTopic)
	if got := e.kcat(t, "audit", "", "-C", "-t", auditTopic, "-o", "beginning", "-e", "-q", "-f", "%s\n").Lines(); len(got) != 3 {
		t.Errorf("records of the second cluster: got %v, want 3", got)
	}
}

// TestCertificateIsReplacedUnderLoad replaces kproxy's certificate, and then puts an
// invalid one in its place. No request fails.
func TestCertificateIsReplacedUnderLoad(t *testing.T) {
	_, way := startFake(t, "audit-reload", 1)
	e := startEdge(t, way)
	topic := shared.kafka.NewTopic(t, "reload", 6)
	stop := make(chan struct{})
	var load sync.WaitGroup
	var sent, connects int
	steady := e.client(t, "story", kgo.DefaultProduceTopic(topic))
	load.Go(func() { // on connections that stay
		for ; !closed(stop); sent++ {
			if err := steady.ProduceSync(t.Context(), kgo.StringRecord("steady")).FirstErr(); err != nil {
				t.Errorf("produce: %v", err)
				return
			}
		}
	})
	load.Go(func() { // on new ones
		for ; !closed(stop); connects++ {
			client, err := kgo.NewClient(kgo.SeedBrokers(e.bootstrap("story")), kgo.Dialer(e.dial), kgo.DefaultProduceTopic(topic))
			if err != nil {
				t.Error(err)
				return
			}
			err = client.ProduceSync(t.Context(), kgo.StringRecord("fresh")).FirstErr()
			client.Close()
			if err != nil {
				t.Errorf("produce on a new connection: %v", err)
				return
			}
		}
	})
	first := e.shown(t)
	e.renew(t)
	e.logs(t, "certificates and keys have changed; new")
	second := e.shown(t)
	if second.Cmp(first) == 0 {
		t.Error("a new client is shown the old certificate")
	}
	e.files.Write(t, "edge.pem", []byte("no certificate"))
	e.logs(t, "certificates and keys have changed and are no good")
	if third := e.shown(t); third.Cmp(second) != 0 {
		t.Error("with a bad file a new client is not shown the previous certificate")
	}
	close(stop)
	load.Wait()
	t.Logf("%d records on connections that stayed, %d clients that connected anew", sent, connects)
	if sent == 0 || connects == 0 {
		t.Error("there was no load")
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// logs waits for a line of kproxy's.
func (e *edge) logs(t *testing.T, text string) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		log, err := os.ReadFile(filepath.Clean(e.proc.LogPath))
		if err == nil && !bytes.Contains(log, []byte(text)) {
			err = fmt.Errorf("kproxy does not say %q", text)
		}
		return err
	})
}
