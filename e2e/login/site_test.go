//go:build e2e

package login

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"kproxy/e2e/lab"
	"kproxy/internal/auth"
	"kproxy/internal/certlab"
)

// site is a broker that wants logins, and kproxy in front of it.
type site struct {
	kafka  *lab.Cluster
	pki    pki
	java   lab.Java
	tools  string // class path
	kcat   string
	kproxy *lab.Process

	// The broker's real and advertised addresses, by the security of its listeners. The
	// advertised one resolves nowhere, so that it is of no use to a client.
	broker, advertised map[string]string

	listeners map[string]string // of kproxy: cluster/listener -> address

	excused sync.Map // the client.id of clients whose sessions the broker may end
}

// pki are the certificates, of one authority.
type pki struct {
	folder    certlab.Folder
	ca        string // file
	pool      *x509.CertPool
	cert, key string // kproxy's: files
	broker    string // a file with both
}

const brokerName = "broker-1.vpc.invalid"

func newPKI(t *testing.T, dir string) pki {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p := pki{folder: certlab.Folder(dir)}
	authority := certlab.NewAuthority(t, "login")
	p.ca, p.pool = p.folder.Write(t, "ca.pem", authority.PEM), authority.Pool()
	p.cert, p.key = p.folder.Pair(t, "kproxy", authority.Issue(t, nil, "127.0.0.1"))
	// The address is for the client that must be refused without kproxy, too.
	broker := authority.Issue(t, nil, brokerName, "127.0.0.1")
	p.broker = p.folder.Write(t, "broker.pem", slices.Concat(broker.KeyPEM, broker.CertPEM))
	return p
}

func start(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	if keep := os.Getenv("E2E_DIR"); keep != "" {
		dir = filepath.Join(keep, "login")
	}
	s := &site{pki: newPKI(t, filepath.Join(dir, "files")), listeners: map[string]string{}, broker: map[string]string{}, advertised: map[string]string{}}
	ports := lab.NewPorts()
	block := func() int {
		base, err := ports.Block(t.Context(), "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		return base
	}
	s.findTools(t)
	s.startKafka(t, filepath.Join(dir, "kafka"), block)
	binary, err := lab.BuildKproxy(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	s.kproxy, err = lab.StartKproxy(context.Background(), binary, dir, nil, s.configuration(t, block))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kproxy.Kill)
	s.warmUp(t)
	return s
}

func (s *site) findTools(t *testing.T) {
	t.Helper()
	var err error
	if s.kcat, err = lab.Tool("kcat", "the librdkafka client (Debian: apt-get install kcat)"); err != nil {
		t.Fatal(err)
	}
	if s.java, err = lab.NewJava(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if s.tools, err = lab.NewestTools(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// warmUp waits until kproxy serves, and the broker coordinates producers and, whatever
// they are called, groups: the tests' clients do not retry.
func (s *site) warmUp(t *testing.T) {
	t.Helper()
	a := s.access(way{"SASL_PLAINTEXT", byKproxy, auth.Plain}, "warm-up")
	topic := s.topic(t)
	if err := lab.Poll(t.Context(), time.Minute, func() error {
		if err := s.kproxy.Alive(); err != nil {
			return lab.Permanent(err)
		}
		if err := (franz{}).produce(t.Context(), a, topic, all([]string{"x"})); err != nil {
			return err
		}
		for i := range 10 {
			if _, err := s.kafka.Admin.FetchOffsets(t.Context(), fmt.Sprint("warm-up-", i)); err != nil {
				return err
			}
		}
		_, err := franz{}.consume(t.Context(), a, topic, 1)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// kafkaListeners are the broker's, by their security.
var kafkaListeners = map[string]string{"SASL_PLAINTEXT": "SASL", "SASL_SSL": "SECURE", "SSL": "TLS"}

func (s *site) startKafka(t *testing.T, dir string, block func() int) {
	t.Helper()
	release, err := lab.NewRelease(t.Context(), lab.Newest)
	if err != nil {
		t.Fatal(err)
	}
	at := func(host string, base int) func(int) string {
		return func(id int) string { return lab.HostPort(host, base+id) }
	}
	var clients []lab.ClientListener
	for _, security := range slices.Sorted(maps.Keys(kafkaListeners)) {
		base := block()
		l := lab.ClientListener{Name: kafkaListeners[security], Protocol: security, Bind: at("127.0.0.1", base), Advertise: at(brokerName, base)}
		clients = append(clients, l)
		s.broker[security], s.advertised[security] = l.Bind(1), l.Advertise(1)
	}
	life, cancel := context.WithCancel(context.Background()) // the test's own ends before the clean-up
	s.kafka, err = lab.StartCluster(life, lab.ClusterConfig{
		Release: release, Java: s.java, Size: 1, Dir: dir, Internal: at("127.0.0.1", block()), Controller: at("127.0.0.1", block()),
		Clients: clients, Properties: func(int) map[string]string { return s.properties() },
	})
	t.Cleanup(func() {
		s.kafka.Close()
		cancel()
	})
	if err != nil {
		t.Fatalf("start Kafka: %v\n%s", err, s.kafka.Complaints())
	}
	for _, mechanism := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} { // one request may name a user once
		altered, err := s.kafka.Admin.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{User: username, Mechanism: mechanism, Iterations: 4096, Password: password}})
		if err == nil {
			err = altered.Error()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// properties are the broker's.
func (s *site) properties() map[string]string {
	const module = "org.apache.kafka.common.security."
	properties := map[string]string{
		"sasl.enabled.mechanisms":     "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
		"connections.max.reauth.ms":   fmt.Sprint(reauth.Milliseconds()),
		"delegation.token.secret.key": "of the test",
		"ssl.keystore.type":           "PEM",
		"ssl.keystore.location":       s.pki.broker,
	}
	for _, listener := range []string{"sasl", "secure"} {
		for mechanism, jaas := range map[string]string{
			"plain":         fmt.Sprintf("plain.PlainLoginModule required user_%s=%q;", username, password),
			"scram-sha-256": "scram.ScramLoginModule required;",
			"scram-sha-512": "scram.ScramLoginModule required;",
			"oauthbearer":   `oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="admin";`,
		} {
			properties[fmt.Sprintf("listener.name.%s.%s.sasl.jaas.config", listener, mechanism)] = module + jaas
		}
	}
	return properties
}

func (s *site) topic(t *testing.T) string {
	t.Helper()
	name := topicName(t.Name())
	if err := s.kafka.NewTopic(t.Context(), 3, nil, name); err != nil {
		t.Fatal(err)
	}
	return name
}
