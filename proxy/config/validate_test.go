package config

import (
	"math"
	"strings"
	"testing"
	"time"

	"kproxy/internal/auth/awsauth"
	"kproxy/internal/via/viassh"
)

// valid is a Config that tests bend out of shape: two clusters, ports and
// addresses, a rule, a pin.
func valid() *Config {
	node := int32(7)
	return &Config{Parts: Parts{AWS: awsauth.New, SSH: viassh.New}, Clusters: []Cluster{
		{
			Name:      "orders",
			Bootstrap: []string{"b0.internal:9092", "[fd00::1]:9092"},
			Dial:      []DialRule{{Node: &node, To: "10.0.0.7:9092"}, {Match: "b*.internal:9092", To: "127.0.0.1:{19092+node}"}},
			Listeners: []Listener{
				{
					Name: "fred", Bind: "127.0.0.1:9092", Advertise: "localhost:9092",
					Nodes: Nodes{Ports: Range{9100, 9199}, Pin: map[int32]int{1001: 9150}},
				},
				{
					Name: "alice", Bind: "0.0.0.0:29094", Advertise: "kafka.example.com:443",
					Nodes: Nodes{Ports: Range{29100, 29199}, AdvertisePorts: Range{39100, 39199}, FirstNode: 100},
				},
			},
		},
		{
			Name:      "audit",
			Bootstrap: []string{"a0.internal:9092"},
			Listeners: []Listener{{
				Name: "many", Bind: "127.0.0.2:9092",
				Nodes: Nodes{Addresses: "127.0.1.{slot}:9092", Slots: Range{1, 254}},
			}},
		},
	}}
}

func TestValidateTakesTheValid(t *testing.T) {
	if err := valid().Validate(); err != nil {
		t.Errorf("got %v", err)
	}
}

// Each case bends one thing, and must get exactly these lines.
func TestValidate(t *testing.T) {
	type edit func(c *Config, orders *Cluster, fred *Listener, many *Listener)
	tests := []struct {
		name string
		edit edit
		want []string
	}{
		{
			"no cluster",
			func(c *Config, _ *Cluster, _, _ *Listener) { c.Clusters = nil },
			[]string{`clusters: there is no cluster; add one with its bootstrap addresses and a listener`},
		},
		{
			"via",
			func(c *Config, orders *Cluster, _, _ *Listener) {
				orders.Via = Via{URL: "ssh://me@bastion", PasswordFile: "validate_test.go"}
				c.Clusters[1].Via = Via{URL: "socks5://u:s3cret@host"}
				orders.Source = []string{"10.0.0.7", "fd00::7", "10.0.0.7", "0.0.0.0", "eth0"}
			},
			[]string{
				`clusters.orders.via_known_hosts: there is no file of known host keys, without which anyone could be bastion; make one: ssh-keyscan -p 22 bastion >> known_hosts, and compare the key with the one that its administrator gives`,
				`clusters.orders.source[1]: 10.0.0.7 and fd00::7 are of two families; write IPv4 addresses, or IPv6 addresses`,
				`clusters.orders.source[2]: 10.0.0.7 is there twice; take it out`,
				`clusters.orders.source[3]: "0.0.0.0" is no address to dial from; write addresses of this machine, such as 10.0.0.7`,
				`clusters.orders.source[4]: "eth0" is no address to dial from; write addresses of this machine, such as 10.0.0.7`,
				`clusters.audit.via: it holds a password; write socks5://user@host:1080, and the password into a file that via_password_file names`,
			},
		},
		{
			"keys of a via that is not there, source of a command",
			func(c *Config, orders *Cluster, _, _ *Listener) {
				orders.Via = Via{KeyFile: "key"}
				c.Clusters[1].Via.URL = "exec:go {host} {port}"
				c.Clusters[1].Source = []string{"10.0.0.7"}
			},
			[]string{
				`clusters.orders.via_key_file: there is no via that it could be for; write via, or leave the key out`,
				`clusters.audit.source: via is a command, which dials by itself; leave the key out, and tell the command`,
			},
		},
		{
			"names",
			func(_ *Config, orders *Cluster, fred, _ *Listener) { orders.Name, fred.Name = "Orders", "fred_1" },
			[]string{
				`clusters.Orders: the name "Orders" is no lower-case DNS label; use up to 63 of a-z, 0-9 and -, with no - at either end`,
				`clusters.Orders.listeners.fred_1: the name "fred_1" is no lower-case DNS label; use up to 63 of a-z, 0-9 and -, with no - at either end`,
			},
		},
		{
			"server names",
			func(_ *Config, orders *Cluster, fred, many *Listener) {
				fred.Nodes = Nodes{SNI: "b{node}.x.com:443", Ports: Range{1, 2}}
				orders.Listeners[1].Nodes = Nodes{SNI: "b.x.com:443", FirstNode: 1, AdvertisePorts: Range{1, 2}}
				many.Nodes = Nodes{SNI: "b.x.com:4{node}"}
				many.TLS, many.UnknownSNI = &ListenerTLS{Certs: []KeyPair{{"c", ""}}, ClientAuth: "never"}, "guess"
			},
			[]string{
				`clusters.orders.listeners.fred.nodes: sni, and ports or addresses; keep sni for one port for all brokers, or one of the others`,
				`clusters.orders.listeners.alice.nodes.sni: the listener has no tls, without which clients ask for no name; add tls: {certs: [{cert: edge.pem, key: edge.key}]}, or use ports`,
				`clusters.orders.listeners.alice.nodes: first_node and pin only go with ports or addresses; take them out: each node has the name with its own id`,
				`clusters.orders.listeners.alice.nodes: advertise_ports, advertise_addresses and slots do not go with sni; take them out: clients are told sni`,
				`clusters.orders.listeners.alice.nodes.sni: "b.x.com:443" does not hold {node} once; write a name that differs by the node's id, such as "b{node}.kafka.example.com:443"`,
				`clusters.audit.listeners.many.tls.certs[0]: both cert and key are needed; write {cert: edge.pem, key: edge.key}; one file may hold both`,
				`clusters.audit.listeners.many.tls.client_auth: "never" is neither required nor requested; write one of them`,
				`clusters.audit.listeners.many.tls.client_auth: client_ca is needed, by which clients' certificates are verified; write client_ca: the file of the CA that signs them`,
				`clusters.audit.listeners.many.nodes.sni: {node} stands in the port; write a name that differs by the node's id, such as "b{node}.kafka.example.com:443"`,
				`clusters.audit.listeners.many.unknown_sni: "guess" is neither refuse nor bootstrap; write one of them`,
			},
		},
		{
			"zones",
			func(_ *Config, orders *Cluster, fred, many *Listener) {
				fred.Bind, fred.Advertise = "[fe80::1%eth0]:9092", ""
				orders.Listeners[1].Advertise = "[fe80::1%eth0]:443"
				many.Nodes = Nodes{Addresses: "[fe80::{slot}%eth0]:9092", Slots: Range{1, 2}}
			},
			[]string{
				`clusters.orders.listeners.fred.advertise: missing, and bind "[fe80::1%eth0]:9092" has a zone, which has a meaning on this machine only; write the name or address by which clients reach kproxy, such as kafka.example.com:9092`,
				`clusters.orders.listeners.alice.advertise: "[fe80::1%eth0]:443" has a zone, which has a meaning on this machine only; write the name or address by which clients reach kproxy, such as kafka.example.com:9092`,
				`clusters.audit.listeners.many.nodes.addresses: "[fe80::1%eth0]:9092" has a zone, which has a meaning on this machine only; write advertise_addresses with a host that clients reach, such as "kafka.example.com:{slot}"`,
			},
		},
		{
			"server names that do not tell listeners apart",
			func(_ *Config, orders *Cluster, fred, many *Listener) {
				named := func(l *Listener, advertise, sni string) {
					l.Bind, l.Advertise, l.UnknownSNI = "0.0.0.0:443", advertise, SNIBootstrap
					l.Nodes, l.TLS = Nodes{SNI: sni}, &ListenerTLS{Certs: []KeyPair{{"c", "k"}}}
				}
				named(fred, "kafka.x.com:443", "b{node}.x.com:443")
				named(&orders.Listeners[1], "Kafka.x.com.:443", "b1{node}.x.com:443")
				named(many, "B3.x.com.:443", "b{node}.{cluster}.x.com:443")
				many.Bind = "[::ffff:0.0.0.0]:443"
				many.ProxyProtocol.From = []string{"10.0.0.0/8"}
			},
			[]string{
				`clusters.orders.listeners.alice.advertise: "kafka.x.com" is a name of clusters.orders.listeners.fred, which has the same bind; choose names that differ by more than the node's id, or another bind`,
				`clusters.orders.listeners.alice.unknown_sni: bootstrap, as that of clusters.orders.listeners.fred, which has the same bind; write refuse for one of them`,
				`clusters.audit.listeners.many.advertise: "b3.x.com" is a name of clusters.orders.listeners.fred, which has the same bind; choose names that differ by more than the node's id, or another bind`,
				`clusters.audit.listeners.many.unknown_sni: bootstrap, as that of clusters.orders.listeners.fred, which has the same bind; write refuse for one of them`,
				`clusters.audit.listeners.many.proxy_protocol: not the same as that of clusters.orders.listeners.fred, which has the same bind, and it comes before the name; write the same for both`,
				`clusters.audit.listeners.many.unknown_sni: bootstrap, as that of clusters.orders.listeners.alice, which has the same bind; write refuse for one of them`,
				`clusters.audit.listeners.many.proxy_protocol: not the same as that of clusters.orders.listeners.alice, which has the same bind, and it comes before the name; write the same for both`,
			},
		},
		{
			"server names and addresses",
			func(_ *Config, orders *Cluster, fred, many *Listener) {
				fred.Nodes, fred.TLS = Nodes{SNI: "b{node}.x.com:443"}, &ListenerTLS{Certs: []KeyPair{{"c", "k"}}}
				fred.Advertise = "b5.x.com:443"
				alice := &orders.Listeners[1]
				alice.Nodes, alice.TLS, alice.Advertise = Nodes{SNI: "c{node}.x.com:443"}, fred.TLS, "192.0.2.1:443"
				many.Bind, many.UnknownSNI = fred.Bind, SNIBootstrap
			},
			[]string{
				`clusters.orders.listeners.alice.advertise: clients ask for no name when they are told the address 192.0.2.1; write a name that the certificate has, or unknown_sni: bootstrap`,
				`clusters.audit.listeners.many.unknown_sni: only goes with nodes.sni; take it out: where ports or addresses tell the nodes, any name leads to the address's own`,
				`clusters.orders.listeners.fred.advertise: "b5.x.com" is the name of a node, too, by nodes.sni; choose another name for one of them`,
			},
		},
		{
			"names used twice",
			func(c *Config, orders *Cluster, _, _ *Listener) {
				c.Clusters[1].Name = "orders"
				orders.Listeners[1].Name = "fred"
			},
			[]string{
				`clusters.orders.listeners.fred: the name "fred" is used twice; rename one of them`,
				`clusters.orders: the name "orders" is used twice; rename one of them`,
			},
		},
		{
			"limits",
			func(c *Config, orders *Cluster, _, _ *Listener) {
				c.MaxRequestBytes, c.FirstRequestTimeout, c.DrainTimeout = 100, -1, -time.Second
				orders.ConnectTimeout, orders.Keepalive = -time.Second, 10*time.Hour
			},
			[]string{
				`limits.max_request_bytes: 100 bytes are too few for a client to start with; write 1024 or more; Kafka's own default is 104857600`,
				`limits.first_request_timeout: -1ns is less than nothing; write a positive duration, such as 10s`,
				`drain.timeout: -1s is less than nothing; write a positive duration, such as 10s`,
				`clusters.orders.connect_timeout: -1s is less than nothing; write a positive duration, such as 10s`,
				`clusters.orders.keepalive: 10h0m0s is more than the kernel takes; write 9h6m7s or less; the default is 1m0s`,
			},
		},
		{
			"limits of connections and ages",
			func(c *Config, _ *Cluster, fred, many *Listener) {
				c.MaxConnections, c.IdleTimeout, c.MaxAge, c.MaxAgeJitter = -1, -time.Second, -time.Second, 1
				fred.Limits = ListenerLimits{MaxConnections: -1, MaxPerSource: -2, AcceptRate: -3}
				many.Limits = ListenerLimits{MaxConnections: 5, MaxPerSource: 6}
			},
			[]string{
				`limits.max_connections: -1 is less than nothing; write 0 for no limit of its own, or a positive number`,
				`limits.idle_timeout: -1s is less than nothing; write a positive duration, such as 10s`,
				`limits.max_age: -1s is less than nothing; write a positive duration, such as 10s`,
				`limits.max_age_jitter: 1 is no part of an age; write 0 or more and less than 1, such as 0.1 for the last tenth of max_age`,
				`clusters.orders.listeners.fred.limits.max_connections: -1 is less than nothing; write 0 for no limit of its own, or a positive number`,
				`clusters.orders.listeners.fred.limits.max_per_source: -2 is less than nothing; write 0 for no limit of its own, or a positive number`,
				`clusters.orders.listeners.fred.limits.accept_rate: -3 is less than nothing; write 0 for no limit of its own, or a positive number`,
				`clusters.audit.listeners.many.limits.max_per_source: 6 connections are never reached, because clusters.audit.listeners.many.limits.max_connections is 5; write 5 or less, or raise clusters.audit.listeners.many.limits.max_connections`,
			},
		},
		{
			"networks",
			func(_ *Config, _ *Cluster, fred, many *Listener) {
				fred.Allow = []string{"10.0.0.1/8", "moon", "fe80::1%eth0", "::ffff:10.0.0.0/104"}
				many.Allow = []string{"10.0.0.0/8", "10.1.0.0/16", "11.0.0.1"}
				many.Deny = []string{"11.0.0.0/8"}
				fred.ProxyProtocol = LoadBalancers{From: []string{"sun"}, Mode: "always"}
				many.ProxyProtocol.Mode = HeaderOptional
			},
			[]string{
				`clusters.orders.listeners.fred.allow[0]: "10.0.0.1/8": has bits behind its /8; is it 10.0.0.0/8?; write a network such as 10.0.0.0/8, or an address such as 10.0.0.7`,
				`clusters.orders.listeners.fred.allow[1]: "moon": not a network; write a network such as 10.0.0.0/8, or an address such as 10.0.0.7`,
				`clusters.orders.listeners.fred.allow[2]: "fe80::1%eth0": an address with a zone is on one link alone; write a network such as 10.0.0.0/8, or an address such as 10.0.0.7`,
				`clusters.orders.listeners.fred.allow[3]: "::ffff:10.0.0.0/104": IPv4 clients are known by their IPv4 address; write a network such as 10.0.0.0/8, or an address such as 10.0.0.7`,
				`clusters.orders.listeners.fred.proxy_protocol.from[0]: "sun": not a network; write a network such as 10.0.0.0/8, or an address such as 10.0.0.7`,
				`clusters.orders.listeners.fred.proxy_protocol.mode: "always" is neither required nor optional; write one of them`,
				`clusters.audit.listeners.many.allow[1]: 10.1.0.0/16 is there already, or within a network that is; take it out`,
				`clusters.audit.listeners.many.allow[2]: 11.0.0.1/32 is all within deny, which decides; take it out of one of the two`,
				`clusters.audit.listeners.many.proxy_protocol: no header is believed without from; write from: the networks of the load balancers`,
			},
		},
		{
			"limits that another one keeps from being reached",
			func(c *Config, _ *Cluster, fred, many *Listener) {
				c.MaxConnections, c.MaxAgeJitter = 10, math.NaN()
				fred.Limits.MaxConnections, many.Limits.MaxPerSource = 11, 12
			},
			[]string{
				`limits.max_age_jitter: NaN is no part of an age; write 0 or more and less than 1, such as 0.1 for the last tenth of max_age`,
				`clusters.orders.listeners.fred.limits.max_connections: 11 connections are never reached, because limits.max_connections is 10; write 10 or less, or raise limits.max_connections`,
				`clusters.audit.listeners.many.limits.max_per_source: 12 connections are never reached, because limits.max_connections is 10; write 10 or less, or raise limits.max_connections`,
			},
		},
		{
			"a request longer than its size field",
			func(c *Config, _ *Cluster, _, _ *Listener) {
				n := int64(1) << 31
				c.MaxRequestBytes = int(n) // where int has 64 bits
			},
			[]string{`limits.max_request_bytes: 2147483648 is more than a request can say that it is long; write 2147483647 or less`},
		},
		{
			"unknown_apis",
			func(_ *Config, orders *Cluster, _, _ *Listener) { orders.UnknownAPIs = "show" },
			[]string{`clusters.orders.unknown_apis: "show" is neither hide nor pass; write hide, unless clients need an API that this kproxy does not know`},
		},
		{
			"no bootstrap, no listener",
			func(_ *Config, orders *Cluster, _, _ *Listener) { orders.Bootstrap, orders.Listeners = nil, nil },
			[]string{
				`clusters.orders.bootstrap: there is no bootstrap address; write one or more brokers, such as [broker-1:9092, broker-2:9092]`,
				`clusters.orders.listeners: there is no listener; add one, such as {local: {bind: "127.0.0.1:9092", nodes: {ports: 9100-9199}}}`,
			},
		},
		{
			"bootstrap addresses",
			func(_ *Config, orders *Cluster, _, _ *Listener) {
				orders.Bootstrap = []string{"b0.internal", ":9092", "0.0.0.0:9092", "fd00::1:9092"}
			},
			[]string{
				`clusters.orders.bootstrap[0]: "b0.internal" has no port; add one, such as b0.internal:9092`,
				`clusters.orders.bootstrap[1]: ":9092" names no host; write the broker's name or address, such as broker-1:9092`,
				`clusters.orders.bootstrap[2]: "0.0.0.0:9092" names no host; write the broker's name or address, such as broker-1:9092`,
				`clusters.orders.bootstrap[3]: "fd00::1:9092" has more than one colon; write an IPv6 address in brackets, such as [::1]:9092`,
			},
		},
		{
			"bootstrap that is kproxy itself",
			func(_ *Config, orders *Cluster, _, _ *Listener) {
				orders.Bootstrap = []string{"localhost:9092", "127.0.0.1:29150", "10.0.0.1:9092"}
				orders.Dial = append(orders.Dial, DialRule{Match: "10.0.0.1:*", To: "127.0.1.8:{1}"})
			},
			[]string{
				`clusters.orders.bootstrap[0]: localhost:9092 is kproxy's own, by clusters.orders.listeners.fred.bind; write the broker's address, or bind kproxy elsewhere`,
				`clusters.orders.bootstrap[1]: 127.0.0.1:29150 is kproxy's own, by clusters.orders.listeners.alice.nodes.ports; write the broker's address, or bind kproxy elsewhere`,
				`clusters.orders.bootstrap[2]: 127.0.1.8:9092 is kproxy's own, by clusters.audit.listeners.many.nodes.addresses; write the broker's address, or bind kproxy elsewhere`,
			},
		},
		{
			"dial rules",
			func(_ *Config, orders *Cluster, _, _ *Listener) {
				orders.Dial[0].Match = "*"
				orders.Dial[1].To = "127.0.0.1:{base+node}"
			},
			[]string{
				`clusters.orders.dial[0]: both node and match; keep one; write {node: 7, to: "10.0.0.7:9092"} or {match: "*.internal:9092", to: "127.0.0.1:{19092+node}"}`,
				`clusters.orders.dial[1].to: {base+node} is no variable here; use {node}, {host}, {port}, {1}, or one sum such as {19092+node}`,
			},
		},
		{
			"a rule that fails for a bootstrap address",
			func(_ *Config, orders *Cluster, _, _ *Listener) {
				orders.Dial = []DialRule{{Match: "*.internal:*", To: "127.0.0.1:{60000+port}"}}
			},
			[]string{`clusters.orders.bootstrap[0]: dial rule 0 for bootstrap b0.internal:9092: "127.0.0.1:69092" has the port "69092"; write a port of 1-65535, such as 127.0.0.1:9092; correct the rule, or put one for this address above it`},
		},
		{
			"bind and advertise",
			func(_ *Config, _ *Cluster, fred, many *Listener) {
				fred.Bind, fred.Advertise = "127.0.0.1:0", "[::]:9092"
				many.Bind = ":9092"
			},
			[]string{
				`clusters.orders.listeners.fred.bind: "127.0.0.1:0" has the port "0"; write a port of 1-65535, such as 127.0.0.1:9092`,
				`clusters.orders.listeners.fred.advertise: "[::]:9092" is a wildcard, which no client can connect to; write the name or address by which clients reach kproxy, such as kafka.example.com:9092`,
				`clusters.audit.listeners.many.advertise: missing, and bind is the wildcard ":9092", which no client can connect to; write the name or address by which clients reach kproxy, such as kafka.example.com:9092`,
			},
		},
		{
			"advertise without a port",
			func(_ *Config, _ *Cluster, fred, _ *Listener) { fred.Advertise = "localhost" },
			[]string{`clusters.orders.listeners.fred.advertise: "localhost" has no port; add one, such as localhost:9092`},
		},
		{
			"both ports and addresses, neither",
			func(_ *Config, _ *Cluster, fred, many *Listener) {
				many.Nodes.Ports = Range{9100, 9199}
				fred.Nodes = Nodes{FirstNode: -1}
			},
			[]string{
				`clusters.orders.listeners.fred.nodes: neither ports nor addresses nor sni; write {ports: 9100-9199}, or {addresses: "127.0.1.{slot}:9092", slots: 1-254}`,
				`clusters.orders.listeners.fred.nodes.first_node: -1 is no broker id; write the lowest broker id, 0 or more`,
				`clusters.audit.listeners.many.nodes: both ports and addresses; keep ports for one port for each broker, or addresses for one address`,
			},
		},
		{
			"port ranges",
			func(_ *Config, orders *Cluster, fred, _ *Listener) {
				fred.Nodes.Ports = Range{9199, 9100}
				orders.Listeners[1].Nodes.Ports = Range{65000, 65600}
			},
			[]string{
				`clusters.orders.listeners.fred.nodes.ports: 9199-9100 runs backwards; write 9100-9199`,
				`clusters.orders.listeners.alice.nodes.ports: 65000-65600 is not within 1-65535; write a range within it`,
				`clusters.orders.listeners.alice.nodes.advertise_ports: 39100-39199 are 100 ports, but ports 65000-65600 are 601; write two ranges of one length; the first advertised port leads to the first port`,
			},
		},
		{
			"keys of the other kind",
			func(_ *Config, _ *Cluster, fred, many *Listener) {
				fred.Nodes.AdvertiseAddresses, fred.Nodes.Slots = "x:{slot}", Range{1, 2}
				many.Nodes.AdvertisePorts = Range{1, 2}
			},
			[]string{
				`clusters.orders.listeners.fred.nodes.advertise_addresses: only goes with addresses; write advertise_ports, or addresses instead of ports`,
				`clusters.orders.listeners.fred.nodes.slots: only goes with addresses; remove it; ports count the slots`,
				`clusters.audit.listeners.many.nodes.advertise_ports: only goes with ports; write advertise_addresses`,
			},
		},
		{
			"addresses without slots",
			func(_ *Config, _ *Cluster, _, many *Listener) { many.Nodes.Slots = Range{} },
			[]string{`clusters.audit.listeners.many.nodes.slots: missing; write the numbers that {slot} takes in addresses, such as 1-254`},
		},
		{
			"slots without end",
			func(_ *Config, _ *Cluster, _, many *Listener) { many.Nodes.Slots = Range{1, 1 << 30} },
			[]string{`clusters.audit.listeners.many.nodes.slots: 1-1073741824 is not within 0-65535; write a range within it`},
		},
		{
			"addresses without {slot}",
			func(_ *Config, _ *Cluster, _, many *Listener) {
				many.Nodes.Addresses, many.Nodes.AdvertiseAddresses = "127.0.1.1:9092", "{slot}.{slot}:9092"
			},
			[]string{
				`clusters.audit.listeners.many.nodes.addresses: "127.0.1.1:9092" does not hold {slot} once; write {slot} where the addresses differ, such as "127.0.1.{slot}:9092"`,
				`clusters.audit.listeners.many.nodes.advertise_addresses: "{slot}.{slot}:9092" does not hold {slot} once; write {slot} where the addresses differ, such as "127.0.1.{slot}:9092"`,
			},
		},
		{
			"addresses that end before the slots do",
			func(_ *Config, _ *Cluster, _, many *Listener) { many.Nodes.Slots = Range{200, 300} },
			[]string{`clusters.audit.listeners.many.nodes.addresses: "127.0.1.256:9092" has the host "127.0.1.256", which is neither an IP address nor a host name; write host:port, such as 127.0.0.1:9092`},
		},
		{
			"addresses that are a wildcard",
			func(_ *Config, _ *Cluster, _, many *Listener) {
				many.Nodes.Addresses, many.Nodes.Slots = "0.0.0.0:{slot}", Range{9200, 9201}
			},
			[]string{`clusters.audit.listeners.many.nodes.addresses: "0.0.0.0:9200" is a wildcard, which no client can connect to; write advertise_addresses with a host that clients reach, such as "kafka.example.com:{slot}"`},
		},
		{
			"pins",
			func(_ *Config, _ *Cluster, fred, many *Listener) {
				fred.Nodes.Pin = map[int32]int{-1: 9101, 1001: 9150, 1002: 9150, 1003: 9200}
				many.Nodes.Pin = map[int32]int{1001: 255}
			},
			[]string{
				`clusters.orders.listeners.fred.nodes.pin: -1 is no broker id; write an id of 0 or more`,
				`clusters.orders.listeners.fred.nodes.pin: nodes 1001 and 1002 are both pinned to 9150; give each its own`,
				`clusters.orders.listeners.fred.nodes.pin: node 1003 is pinned to 9200, outside 9100-9199; choose a number of that range, or widen it`,
				`clusters.audit.listeners.many.nodes.pin: node 1001 is pinned to 255, outside 1-254; choose a number of that range, or widen it`,
			},
		},
		{
			"nodes bound where bootstrap is",
			func(_ *Config, _ *Cluster, fred, _ *Listener) {
				fred.Nodes = Nodes{Ports: Range{9090, 9099}, AdvertisePorts: Range{9190, 9199}}
			},
			[]string{`clusters.orders.listeners.fred.nodes.ports: 127.0.0.1:9092 is bound already by clusters.orders.listeners.fred.bind; move one of them to another port or address`},
		},
		{
			"nodes bound where another listener's are, told once",
			func(_ *Config, orders *Cluster, _, _ *Listener) {
				orders.Listeners[1].Nodes = Nodes{Ports: Range{9150, 9249}}
			},
			[]string{`clusters.orders.listeners.alice.nodes.ports: 0.0.0.0:9150 is bound already by clusters.orders.listeners.fred.nodes.ports, as 127.0.0.1:9150; move one of them to another port or address`},
		},
		{
			"a wildcard over the addresses of another cluster",
			func(_ *Config, orders *Cluster, _, _ *Listener) {
				orders.Listeners[0].Bind, orders.Listeners[0].Nodes.Pin = "[::]:9092", nil
			},
			[]string{
				`clusters.audit.listeners.many.bind: 127.0.0.2:9092 is bound already by clusters.orders.listeners.fred.bind, as [::]:9092; move one of them to another port or address`,
				`clusters.audit.listeners.many.nodes.addresses: 127.0.1.1:9092 is bound already by clusters.orders.listeners.fred.bind, as [::]:9092; move one of them to another port or address`,
			},
		},
		{
			"the wildcard of IPv4, and IPv6 beside it",
			func(_ *Config, orders *Cluster, fred, many *Listener) {
				fred.Bind, fred.Advertise = "[::1]:29094", "[::1]:29094" // alice has 0.0.0.0:29094
				many.Bind, many.Advertise = "[::]:29094", "many.example.com:1"
				orders.Bootstrap = append(orders.Bootstrap, "127.0.0.9:29094")
			},
			[]string{
				`clusters.audit.listeners.many.bind: [::]:29094 is bound already by clusters.orders.listeners.fred.bind, as [::1]:29094; move one of them to another port or address`,
				`clusters.orders.bootstrap[2]: 127.0.0.9:29094 is kproxy's own, by clusters.audit.listeners.many.bind; write the broker's address, or bind kproxy elsewhere`,
			},
		},
		{
			"nodes advertised where bootstrap is",
			func(_ *Config, _ *Cluster, fred, many *Listener) {
				fred.Nodes.AdvertisePorts = Range{9001, 9100}
				many.Bind, many.Advertise = "127.0.2.1:9092", "127.0.1.9:9092"
			},
			[]string{
				`clusters.orders.listeners.fred.nodes.advertise_ports: a node would be advertised at localhost:9092, where clients bootstrap; advertise the nodes at other ports or addresses than the bootstrap endpoint`,
				`clusters.audit.listeners.many.nodes.addresses: a node would be advertised at 127.0.1.9:9092, where clients bootstrap; advertise the nodes at other ports or addresses than the bootstrap endpoint`,
			},
		},
		{
			"nodes advertised by name where bootstrap is",
			func(_ *Config, _ *Cluster, _, many *Listener) {
				many.Advertise, many.Nodes.AdvertiseAddresses = "b3.Example.com:9092", "b{slot}.example.com:9092"
			},
			[]string{`clusters.audit.listeners.many.nodes.advertise_addresses: a node would be advertised at b3.example.com:9092, where clients bootstrap; advertise the nodes at other ports or addresses than the bootstrap endpoint`},
		},
		{
			"nodes advertised at their ports under another name",
			func(_ *Config, _ *Cluster, fred, _ *Listener) { fred.Advertise = "kafka.example.com:9100" },
			[]string{`clusters.orders.listeners.fred.nodes.ports: a node would be advertised at kafka.example.com:9100, where clients bootstrap; advertise the nodes at other ports or addresses than the bootstrap endpoint`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := valid()
			orders := &c.Clusters[0]
			tt.edit(c, orders, &orders.Listeners[0], &c.Clusters[1].Listeners[0])
			got := "nil"
			if err := c.Validate(); err != nil {
				got = err.Error()
			}
			if want := strings.Join(tt.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Different networks may have the same names for kproxy.
func TestValidateLetsListenersAdvertiseAlike(t *testing.T) {
	c := valid()
	alice := &c.Clusters[0].Listeners[1]
	alice.Advertise, alice.Nodes.AdvertisePorts = "localhost:9092", Range{9100, 9199}
	if err := c.Validate(); err != nil {
		t.Errorf("got %v", err)
	}
}
