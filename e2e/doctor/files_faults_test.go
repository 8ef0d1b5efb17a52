//go:build e2e

package doctor

import (
	"strings"
	"testing"
)

const goodJAAS = `org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="alice-secret";`

// clients are clients' files, by name.
var clients = map[string][]string{
	"good.properties":              {"bootstrap.servers=" + first("SASLTLS"), "security.protocol=SASL_SSL", "sasl.mechanism=PLAIN", "sasl.jaas.config=" + goodJAAS, "ssl.truststore.type=PEM", "ssl.truststore.location=ca.pem"},
	"truststore.properties":        {"bootstrap.servers=" + first("TLS"), "security.protocol=SSL", "ssl.truststore.type=PEM", "ssl.truststore.location=other-ca.pem"},
	"no-truststore.properties":     {"bootstrap.servers=" + first("TLS"), "security.protocol=SSL"},
	"plaintext.properties":         {"bootstrap.servers=" + first("TLS"), "client.id=orders"},
	"ssl.properties":               {"bootstrap.servers=" + first("PLAIN"), "security.protocol=SSL", "ssl.truststore.type=PEM", "ssl.truststore.location=ca.pem"},
	"no-login.properties":          {"bootstrap.servers=" + first("SASLTLS"), "security.protocol=SSL", "ssl.truststore.type=PEM", "ssl.truststore.location=ca.pem"},
	"no-sasl.properties":           {"bootstrap.servers=" + first("PLAIN"), "security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", "sasl.jaas.config=" + goodJAAS},
	"sasl-plaintext.properties":    {"bootstrap.servers=" + first("SASLTLS"), "security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", "sasl.jaas.config=" + goodJAAS},
	"no-keystore.properties":       {"bootstrap.servers=" + first("MUTUAL"), "security.protocol=SSL", "ssl.truststore.type=PEM", "ssl.truststore.location=ca.pem"},
	"mechanism.properties":         {"bootstrap.servers=" + first("SASL"), "security.protocol=SASL_PLAINTEXT", "sasl.mechanism=SCRAM-SHA-512", "sasl.jaas.config=" + strings.Replace(goodJAAS, "plain.Plain", "scram.Scram", 1)},
	"password.properties":          {"bootstrap.servers=" + first("SASL"), "security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", "sasl.jaas.config=" + strings.Replace(goodJAAS, "alice-secret", "alice-secert", 1)},
	"localhost.properties":         {"bootstrap.servers=localhost:9092"},
	"misspelt.properties":          {"client.id=orders", "bootstrap.server=" + first("PLAIN")},
	"misspelt-protocol.properties": {"bootstrap.servers=" + first("TLS"), "security.protcol=SSL", "ssl.truststore.type=PEM", "ssl.truststore.location=ca.pem"},
	"missing-store.properties":     {"bootstrap.servers=" + first("TLS"), "security.protocol=SSL", "ssl.truststore.type=PEM", "ssl.truststore.location=gone.pem"},
	"rdkafka-mechanism.conf":       {"bootstrap.servers=" + first("SASL"), "security.protocol=sasl_plaintext", "sasl.mechanisms=SCRAM-SHA-512", "sasl.username=alice", "sasl.password=alice-secret"},
	"rdkafka-ca.conf":              {"bootstrap.servers=" + first("TLS"), "security.protocol=ssl", "ssl.ca.location=other-ca.pem"},
}

func (s *site) writeClients(t *testing.T) {
	t.Helper()
	for name, lines := range clients {
		s.files.Write(t, name, []byte(strings.Join(lines, "\n")+"\n"))
	}
}

func from(file string) []string { return []string{"--config-from", file} }

// flagsOnly are words for users of flags. A user of a file has no use for them.
var flagsOnly = []string{"--tls", "--ca ", "--cert ", "--username", "firewall"}

// clientFiles are faults of a client's own file. The fix is its key.
var clientFiles = []fault{
	{name: "file-truststore-of-another-authority", args: from("truststore.properties"), exit: 1, says: []string{"ssl.truststore.location", "other-ca.pem", "Example Kafka CA"}, not: flagsOnly},
	{name: "file-without-truststore", args: from("no-truststore.properties"), exit: 1, says: []string{"ssl.truststore.location", "Example Kafka CA"}, not: flagsOnly},
	{name: "file-plaintext-at-tls", args: from("plaintext.properties"), exit: 1, says: []string{"security.protocol=SSL", "ssl.truststore"}, not: flagsOnly},
	{name: "file-tls-at-plaintext", args: from("ssl.properties"), exit: 1, says: []string{"security.protocol=PLAINTEXT"}, not: flagsOnly},
	{name: "file-without-login", args: from("no-login.properties"), exit: 1, says: []string{"security.protocol=SASL_SSL", "sasl.mechanism"}, not: flagsOnly},
	{name: "file-login-not-wanted", args: from("no-sasl.properties"), exit: 1, says: []string{"security.protocol=PLAINTEXT"}, not: flagsOnly},
	{name: "file-login-without-tls", args: from("sasl-plaintext.properties"), exit: 1, says: []string{"security.protocol=SASL_SSL"}, not: flagsOnly},
	{name: "file-without-keystore", args: from("no-keystore.properties"), exit: 1, says: []string{"ssl.keystore"}, not: flagsOnly},
	{name: "file-wrong-mechanism", args: from("mechanism.properties"), exit: 1, says: []string{"sasl.mechanism", "SCRAM-SHA-256"}, not: flagsOnly},
	{name: "file-wrong-password", args: from("password.properties"), exit: 1, says: []string{"sasl.jaas.config", "password"}, not: append([]string{"alice-secert"}, flagsOnly...)},
	{name: "file-localhost", args: from("localhost.properties"), exit: 1, says: []string{"bootstrap.servers", "localhost:9092"}},
	{name: "file-misspelt-bootstrap", args: from("misspelt.properties"), exit: 2, says: []string{"bootstrap.server", "bootstrap.servers", "misspelt.properties:2|line 2"}},
	{name: "file-misspelt-protocol", args: from("misspelt-protocol.properties"), exit: 2, says: []string{"security.protcol", "security.protocol"}},
	{name: "file-missing-store", args: from("missing-store.properties"), exit: 2, says: []string{"gone.pem", "ssl.truststore.location"}},
	{name: "file-rdkafka-wrong-mechanism", args: from("rdkafka-mechanism.conf"), exit: 1, says: []string{"sasl.mechanism", "SCRAM-SHA-256"}, not: flagsOnly},
	{name: "file-rdkafka-wrong-ca", args: from("rdkafka-ca.conf"), exit: 1, says: []string{"ssl.ca.location", "Example Kafka CA"}, not: flagsOnly},
}
