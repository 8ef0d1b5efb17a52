//go:build e2e

package doctor

import (
	"slices"

	"kproxy/e2e/lab"
)

// certificates are faults of TLS.
var certificates = []fault{
	{name: "certificate-expired", args: args(first("EXPIRED"), tlsFlags), exit: 1, says: []string{"expired|ended", host(1), "keystore|new certificate|renew"}, not: []string{"firewall", "--ca FILE"}},
	{name: "certificate-not-yet-valid", args: args(first("NOTYET"), tlsFlags), exit: 1, says: []string{"not yet|valid from|not valid before"}, not: []string{"firewall", "--ca FILE", "has expired"}},
	{name: "certificate-of-other-name", args: args(first("OTHERNAME"), tlsFlags), exit: 1, says: []string{host(1), "kafka1.corp.example", "--server-name"}, not: []string{"firewall", "--ca FILE"}},
	{name: "certificate-of-another-authority", args: args(first("STRANGER"), tlsFlags), exit: 1, says: []string{"Another CA", "ca.pem|--ca"}, not: []string{"firewall"}},
	{name: "certificate-self-signed", args: args(first("SELFSIGNED"), tlsFlags), exit: 1, says: []string{"self-signed|signed by itself|itself"}, not: []string{"firewall"}},
	{name: "certificate-without-names", args: args(first("NOSAN"), tlsFlags), exit: 1, says: []string{"subjectAltName|subject alternative|SAN"}, not: []string{"firewall", "--ca FILE"}},
	{name: "certificate-without-chain", args: args(first("NOCHAIN"), tlsFlags), exit: 1, says: []string{"Example intermediate CA"}, not: []string{"firewall"}},
	{name: "certificate-by-address", args: args(lab.HostPort(public(1), portOf("TLS")), tlsFlags), exit: 1, says: []string{public(1), host(1)}, not: []string{"firewall"}},
	{name: "certificate-of-advertised-address", args: args(first("BYADDRESS"), tlsFlags), exit: 1, says: []string{public(1), host(1), "advertised.listeners"}, not: []string{"firewall"}},
	{name: "certificate-without-ca", args: args(first("TLS"), []string{"--tls"}), exit: 1, says: []string{"--ca", "Example Kafka CA"}, not: []string{"firewall"}},
	{name: "certificate-wrong-ca", args: args(first("TLS"), []string{"--tls", "--ca", "other-ca.pem"}), exit: 1, says: []string{"other-ca.pem", "Example Kafka CA"}, not: []string{"firewall"}},
	{name: "certificate-of-client-missing", args: args(first("MUTUAL"), tlsFlags), exit: 1, says: []string{"--cert", "--key"}, not: []string{"firewall", "tls.cert", "clusters."}},
	{name: "certificate-of-client-unknown", args: args(first("MUTUAL"), tlsFlags, []string{"--cert", "strange-client.pem", "--key", "strange-client.key"}), exit: 1, says: []string{"--cert|strange-client.pem"}, not: []string{"firewall", "clusters."}},
}

func login(mechanism, user, passwordFile string) []string {
	return []string{"--sasl", mechanism, "--username", user, "--password-file", passwordFile, "--allow-plaintext"}
}

// logins are faults of SASL.
var logins = []fault{
	{name: "login-wrong-password", args: args(first("SASL"), login("PLAIN", username, "wrong-password")), exit: 1, says: []string{"password", username}, not: []string{"firewall", "alice-secert"}},
	{name: "login-wrong-password-scram", args: args(first("SASL"), login("SCRAM-SHA-256", username, "wrong-password")), exit: 1, says: []string{"password", username}, not: []string{"firewall"}},
	{name: "login-unknown-user", args: args(first("SASLTLS"), tlsFlags, login("PLAIN", "alcie", "password")), exit: 1, says: []string{"user", "alcie"}, not: []string{"firewall"}},
	{name: "login-wrong-mechanism", args: args(first("SASL"), login("SCRAM-SHA-512", username, "password")), exit: 1, says: []string{"SCRAM-SHA-512", "SCRAM-SHA-256", "--sasl"}, not: []string{"firewall", "password are right"}},
	{name: "login-not-wanted", args: args(first("PLAIN"), login("PLAIN", username, "password")), exit: 1, says: []string{"--sasl", "without|no login|not take|no SASL"}, not: []string{"firewall", "password are right"}},
	{name: "login-not-wanted-over-tls", args: args(first("TLS"), tlsFlags, login("PLAIN", username, "password")), exit: 1, says: []string{"--sasl"}, not: []string{"firewall", "password are right"}},
	{name: "login-missing", args: args(first("SASL")), exit: 1, says: []string{"--sasl", "PLAIN", "SCRAM-SHA-256"}, not: []string{"firewall", "controller"}},
	{name: "login-missing-over-tls", args: args(first("SASLTLS"), tlsFlags), exit: 1, says: []string{"--sasl", "PLAIN"}, not: []string{"firewall", "controller"}},
	{name: "login-and-tls-missing", args: args(first("SASLTLS")), exit: 1, says: []string{"--tls", "Example Kafka CA"}, not: []string{"firewall"}},
	{name: "login-tls-missing", args: args(first("SASLTLS"), login("PLAIN", username, "password")), exit: 1, says: []string{"--tls"}, not: []string{"firewall", "password are right"}},
	{name: "login-tls-not-spoken", args: args(first("SASL"), tlsFlags, loginFlags), exit: 1, says: []string{"TLS", "--tls"}, not: []string{"firewall", "password are right"}},
	{name: "login-over-plaintext", args: args(first("SASL"), loginFlags), exit: 1, says: []string{"--allow-plaintext"}, not: []string{"firewall", "password are right"}},
	{name: "login-at-one-broker-only", args: args(first("SECONDLOGIN"), login("PLAIN", username, "password")), exit: 1, says: []string{"node 3|broker 3", "user"}, not: []string{"firewall"}},
}

// bastions are faults of and behind --via.
var bastions = []fault{
	{
		name: "via-bastion", args: args(lab.HostPort(private(1), portOf("INTRANET")), via(forwards, "me", "known_hosts")), exit: 0,
		says: []string{"3 brokers", "bastion.example", "kproxy connect " + lab.HostPort(private(1), portOf("INTRANET")) + " --via"}, not: []string{"from here", "from this machine"},
	},
	{
		name: "via-bastion-by-names", args: args(lab.HostPort(internal(1), portOf("INTRANETNAME")), via(forwards, "me", "known_hosts")), exit: 0,
		says: []string{"3 brokers", "bastion.example", "kproxy connect " + lab.HostPort(internal(1), portOf("INTRANETNAME")) + " --via"}, not: []string{"from here", "from this machine"},
	},
	{name: "via-bastion-unknown-name", args: args("b1.kafka.exmaple:9092", via(forwards, "me", "known_hosts")), exit: 1, says: []string{"bastion.example", "name|resolve"}, not: []string{"with --via"}},
	{
		name: "via-bastion-closed-port", args: args(lab.HostPort(private(1), closedPort), via(forwards, "me", "known_hosts")), exit: 1,
		says: []string{"bastion.example", "refused|nothing listens|no process listens"}, not: []string{"with --via"},
	},
	{name: "via-bastion-advertises-localhost", args: args(first("LOCALHOST"), via(forwards, "me", "known_hosts")), exit: 1, says: []string{"localhost", "advertised.listeners", "bastion.example"}},
	{name: "via-bastion-down", args: args(lab.HostPort(private(1), portOf("INTRANET")), via(down, "me", "known_hosts")), exit: 1, says: []string{"bastion.example:2223", "refused|nothing listens|no process listens"}},
	{name: "via-bastion-filtered", args: args(lab.HostPort(private(1), portOf("INTRANET")), via(filteredPort, "me", "known_hosts")), exit: 1, says: []string{"bastion.example:9990"}},
	{name: "via-bastion-of-another-key", args: args(lab.HostPort(private(1), portOf("INTRANET")), via(forwards, "me", "wrong_hosts")), exit: 1, says: []string{"host key|is not the one that is known", "wrong_hosts"}},
	{name: "via-bastion-unknown-user-key", args: args(lab.HostPort(private(1), portOf("INTRANET")), via(forwards, "nobody", "known_hosts")), exit: 1, says: []string{"bastion.example", "login|log in|key"}},
	{name: "via-bastion-without-forwarding", args: args(lab.HostPort(private(1), portOf("INTRANET")), via(refuses, "me", "known_hosts")), exit: 1, says: []string{"AllowTcpForwarding|forward"}, not: []string{"firewall"}},
}

// arguments are mistakes on the command line.
var arguments = []fault{
	{name: "argument-none", args: []string{}, exit: 2, says: []string{"HOST:PORT"}},
	{name: "argument-without-port", args: args(host(1)), exit: 2, says: []string{host(1), ":9092"}},
	{name: "argument-url", args: args("http://b1.kafka.example:9092"), exit: 2, says: []string{"http://|scheme|://"}},
	{name: "argument-wildcard", args: args("0.0.0.0:9092"), exit: 2, says: []string{"0.0.0.0"}},
	{name: "argument-port-out-of-range", args: args("b1.kafka.example:90920"), exit: 2, says: []string{"90920"}},
	{name: "argument-missing-file", args: args(first("TLS"), []string{"--tls", "--ca", "missing.pem"}), exit: 2, says: []string{"missing.pem", "--ca"}, not: []string{"clusters."}},
	{name: "argument-misspelt-mechanism", args: args(first("SASL"), slices.Concat([]string{"--sasl", "SCRAM-SHA256"}, loginFlags[2:])), exit: 2, says: []string{"SCRAM-SHA-256"}, not: []string{"clusters."}},
}
