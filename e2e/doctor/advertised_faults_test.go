//go:build e2e

package doctor

import (
	"fmt"

	"kproxy/e2e/lab"
)

// advertised are faults of the addresses that the brokers advertise.
var advertised = []fault{
	{name: "advertises-localhost", args: args(first("LOCALHOST")), exit: 1, says: []string{"localhost", "advertised.listeners", "kproxy connect " + first("LOCALHOST")}},
	{
		name: "advertises-localhost-each-known", args: []string{first("LOCALHOST"), lab.HostPort(host(2), 9101), lab.HostPort(host(3), 9101)}, exit: 1,
		says: []string{"localhost", "advertised.listeners", "://" + first("LOCALHOST"), "kproxy connect " + first("LOCALHOST")},
	},
	{name: "advertises-wildcard-ipv6", args: args(first("WILDCARD6")), exit: 1, says: []string{"advertised.listeners", "wildcard|every|any|all"}, not: []string{"no Kafka broker", "clusters.", "firewall"}},
	{name: "advertises-wildcard", args: args(fake(9301)), exit: 1, says: []string{"0.0.0.0", "advertised.listeners"}, not: []string{"no Kafka broker", "clusters.", "firewall"}},
	{name: "advertises-no-host", args: args(fake(9302)), exit: 1, says: []string{"advertise"}, not: []string{"clusters.", "firewall"}},
	{name: "advertises-port-zero", args: args(fake(9303)), exit: 1, says: []string{"advertise", "port|:0"}, not: []string{"clusters.", "firewall"}},
	{name: "advertises-an-injection", args: args(fake(9304)), exit: 1, says: []string{"advertise"}, not: []string{"\x1b[31m", "clusters."}},
	{name: "advertises-cloud-name", args: args(first("CLOUD")), exit: 1, says: []string{internal(1), "name", "advertised.listeners", "kproxy connect " + first("CLOUD")}},
	{name: "advertises-container-name", args: args(first("CONTAINER")), exit: 1, says: []string{"kafka-1", "container", "advertised.listeners", "KAFKA_"}},
	{name: "advertises-short-name", args: args(first("SHORTNAME")), exit: 1, says: []string{"b1:9123", "advertised.listeners"}},
	{name: "advertises-private-address", args: args(first("PRIVATE")), exit: 1, says: []string{private(1), "private", "advertised.listeners"}},
	{name: "advertises-unroutable-address", args: args(first("NOROUTE")), exit: 1, says: []string{"192.168.77.11", "private", "advertised.listeners"}},
	{name: "advertises-closed-port", args: args(first("REFUSED")), exit: 1, says: []string{"refused|nothing listens|no process listens", "9199"}},
	{name: "advertises-filtered-port", args: args(first("FILTERED")), exit: 1, says: []string{"9990", "port", "firewall|security group"}, not: []string{"private"}},
	{name: "advertises-filtered-port-of-private-address", args: args(lab.HostPort(vpn, 9131)), exit: 1, says: []string{"9992", "firewall|security group"}, not: []string{"over a VPN"}},
	{name: "advertises-one-filtered", args: args(first("ONEFILTERED")), exit: 1, says: []string{lab.HostPort(host(3), 9119), "1 of", "firewall|security group"}},
	{name: "advertises-vacant-address", args: args(first("STALE")), exit: 1, says: []string{"old-b1.kafka.example", vacant}},
	{name: "advertises-balancer", args: args(balanced(portOf("BALANCED"))), exit: 1, says: []string{"balancer|same address", "advertised.listeners"}, not: []string{"firewall"}},
	{name: "advertises-balancer-for-one", args: args(first("ONEMIXED")), exit: 1, says: []string{"balancer|different brokers|another broker|other brokers"}, not: []string{"firewall"}},
	{name: "advertises-another-broker", args: args(first("SWAPPED")), exit: 1, says: []string{"node 2|broker 2", "advertised.listeners"}, not: []string{"firewall"}},
	{name: "advertises-ssh-port", args: args(first("ATSSH")), exit: 1, says: []string{"SSH", "advertised.listeners"}, not: []string{"firewall"}},
	{name: "advertises-http-port", args: args(first("ATHTTP")), exit: 1, says: []string{"HTTP", "advertised.listeners"}, not: []string{"firewall"}},
	{name: "advertises-controller-port", args: args(first("ATCONTROLLER")), exit: 1, says: []string{"controller", "advertised.listeners"}, not: []string{"--sasl", "firewall"}},
	{name: "advertises-plaintext-port-by-tls", args: args(first("TLSATPLAIN"), tlsFlags), exit: 1, says: []string{"TLS", "listener"}, not: []string{"firewall"}},
	{name: "advertises-tls-port-by-plaintext", args: args(first("PLAINATTLS")), exit: 1, says: []string{"TLS", "listener"}, not: []string{"firewall"}},
	{name: "advertises-login-port-without-login", args: args(first("PLAINATSASL")), exit: 1, says: []string{"SASL|log in|login", "listener"}, not: []string{"firewall"}},
	{
		name: "advertises-port-without-login", args: args(first("SASLATPLAIN"), loginFlags, []string{"--allow-plaintext"}), exit: 1,
		says: []string{"SASL|login", "listener"}, not: []string{"firewall", "same users", "password are right"},
	},
	{name: "advertises-plaintext-behind-tls-balancer", args: args(balanced(endsTLS), tlsFlags), exit: 1, says: []string{"TLS", "listener|balancer|proxy"}, not: []string{"firewall"}},
}

// hung are faults of a cluster whose third broker accepts connections and does nothing else.
var hung = []fault{
	{name: "hung-broker", args: args(first("PLAIN")), exit: 1, says: []string{"node 3|broker 3", "replica"}},
	{
		name: "hung-broker-among-addresses", args: args(fmt.Sprintf("%s,%s", first("PLAIN"), lab.HostPort(host(3), 9092))), exit: 1,
		says: []string{lab.HostPort(host(3), 9092), "sends nothing|nor sends anything", "node 3|broker 3"},
	},
}

// lost are faults of a cluster that has lost its third broker.
var lost = []fault{
	{name: "lost-broker", args: args(first("PLAIN")), exit: 1, says: []string{"node 3|broker 3", "replica"}},
	{
		name: "lost-broker-among-addresses", args: args(fmt.Sprintf("%s,%s", first("PLAIN"), lab.HostPort(host(3), 9092))), exit: 1,
		says: []string{"refused|nothing listens|no process listens", "node 3|broker 3"},
	},
	{name: "lost-broker-behind-balancer", args: args(balanced(portOf("PLAIN"))), exit: 1, says: []string{"node 3|broker 3"}},
}
