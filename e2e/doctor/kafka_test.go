//go:build e2e

package doctor

import (
	"cmp"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
	"kproxy/internal/certlab"
)

const (
	brokers    = 3
	startLimit = 4 * time.Minute
	// filteredPort, and those behind it, are dropped at each address.
	filteredPort   = 9990
	controllerPort = 9099
	internalPort   = 19092
	closedPort     = 9199 // nothing listens there

	username = "alice"
	password = "alice-secret"
	topic    = "orders" // it has a replica on each broker
)

// listener is one of all brokers' listeners. Most advertised addresses are wrong.
type listener struct {
	name, protocol string
	port           int // at the broker's public address, unless bind says another
	advertise      func(id int) string
	bind           func(id int) string
	properties     func(id int) map[string]string // below its own prefix
}

// listeners are the brokers' listeners, each a fault but the first four.
var listeners = []listener{
	{name: "PLAIN", protocol: "PLAINTEXT", port: 9092},
	{name: "TLS", protocol: "SSL", port: 9093},
	{name: "SASL", protocol: "SASL_PLAINTEXT", port: 9094},
	{name: "SASLTLS", protocol: "SASL_SSL", port: 9095},

	{name: "LOCALHOST", port: 9101, advertise: always("localhost:9101")},
	{name: "WILDCARD6", port: 9102, advertise: always("[::]:9102")},
	{name: "CLOUD", port: 9103, advertise: at(internal, 9103)},
	{name: "CONTAINER", port: 9104, advertise: func(id int) string { return fmt.Sprintf("kafka-%d:9104", id) }},
	{name: "PRIVATE", port: 9105, advertise: at(private, 9105)},
	{name: "NOROUTE", port: 9106, advertise: func(id int) string { return fmt.Sprintf("192.168.77.%d:9106", 10+id) }},
	{name: "REFUSED", port: 9107, advertise: at(host, closedPort)},
	{name: "BALANCED", port: 9108, advertise: always("kafka.example:9108")},
	{name: "SWAPPED", port: 9109, advertise: func(id int) string { return lab.HostPort(host(id%brokers+1), 9109) }},
	{name: "ATSSH", port: 9110, advertise: onlyFirst("www.example:22", 9110)},
	{name: "ATHTTP", port: 9111, advertise: onlyFirst("www.example:80", 9111)},
	{name: "ATCONTROLLER", port: 9112, advertise: at(host, controllerPort)},
	{name: "TLSATPLAIN", protocol: "SSL", port: 9113, advertise: at(host, 9092)},
	{name: "PLAINATTLS", port: 9114, advertise: at(host, 9093)},
	{name: "PLAINATSASL", port: 9115, advertise: at(host, 9094)},
	{name: "SASLATPLAIN", protocol: "SASL_PLAINTEXT", port: 9116, advertise: at(host, 9092)},
	{name: "STALE", port: 9117, advertise: func(id int) string { return fmt.Sprintf("old-b%d.kafka.example:9117", id) }},
	{name: "ONEMIXED", port: 9118, advertise: onlyFirst("kafka.example:9118", 9118)},
	{name: "ONEFILTERED", port: 9119},
	{name: "FILTERED", port: 9120, advertise: at(host, filteredPort)},
	{name: "OVERVPN", bind: func(id int) string { return lab.HostPort(vpn, 9130+id) }, advertise: func(id int) string {
		if id == 1 {
			return lab.HostPort(vpn, 9131)
		}
		return lab.HostPort(vpn, filteredPort+id)
	}},
	{name: "SECONDLOGIN", protocol: "SASL_PLAINTEXT", port: 9122, properties: func(id int) map[string]string {
		if id == brokers {
			return map[string]string{"plain.sasl.jaas.config": `org.apache.kafka.common.security.plain.PlainLoginModule required user_bob="bob";`}
		}
		return nil
	}},
	{name: "INTRANET", port: 9124, bind: at(private, 9124), advertise: at(private, 9124)},
	{name: "INTRANETNAME", port: 9125, bind: at(private, 9125), advertise: at(internal, 9125)},
	{name: "SHORTNAME", port: 9123, advertise: func(id int) string { return fmt.Sprintf("b%d:9123", id) }},

	{name: "EXPIRED", protocol: "SSL", port: 9141, properties: keystore("expired")},
	{name: "NOTYET", protocol: "SSL", port: 9142, properties: keystore("notyet")},
	{name: "OTHERNAME", protocol: "SSL", port: 9143, properties: keystore("othername")},
	{name: "STRANGER", protocol: "SSL", port: 9144, properties: keystore("stranger")},
	{name: "SELFSIGNED", protocol: "SSL", port: 9145, properties: keystore("selfsigned")},
	{name: "NOSAN", protocol: "SSL", port: 9146, properties: keystore("nosan")},
	{name: "NOCHAIN", protocol: "SSL", port: 9147, properties: keystore("nochain")},
	{name: "BYADDRESS", protocol: "SSL", port: 9148, advertise: at(public, 9148)},
	{name: "MUTUAL", protocol: "SSL", port: 9149, properties: func(int) map[string]string {
		return map[string]string{"ssl.client.auth": "required"}
	}},
}

// onlyFirst makes the first broker advertise an address, and the others their own.
func onlyFirst(address string, port int) func(int) string {
	return func(id int) string {
		if id == 1 {
			return address
		}
		return lab.HostPort(host(id), port)
	}
}

func always(address string) func(int) string { return func(int) string { return address } }

func at(host func(int) string, port int) func(int) string {
	return func(id int) string { return lab.HostPort(host(id), port) }
}

// keystore makes a listener show another certificate than the broker's valid one.
func keystore(kind string) func(int) map[string]string {
	return func(id int) map[string]string {
		return map[string]string{"ssl.keystore.location": certificateFile(kind, id), "ssl.keystore.type": "PEM"}
	}
}

// certificateFile is relative to the site's folder, until properties makes it absolute.
func certificateFile(kind string, id int) string { return fmt.Sprintf("%s-%d.pem", kind, id) }

func portOf(name string) int {
	return listeners[slices.IndexFunc(listeners, func(l listener) bool { return l.name == name })].port
}

// first is the first broker's address of a listener.
func first(name string) string { return lab.HostPort(host(1), portOf(name)) }

func (l listener) forBroker() lab.ClientListener {
	c := lab.ClientListener{Name: l.name, Protocol: cmp.Or(l.protocol, "PLAINTEXT"), Bind: l.bind, Advertise: l.advertise}
	if c.Bind == nil {
		c.Bind = at(public, l.port)
	}
	if c.Advertise == nil {
		c.Advertise = at(host, l.port)
	}
	return c
}

// properties are a broker's.
func (s *site) properties(id int) map[string]string {
	all := map[string]string{
		"ssl.keystore.type": "PEM", "ssl.keystore.location": filepath.Join(s.dir, certificateFile("good", id)),
		"ssl.truststore.type": "PEM", "ssl.truststore.location": filepath.Join(s.dir, "ca.pem"),
		"sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
		"num.network.threads":     "1",
	}
	for _, l := range listeners {
		own := map[string]string{}
		if strings.HasPrefix(l.protocol, "SASL") {
			own["plain.sasl.jaas.config"] = fmt.Sprintf("org.apache.kafka.common.security.plain.PlainLoginModule required user_%s=%q;", username, password)
			own["scram-sha-256.sasl.jaas.config"] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
		}
		if l.properties != nil {
			maps.Copy(own, l.properties(id))
		}
		for key, value := range own {
			if strings.HasSuffix(key, ".location") {
				value = filepath.Join(s.dir, value)
			}
			all["listener.name."+strings.ToLower(l.name)+"."+key] = value
		}
	}
	return all
}

// startKafka starts the cluster that most faults are listeners of.
func (s *site) startKafka(t *testing.T) {
	t.Helper()
	var clients []lab.ClientListener
	for _, l := range listeners {
		clients = append(clients, l.forBroker())
	}
	var err error
	s.kafka, err = lab.StartCluster(s.life, lab.ClusterConfig{
		Release: s.release, Java: s.java, Size: brokers, Dir: filepath.Join(t.TempDir(), "kafka"), Place: s.net,
		Internal: at(private, internalPort), Controller: at(public, controllerPort), Clients: clients, Properties: s.properties,
	})
	t.Cleanup(s.kafka.Close)
	if err != nil {
		t.Fatalf("start Kafka: %v\n%s", err, s.kafka.Complaints())
	}
	altered, err := s.kafka.Admin.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{User: username, Mechanism: kadm.ScramSha256, Iterations: 4096, Password: password}})
	if err == nil {
		err = altered.Error()
	}
	check(t, err, s.kafka.NewTopic(t.Context(), 3, nil, topic))
}

// makeCertificates writes the certificates of every kind, and the files of passwords.
func (s *site) makeCertificates(t *testing.T) {
	t.Helper()
	s.authority = certlab.NewAuthority(t, "Example Kafka CA")
	stranger := certlab.NewAuthority(t, "Another CA")
	s.files.Write(t, "ca.pem", s.authority.PEM)
	s.files.Write(t, "other-ca.pem", stranger.PEM)
	s.files.Pair(t, "client", s.authority.Issue(t, nil, "a client"))
	s.files.Pair(t, "strange-client", stranger.Issue(t, nil, "a client"))
	s.files.Write(t, "password", []byte(password+"\n"))
	s.files.Write(t, "wrong-password", []byte("alice-secert\n"))
	middle := s.authority.Issue(t, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	}, "Example intermediate CA").Authority()
	for id := 1; id <= brokers; id++ {
		for kind, identity := range map[string]certlab.Identity{
			"good":    s.authority.Issue(t, nil, host(id)),
			"expired": s.authority.Issue(t, certlab.Expired, host(id)),
			"notyet": s.authority.Issue(t, func(c *x509.Certificate) {
				c.NotBefore = time.Now().Add(24 * time.Hour)
			}, host(id)),
			"othername":  s.authority.Issue(t, nil, fmt.Sprintf("kafka%d.corp.example", id), "*.corp.example"),
			"stranger":   stranger.Issue(t, nil, host(id)),
			"selfsigned": selfSigned(t, host(id)),
			"nosan":      s.authority.Issue(t, func(c *x509.Certificate) { c.DNSNames = nil }, host(id)),
			"nochain":    middle.Issue(t, nil, host(id)),
		} {
			s.files.Write(t, certificateFile(kind, id), slices.Concat(identity.KeyPEM, identity.CertPEM))
		}
	}
}

// selfSigned is a certificate that no authority has issued.
func selfSigned(t *testing.T, name string) certlab.Identity {
	t.Helper()
	key := certlab.NewKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	return certlab.Identity{CertPEM: certlab.PEM("CERTIFICATE", der), KeyPEM: certlab.PEM("PRIVATE KEY", private)}
}

// forget waits until the other brokers no longer name a broker in Metadata.
func (s *site) forget(t *testing.T, id int32) {
	t.Helper()
	check(t, lab.Poll(t.Context(), time.Minute, func() error {
		for _, other := range s.kafka.Brokers {
			if other.ID == id {
				continue
			}
			resp, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), s.kafka.Conn.Broker(int(other.ID)))
			if err != nil {
				return err
			}
			if len(resp.Brokers) != brokers-1 {
				return fmt.Errorf("broker %d names %d brokers", other.ID, len(resp.Brokers))
			}
		}
		return nil
	}))
}
