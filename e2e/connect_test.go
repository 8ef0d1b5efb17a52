//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"kproxy/e2e/lab"
	"kproxy/internal/certlab"
	"kproxy/internal/via/viatest"
)

// The story's networks: the broker is in vpc, and a client outside knows one address of
// it.
const (
	storyBroker  = "10.213.42.1"
	storyOutside = "10.213.42.2"
	storyName    = "ip-172-31-18-160" + brokersDomain // resolves nowhere
	storyPlain   = 9092
	storySecure  = 9094
)

// connection is a running kproxy connect.
type connection struct {
	*lab.Process
	place     *lab.Namespace
	bootstrap string
}

// startConnect runs kproxy connect in a network until the test ends, and waits until it
// serves. Its state is the test's own.
func startConnect(t *testing.T, place *lab.Namespace, args ...string) connection {
	t.Helper()
	dir := t.TempDir()
	cmd := lab.Command(context.Background(), shared.kproxy, append([]string{"connect"}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+dir, "XDG_RUNTIME_DIR="+dir)
	proc, err := lab.StartProcess("kproxy connect", filepath.Join(dir, "log"), place.Command(cmd))
	if err != nil {
		t.Fatal(err)
	}
	c := connection{Process: proc, place: place}
	t.Cleanup(func() {
		if err := proc.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(proc.LogTail())
		}
		left, _ := filepath.Glob(filepath.Join(dir, "kproxy-connect-*"))
		if left != nil {
			t.Errorf("it has left %v", left)
		}
	})
	eventually(t, time.Minute, func() error {
		if err := proc.Alive(); err != nil {
			return lab.Permanent(err)
		}
		said := c.said(t)
		if !strings.Contains(said, "serving") {
			return fmt.Errorf("it does not serve yet:\n%s", said)
		}
		c.bootstrap = regexp.MustCompile(`(?m)^bootstrap.servers=(.*)$`).FindStringSubmatch(said)[1]
		return nil
	})
	return c
}

func (c connection) said(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(c.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// printed is the output for clients: the line for kcat, and a file with the
// configuration for Java.
func (c connection) printed(t *testing.T) (kcat []string, java string) {
	t.Helper()
	said := c.said(t)
	line := regexp.MustCompile(`(?m)^kcat (.*)$`).FindStringSubmatch(said)
	block := regexp.MustCompile(`(?m)^# Java .*\n((?:.+\n)+)`).FindStringSubmatch(said)
	if line == nil || block == nil {
		t.Fatalf("no configuration for clients is printed:\n%s", said)
	}
	java = filepath.Join(t.TempDir(), "client.properties")
	if err := os.WriteFile(java, []byte(block[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.Fields(line[1]), java
}

// tools runs kcat and the console tools through the connection, with the configuration
// that is printed for them. No tool may get a broker's own name.
func (c connection) tools(t *testing.T, topic string, brokers int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	kcat, java := c.printed(t)
	listed := runTool(t, c.place.Command(lab.Command(ctx, shared.kcat, append(kcat, "-m", "15")...)), nil).stdout
	if got := strings.Count(listed, " at localhost:"); got != brokers {
		t.Errorf("kcat -L names %d brokers at localhost, want %d:\n%s", got, brokers, listed)
	}
	want := values(topic, 500)
	tool := func(class string, args ...string) []string {
		cmd := shared.java.Tool(ctx, shared.tools[0].classpath, class, append([]string{"--bootstrap-server", c.bootstrap, "--command-config", java, "--topic", topic}, args...)...)
		return runTool(t, c.place.Command(cmd), lines(want)).Lines()
	}
	tool(consoleProducer)
	got := tool(consoleConsumer, "--from-beginning", "--max-messages", "500", "--timeout-ms", "30000")
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("records read: got %d, want %d, the same", len(got), len(want))
	}
}

// startStory starts the story's one broker, and the networks around it.
func startStory(t *testing.T) (cluster *lab.Cluster, outside *lab.Namespace, ca string) {
	t.Helper()
	space := func(name string) *lab.Namespace {
		n, err := lab.NewNamespace(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Close)
		return n
	}
	vpc, outside := space("kp-story-vpc"), space("kp-story-out")
	for _, err := range []error{
		vpc.Link(storyBroker+"/30", outside, storyOutside+"/30"),
		vpc.Hosts(map[string]string{storyName: storyBroker}),
		outside.Hosts(nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	files := certlab.NewFolder(t)
	authority := certlab.NewAuthority(t, "story")
	identity := authority.Issue(t, nil, storyName, storyBroker)
	store := files.Write(t, "broker.pem", slices.Concat(identity.KeyPEM, identity.CertPEM))
	release, err := lab.NewRelease(t.Context(), lab.Newest)
	if err != nil {
		t.Fatal(err)
	}
	at := func(host string, port int) func(int) string {
		return func(int) string { return lab.HostPort(host, port) }
	}
	cluster, err = lab.StartCluster(context.Background(), lab.ClusterConfig{
		Release: release, Java: shared.java, Size: 1, Dir: filepath.Join(shared.dir, "story"), Place: vpc,
		Internal: at("127.0.0.1", 19092), Controller: at("127.0.0.1", 19093),
		Clients: []lab.ClientListener{
			{Name: "CLIENT", Protocol: "PLAINTEXT", Bind: at(storyBroker, storyPlain), Advertise: at(storyName, storyPlain)},
			{Name: "SECURE", Protocol: "SASL_SSL", Bind: at(storyBroker, storySecure), Advertise: at(storyName, storySecure)},
		},
		Properties: func(int) map[string]string {
			return map[string]string{
				"ssl.keystore.type": "PEM", "ssl.keystore.location": store,
				"sasl.enabled.mechanisms":                             "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
				"listener.name.secure.plain.sasl.jaas.config":         `org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="alice-secret";`,
				"listener.name.secure.scram-sha-256.sasl.jaas.config": `org.apache.kafka.common.security.scram.ScramLoginModule required;`,
				"listener.name.secure.scram-sha-512.sasl.jaas.config": `org.apache.kafka.common.security.scram.ScramLoginModule required;`,
			}
		},
	})
	t.Cleanup(cluster.Close)
	if err != nil {
		t.Fatalf("%v\n%s", err, cluster.Complaints())
	}
	for _, mechanism := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} { // one request may name a user once
		altered, err := cluster.Admin.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{User: "alice", Mechanism: mechanism, Iterations: 4096, Password: "alice-secret"}})
		if err == nil {
			err = altered.Error()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return cluster, outside, files.Write(t, "ca.pem", authority.PEM)
}

// TestConnect is the story: a client outside knows the address at which the broker is
// reached, and nothing else.
func TestConnect(t *testing.T) {
	kafka, outside, ca := startStory(t)
	topic := func(t *testing.T, name string) string {
		t.Helper()
		if err := kafka.NewTopic(t.Context(), 3, nil, name); err != nil {
			t.Fatal(err)
		}
		return name
	}
	t.Run("one broker, no other flag", func(t *testing.T) {
		c := startConnect(t, outside, lab.HostPort(storyBroker, storyPlain))
		c.tools(t, topic(t, "connect-plain"), 1)

		// As after a change of the network, or a suspend: the address is missing for a
		// while.
		const link = "to-kp-story-vpc"
		for _, change := range [][]string{
			{"ip", "addr", "del", storyOutside + "/30", "dev", link},
			{"ip", "link", "set", link, "down"},
		} {
			if err := outside.Run(change...); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := lab.Output(outside.Command(lab.Command(t.Context(), shared.kcat, "-b", c.bootstrap, "-L", "-m", "2"))); err == nil {
			t.Errorf("without a network kcat gets through: %s", out)
		}
		for _, change := range [][]string{
			{"ip", "link", "set", link, "up"},
			{"ip", "addr", "add", storyOutside + "/30", "dev", link},
		} {
			if err := outside.Run(change...); err != nil {
				t.Fatal(err)
			}
		}
		c.tools(t, topic(t, "connect-again"), 1)
	})
	for kind, mechanism := range map[string]string{"PEM": "PLAIN", "JKS": "SCRAM-SHA-256", "PKCS12": "SCRAM-SHA-512"} {
		t.Run(fmt.Sprintf("SASL_SSL by the client's configuration, %s, %s", kind, mechanism), func(t *testing.T) {
			secureByFile(t, outside, ca, kind, mechanism, topic)
		})
	}
	t.Run("doctor", func(t *testing.T) {
		broker := lab.HostPort(storyBroker, storyPlain)
		out, err := lab.Output(outside.Command(lab.Command(t.Context(), shared.kproxy, "doctor", broker)))
		if err == nil {
			t.Error("it says that a client can use a name that is not known there")
		}
		for _, want := range []string{`(?m)^bootstrap +- +ok +- +ok `, `(?m)^node \d+ +FAIL `, `(?m)^  wrong: (no such host|the name server )`, `reaches\s+node\s+\d+\s+at\s+` + broker, `(?m)^ +advertised\.listeners=`} {
			if !regexp.MustCompile(want).MatchString(out) {
				t.Errorf("%q is missing:\n%s", want, out)
			}
		}
	})
	t.Run("a port that wants TLS", func(t *testing.T) {
		out, err := lab.Output(outside.Command(lab.Command(t.Context(), shared.kproxy, "connect", lab.HostPort(storyBroker, storySecure))))
		if err == nil || !regexp.MustCompile("the port wants TLS.*; add --tls").MatchString(out) {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// secureByFile connects by a Java client's configuration, with this kind of truststore
// and this mechanism.
func secureByFile(t *testing.T, outside *lab.Namespace, ca, kind, mechanism string, topic func(*testing.T, string) string) {
	t.Helper()
	store, password, module := ca, "", "scram.ScramLoginModule"
	if mechanism == "PLAIN" {
		module = "plain.PlainLoginModule"
	}
	if kind != "PEM" {
		store, password = filepath.Join(t.TempDir(), "trust"), "ssl.truststore.password=changeit\n"
		out, err := exec.CommandContext(t.Context(), "keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", ca,
			"-keystore", store, "-storetype", kind, "-storepass", "changeit").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	file := filepath.Join(t.TempDir(), "client.properties")
	text := fmt.Sprintf(`bootstrap.servers=%s
security.protocol=SASL_SSL
ssl.truststore.type=%s
ssl.truststore.location=%s
%ssasl.mechanism=%s
sasl.jaas.config=org.apache.kafka.common.security.%s required \
  username="alice" password="alice-secret";
`, lab.HostPort(storyBroker, storySecure), kind, store, password, mechanism, module)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startConnect(t, outside, "--config-from", file)
	c.tools(t, topic(t, "connect-"+strings.ToLower(kind)), 1)
	if said := c.said(t); strings.Contains(said, "alice-secret") {
		t.Errorf("the password is printed:\n%s", said)
	}
}

// TestConnectThreeBrokers gives an address of each broker, in another order than theirs.
func TestConnectThreeBrokers(t *testing.T) {
	k := shared.kafka
	c := startConnect(t, nil, k.client(3), k.client(1), k.client(2))
	c.tools(t, k.NewTopic(t, "connect-three", 6), brokerCount)
	for id := int32(1); id <= brokerCount; id++ {
		if line := fmt.Sprintf("%s  it responds there", k.client(id)); !strings.Contains(c.said(t), line) {
			t.Errorf("broker %d is not at %s:\n%s", id, k.client(id), c.said(t))
		}
	}
	// A client's connections through kproxy, as doctor sees them.
	out, err := lab.Output(lab.Command(t.Context(), shared.kproxy, "doctor", c.bootstrap))
	if all := fmt.Sprintf("can use all %d brokers", brokerCount); err != nil || !strings.Contains(out, all) {
		t.Errorf("%v: %s", err, out)
	}
	if sound := regexp.MustCompile(`(?m)^node \d+( +(ok|-)){5} +ok `).FindAllString(out, -1); len(sound) != brokerCount {
		t.Errorf("%d brokers are known to be themselves:\n%s", len(sound), out)
	}
	// A rolling restart: clients find a broker at the same port again.
	k.Restart(t, 2, (*lab.Broker).Stop)
	c.tools(t, k.NewTopic(t, "connect-rolled", 6), brokerCount)
}

// TestConnectBehindABalancer gives the address of a load balancer in front of all brokers:
// it is used for bootstrap, and no broker is dialled there.
func TestConnectBehindABalancer(t *testing.T) {
	k := shared.kafka
	var turn atomic.Int64
	balancer := viatest.NewGate(t, func(conn net.Conn) {
		broker, err := new(net.Dialer).DialContext(t.Context(), "tcp", k.client(1+int32(turn.Add(1)%brokerCount)))
		if err != nil {
			return
		}
		defer broker.Close()
		go func() {
			_, _ = io.Copy(broker, conn)
			_ = broker.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(conn, broker)
		_ = conn.Close()
	})
	for range 5 {
		cmd := lab.Command(t.Context(), shared.kproxy, "connect", balancer.Address, "--exec", "true")
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
		out, err := lab.Output(cmd)
		if err != nil || strings.Count(out, " cannot be reached: ") != brokerCount || !strings.Contains(out, " respond at "+balancer.Address+" in turn, as behind a load balancer") {
			t.Fatalf("%v:\n%s", err, out)
		}
	}
}
