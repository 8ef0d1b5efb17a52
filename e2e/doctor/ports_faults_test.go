//go:build e2e

package doctor

import (
	"fmt"

	"kproxy/e2e/lab"
)

func server(port int) string { return lab.HostPort("www.example", port) }

func balanced(port int) string { return lab.HostPort("kafka.example", port) }

func fake(port int) string { return lab.HostPort(fakes, port) }

var (
	tlsFlags   = []string{"--tls", "--ca", "ca.pem"}
	loginFlags = []string{"--sasl", "PLAIN", "--username", username, "--password-file", "password"}
)

// args joins an address with flags.
func args(address string, flags ...[]string) []string {
	all := []string{address}
	for _, some := range flags {
		all = append(all, some...)
	}
	return all
}

// sound are set-ups without a fault.
var sound = []fault{
	{name: "sound-plaintext", args: args(first("PLAIN")), says: []string{"3 brokers"}},
	{name: "sound-tls", args: args(first("TLS"), tlsFlags), says: []string{"3 brokers"}},
	{name: "sound-login", args: args(first("SASL"), loginFlags, []string{"--allow-plaintext"}), says: []string{"3 brokers"}},
	{name: "sound-login-over-tls", args: args(first("SASLTLS"), tlsFlags, loginFlags), says: []string{"3 brokers"}},
	{name: "sound-client-certificate", args: args(first("MUTUAL"), tlsFlags, []string{"--cert", "client.pem", "--key", "client.key"}), says: []string{"3 brokers"}},
	{name: "sound-balancer-for-bootstrap", args: args(balanced(portOf("PLAIN"))), says: []string{"3 brokers"}},
	{name: "sound-three-addresses", args: args(fmt.Sprintf("%s,%s,%s", lab.HostPort(host(1), 9092), lab.HostPort(host(2), 9092), lab.HostPort(host(3), 9092))), says: []string{"3 brokers"}},
	{name: "sound-client-file", args: []string{"--config-from", "good.properties"}, says: []string{"3 brokers"}},
}

// ports are faults at the address that the user gives: another service than a broker of
// the wanted protocol, or none.
var ports = []fault{
	{name: "port-http", args: args(server(80)), exit: 1, says: []string{"HTTP"}, not: []string{"firewall", "--via", "0x48"}},
	{name: "port-https", args: args(server(443)), exit: 1, says: []string{"TLS", "www.example", "Example Kafka CA"}, not: []string{"firewall", "--via"}},
	{name: "port-http-in-tls", args: args(server(443), tlsFlags), exit: 1, says: []string{"HTTP"}, not: []string{"firewall", "--via"}},
	{name: "port-old-tls", args: args(server(444), tlsFlags), exit: 1, says: []string{"TLS 1.1|TLS 1.2|version"}, not: []string{"firewall", "--via"}},
	{name: "port-ssh", args: args(server(22)), exit: 1, says: []string{"SSH"}, not: []string{"firewall", "0x53"}},
	{name: "port-ftp", args: args(server(21)), exit: 1, says: []string{"FTP"}, not: []string{"firewall", "--via"}},
	{name: "port-smtp", args: args(server(25)), exit: 1, says: []string{"SMTP|mail"}, not: []string{"firewall", "--via"}},
	{name: "port-pop3", args: args(server(110)), exit: 1, says: []string{"POP3|mail"}, not: []string{"firewall", "--via"}},
	{name: "port-imap", args: args(server(143)), exit: 1, says: []string{"IMAP|mail"}, not: []string{"firewall", "--via"}},
	{name: "port-greets-with-proxy-header", args: args(server(7006)), exit: 1, says: []string{"PROXY"}, not: []string{"firewall", "--via"}},
	{name: "port-mysql", args: args(server(3306)), exit: 1, says: []string{"MySQL"}, not: []string{"firewall", "--via"}},
	{name: "port-postgresql", args: args(server(5432)), exit: 1, says: []string{"PostgreSQL"}, not: []string{"firewall", "--via"}},
	{name: "port-rabbitmq", args: args(server(5672)), exit: 1, says: []string{"AMQP|RabbitMQ"}, not: []string{"firewall", "--via"}},
	{name: "port-redis-protected", args: args(server(6379)), exit: 1, says: []string{"Redis"}, not: []string{"firewall", "--via"}},
	{name: "port-redis", args: args(server(6380)), exit: 1, says: []string{"Redis|silent|no response|nothing"}, not: []string{"firewall"}},
	{name: "port-zookeeper", args: args(server(2181)), exit: 1, says: []string{"ZooKeeper", "9092|broker"}, not: []string{"firewall", "--via"}},
	{name: "port-controller", args: args(lab.HostPort(host(1), controllerPort)), exit: 1, says: []string{"controller"}, not: []string{"--sasl", "firewall"}},
	{name: "port-silent", args: args(server(7000)), exit: 1, says: []string{"sends nothing|nor sends anything", "hangs"}, not: []string{"firewall"}},
	{name: "port-closes-at-once", args: args(server(7001)), exit: 1, says: []string{"closes|closed"}, not: []string{"firewall", "EOF"}},
	{name: "port-closes-after-bytes", args: args(server(7002)), exit: 1, says: []string{"closes|closed"}, not: []string{"firewall", "EOF"}},
	{name: "port-resets", args: args(server(7003)), exit: 1, says: []string{"reset|closes|closed"}, not: []string{"firewall"}},
	{name: "port-unknown-greeting", args: args(server(7004)), exit: 1, says: []string{"example-daemon"}, not: []string{"firewall"}},
	{name: "port-stops-midway", args: args(server(7005)), exit: 1, says: []string{"no|silent|stops|not"}, not: []string{"firewall"}},
	{name: "port-wants-proxy-header", args: args(balanced(acceptsPROXY)), exit: 1, says: []string{"PROXY"}, not: []string{"firewall"}},
	{name: "port-sends-proxy-header", args: args(balanced(sendsPROXY)), exit: 1, says: []string{"closes|closed"}, not: []string{"firewall", "EOF"}},
	{name: "port-balancer-without-servers", args: args(balanced(noBackend)), exit: 1, says: []string{"closes|closed", "balancer"}, not: []string{"firewall", "EOF"}},
	{name: "port-balancer-in-http-mode", args: args(balanced(modeHTTP)), exit: 1, says: []string{"HTTP"}, not: []string{"firewall"}},
	{name: "port-tls", args: args(first("TLS")), exit: 1, says: []string{"TLS", "--tls", host(1), "Example Kafka CA"}, not: []string{"firewall"}},
	{name: "port-plaintext", args: args(first("PLAIN"), tlsFlags), exit: 1, says: []string{"without TLS|not speak TLS|plaintext", "--tls"}, not: []string{"firewall"}},

	{name: "address-refused", args: args(lab.HostPort(host(1), closedPort)), exit: 1, says: []string{"refused|nothing listens|no process listens"}},
	{name: "address-filtered", args: args(lab.HostPort(host(1), filteredPort)), exit: 1, says: []string{"firewall|security group"}},
	{name: "address-vacant", args: args(lab.HostPort("old-b1.kafka.example", 9092)), exit: 1, says: []string{vacant}},
	{name: "address-unknown-name", args: args("b1.kafka.exmaple:9092"), exit: 1, says: []string{"name", "spelling|spelt|DNS"}},
	{name: "address-broken-dns", args: args("broken.kafka.example:9092"), exit: 1, says: []string{"DNS|name server|resolver"}},
	{name: "address-silent-dns", args: args("silent.kafka.example:9092"), exit: 1, says: []string{"DNS|name server|resolver"}},
	{name: "address-of-two-clusters", args: []string{first("PLAIN"), fake(9305)}, exit: 1, says: []string{"cluster", "leave"}},
	{name: "address-one-of-two-dead", args: args(first("PLAIN") + "," + lab.HostPort(host(2), closedPort)), exit: 1, says: []string{"refused|nothing listens|no process listens", lab.HostPort(host(2), closedPort)}},
}
