//go:build linux

package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"kproxy/e2e/lab"
	"kproxy/internal/certlab"
)

const kafkaBrokers = 3

// The ports of a broker's listeners. Each kind is there twice: the second one advertises
// a name that does not resolve.
const (
	internalPort   = 9090
	controllerPort = 9091
	plainPort      = 9092
	plainBehind    = 9093
	saslPort       = 9094
	saslBehind     = 9095
)

// kafka are brokers of the newest release, as processes.
type kafka struct {
	// edge has kproxy log in at the brokers, with one TLS port for all of them, and a
	// listener where clients log in.
	edge bool
	// forSarama has five brokers, which advertise the addresses of toxiproxy.
	forSarama bool

	at      seat
	cluster *lab.Cluster
}

func (k *kafka) size() int {
	if k.forSarama {
		return saramaBrokers
	}
	return kafkaBrokers
}

func (k *kafka) String() string { return "Kafka " + lab.Newest }

func (k *kafka) start(ctx context.Context, s *site) error {
	release, err := lab.NewRelease(ctx, lab.Newest)
	if err != nil {
		return err
	}
	dir, err := s.newDir("kafka")
	if err != nil {
		return err
	}
	if release.Classpath, err = withPrincipals(ctx, release.Classpath, dir); err != nil {
		return err
	}
	java, err := lab.NewJava(dir)
	if err != nil {
		return err
	}
	k.at = s.newSeat()
	on := func(port int) func(int) string { return func(id int) string { return k.at.broker(id, port) } }
	as := func(port int) func(int) string { return func(id int) string { return unresolved(id, port) } }
	plain, properties := on(plainPort), brokerProperties
	if k.forSarama {
		plain, properties = toxicAddress, saramaProperties
	}
	k.cluster, err = lab.StartCluster(ctx, lab.ClusterConfig{
		Release: release, Java: java, Size: k.size(), Dir: dir, Place: s.net,
		Internal: on(internalPort), Controller: on(controllerPort),
		Clients: []lab.ClientListener{
			{Name: "PLAIN", Protocol: "PLAINTEXT", Bind: on(plainPort), Advertise: plain},
			{Name: "PLAIN_BEHIND", Protocol: "PLAINTEXT", Bind: on(plainBehind), Advertise: as(plainPort)},
			{Name: "SASL", Protocol: "SASL_PLAINTEXT", Bind: on(saslPort), Advertise: on(saslPort)},
			{Name: "SASL_BEHIND", Protocol: "SASL_PLAINTEXT", Bind: on(saslBehind), Advertise: as(saslPort)},
		},
		Properties: properties,
		Format:     []string{"--add-scram", fmt.Sprintf("SCRAM-SHA-256=[name=%s,password=%s]", username, password)},
	})
	if err != nil {
		return err // the brokers' logs are in E2E_DIR
	}
	return nil
}

// withPrincipals compiles broker/Principals.java into a class path.
func withPrincipals(ctx context.Context, classpath, dir string) (string, error) {
	root, err := lab.ModuleRoot()
	if err != nil {
		return "", err
	}
	javac, err := lab.Tool("javac", "a Java compiler (Debian: apt-get install openjdk-17-jdk-headless)")
	if err != nil {
		return "", err
	}
	out, err := lab.Output(lab.Command(ctx, javac, "-cp", classpath, "-d", dir, filepath.Join(root, "e2e", "suites", "broker", "Principals.java")))
	if err != nil {
		return "", fmt.Errorf("javac: %w\n%s", err, out)
	}
	return classpath + ":" + dir, nil
}

func (k *kafka) close() {
	if k.cluster != nil {
		k.cluster.Close()
	}
}

// brokerProperties are those that the suites expect: topics that clients make by using
// them, ACLs, racks, and Kafka's own limits of share groups.
func brokerProperties(id int) map[string]string {
	props := map[string]string{
		"broker.rack":               fmt.Sprintf("rack-%d", id),
		"replica.selector.class":    "org.apache.kafka.common.replica.RackAwareReplicaSelector",
		"auto.create.topics.enable": "true",
		"num.partitions":            "4",
		"authorizer.class.name":     "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"principal.builder.class":   "Principals",
		"super.users":               "User:broker",
		"sasl.enabled.mechanisms":   "SCRAM-SHA-256",

		"allow.everyone.if.no.acl.found":          "true",
		"group.coordinator.rebalance.protocols":   "classic,consumer,streams,share",
		"group.share.min.record.lock.duration.ms": "15000",
		"group.share.record.lock.duration.ms":     "30000",
		"group.share.delivery.count.limit":        "5",
	}
	maps.Copy(props, map[string]string{
		"listener.name.sasl.scram-sha-256.sasl.jaas.config":        scramModule,
		"listener.name.sasl_behind.scram-sha-256.sasl.jaas.config": scramModule,
	})
	return props
}

const scramModule = "org.apache.kafka.common.security.scram.ScramLoginModule required;"

func (k *kafka) open(ctx context.Context, s *site, w way) (target, func() (counts, error), error) {
	dir, err := s.newDir("kafka-run")
	if err != nil {
		return target{}, nil, err
	}
	t := target{way: w, dir: dir}
	if w == directly {
		t.seeds, t.scram = k.seeds(plainPort), k.seeds(saslPort)
		return t, func() (counts, error) { return counts{}, k.alive() }, nil
	}
	at := s.newSeat()
	var clusters string
	if k.edge {
		clusters, err = k.edgeClusters(ctx, s, at, &t)
	} else {
		clusters = k.plainClusters(at, &t)
	}
	if err != nil {
		return t, nil, err
	}
	front, err := s.startFront(ctx, at, dir, clusters)
	if err != nil {
		return t, nil, err
	}
	return t, func() (counts, error) {
		c, err := front.stop(ctx)
		if err == nil {
			err = k.alive()
		}
		return c, err
	}, nil
}

// alive reports whether the brokers are all there after a run.
func (k *kafka) alive() error {
	metadata, err := k.cluster.Admin.BrokerMetadata(context.Background())
	if err == nil && len(metadata.Brokers) != k.size() {
		err = fmt.Errorf("%d of %d brokers are left\n%s", len(metadata.Brokers), k.size(), k.cluster.Complaints())
	}
	return err
}

func (k *kafka) seeds(port int) string {
	var all []string
	for id := 1; id <= k.size(); id++ {
		all = append(all, k.at.broker(id, port))
	}
	return strings.Join(all, ",")
}

// plainClusters has a listener without TLS for each kind of broker listener.
func (k *kafka) plainClusters(at seat, t *target) string {
	t.seeds, t.scram = lab.HostPort(at.front(), 9092), lab.HostPort(at.front(), 9192)
	return fmt.Sprintf(`
  vpc:
    bootstrap: [%s]
    dial: [%s]
    listeners:
      clients: {bind: %q, nodes: {ports: 9100-9109}}
  sasl:
    bootstrap: [%s]
    dial: [%s]
    listeners:
      clients: {bind: %q, nodes: {ports: 9200-9209}}
`, k.seeds(plainBehind), k.at.rule(plainPort, plainBehind), t.seeds, k.seeds(saslBehind), k.at.rule(saslPort, saslBehind), t.scram)
}

// edgeName is the name that TLS clients connect to.
const edgeName = "kafka.example.com"

// edgeClusters has kproxy's own login at the brokers, a TLS listener that tells brokers
// apart by server name, and a listener where clients log in.
func (k *kafka) edgeClusters(ctx context.Context, s *site, at seat, t *target) (string, error) {
	hosts := map[string]string{edgeName: at.front()}
	for id := 1; id <= kafkaBrokers; id++ {
		hosts[fmt.Sprintf("b%d.%s", id, edgeName)] = at.front()
	}
	if err := s.net.Hosts(hosts); err != nil {
		return "", err
	}
	cert, key, err := certify(t)
	if err != nil {
		return "", err
	}
	secret, users := filepath.Join(t.dir, "password"), filepath.Join(t.dir, "users")
	if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
		return "", err
	}
	cmd := lab.Command(ctx, s.kproxy, "passwd", username, "--mechanism", "SCRAM-SHA-256", "--password-file", secret)
	line, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("kproxy passwd: %w", err)
	}
	if err := os.WriteFile(users, line, 0o600); err != nil {
		return "", err
	}
	t.seeds, t.scram = edgeName+":9093", lab.HostPort(at.front(), 9192)
	return fmt.Sprintf(`
  vpc:
    bootstrap: [%s]
    dial: [%s]
    sasl: {mechanism: SCRAM-SHA-256, username: %s, password_file: %q}
    listeners:
      edge:
        bind: "%s:9093"
        advertise: %q
        nodes: {sni: "b{node}.%s:9093"}
        tls: {certs: [{cert: %q, key: %q}]}
      login:
        bind: %q
        nodes: {ports: 9200-9209}
        login: {mechanisms: [SCRAM-SHA-256], users_file: %q}
`, k.seeds(saslBehind), k.at.rule(saslPort, saslBehind), username, secret,
		at.front(), t.seeds, edgeName, cert, key, t.scram, users), nil
}

// certify makes the certificate of the TLS listener, and of its authority.
func certify(t *target) (cert, key string, err error) {
	defer func() {
		if failed := recover(); failed != nil {
			err = fmt.Errorf("make certificates: %v", failed)
		}
	}()
	no, files := noTest{t.dir}, certlab.Folder(t.dir)
	ca := certlab.NewAuthority(no, "suites")
	t.ca = files.Write(no, "ca.pem", ca.PEM)
	cert, key = files.Pair(no, "edge", ca.Issue(no, nil, edgeName, "*."+edgeName))
	return cert, key, nil
}

// noTest stands for a test where there is none. It panics where a test would fail.
type noTest struct{ dir string }

func (noTest) Helper()           {}
func (noTest) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
func (n noTest) TempDir() string { return n.dir }
