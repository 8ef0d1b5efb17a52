//go:build e2e && linux

package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keysOfCluster are keys of a cluster that the tables below have often.
var keysOfCluster = strings.NewReplacer("BROKERS", "bootstrap: [k.kafka.svc:9092]", "SECRET", "certificate: {secret: s}", "ISSUER", "certificate: {issuerRef: {name: i}}")

// install is what helm install prints for values, with the notes.
func install(t *testing.T, release, text string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(keysOfCluster.Replace(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	return helm(t, "install", release, chart, "-n", "kafka", "--dry-run=client", "-f", file)
}

// Whole values that would not work are refused, with the key and a fix.
func TestRefusedValues(t *testing.T) {
	t.Parallel()
	for i, tt := range []struct{ values, want string }{
		// What leads to kproxy leads to each broker.
		{`{exposure: {mode: gateway, gateway: {className: x}}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "k.example.com:443", nodes: {ports: 9100-9102}}}}}`, "clusters.o.listener.nodes.ports: a TLSRoute leads names to kproxy, and no other ports; take ports out, or write sni"},
		{`{exposure: {mode: gateway, gateway: {parentRefs: [{name: g}]}}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "o.example.com:443", nodes: {sni: "o{node}.example.com:443"}}}, p: {BROKERS, SECRET, listener: {bind: ":9094", advertise: "p.example.com:444", nodes: {sni: "p{node}.example.com:444"}}}}}`, "clusters.p.listener.nodes.sni: the TLSRoutes of both this and clusters.o.listener.nodes.sni have *.example.com, and the binds differ; choose names under another domain"},
		{`{exposure: {mode: gateway, gateway: {parentRefs: [{name: g}]}}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "o.example.com:443"}}, p: {BROKERS, SECRET, listener: {bind: ":9094", advertise: "O.example.com.:444"}}}}`, "clusters.p.listener.advertise: o.example.com is the name of clusters.o.listener.advertise, too"},
		{`{exposure: {mode: gateway, gateway: {parentRefs: [{name: g}]}}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "k.example.com:443", nodes: {sni: "o{node}.example.com:443"}}}, p: {BROKERS, SECRET, listener: {bind: ":9094", advertise: "o7.example.com:444"}}}}`, "clusters.p.listener.advertise: o7.example.com is the name of a node, by clusters.o.listener.nodes.sni"},
		{`{exposure: {mode: gateway, gateway: {className: x}}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "k.example.com:443", nodes: {sni: "kafka.b{node}.example.com:443"}}}}}`, "clusters.o.listener.nodes.sni: kafka.b{node}.example.com:443 does not have {node} in the first of several labels, and a wildcard in a TLSRoute stands for that label; write a name such as b{node}.kafka.example.com:443"},
		{`{exposure: {mode: loadBalancer}, clusters: {o: {BROKERS, ISSUER, listener: {advertise: "k.example.com:443", nodes: {sni: "b{node}:443"}}}}}`, "clusters.o.listener.nodes.sni: b{node}:443 does not have {node} in the first of several labels, and a wildcard in a Certificate of cert-manager"},
		{`{exposure: {mode: gateway, gateway: {className: x}}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "203.0.113.7:443", unknown_sni: bootstrap, nodes: {sni: "b{node}.example.com:443"}}}}}`, "clusters.o.listener.advertise: a TLSRoute leads names to kproxy, and 203.0.113.7 is an address; write a name"},
		{`{exposure: {mode: gateway, gateway: {className: x}}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "k_1.example.com:443"}}}}`, "clusters.o.listener.advertise: k_1.example.com is no name in DNS, which a TLSRoute needs; write labels of a-z"},
		{`{exposure: {mode: loadBalancer, loadBalancer: {preset: nlb}}, clusters: {o: {BROKERS, SECRET, listener: {bind: ":9095", proxy_protocol: {from: [10.0.0.0/8]}, advertise: "o.example.com:443"}}, p: {BROKERS, SECRET, listener: {bind: ":9094", advertise: "p.example.com:444"}}}}`, "clusters.p.listener.proxy_protocol.from is missing: another cluster has it, and the balancer of the preset nlb sends the header at every port; write it for all clusters, or for none"},

		// Sidecars: nothing maps ports and addresses.
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, listener: {advertise: "localhost:9093"}}}}`, "clusters.o.listener.advertise: localhost:9093 has another port than clusters.o.listener.bind, 127.0.0.1:9092, and nothing maps ports in a pod; advertise port 9092"},
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, listener: {nodes: {advertise_ports: 9200-9219}}}}}`, "clusters.o.listener.nodes.advertise_ports: nothing maps ports in a pod, so clients connect to those that kproxy binds; take it out, and write nodes.ports: 9200-9219"},
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, listener: {bind: "127.0.0.2:9092", advertise: "localhost:9092"}}}}`, "clusters.o.listener.advertise: kproxy does not listen at localhost, by clusters.o.listener.bind, 127.0.0.2:9092; advertise the host of bind"},
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, listener: {bind: "0.0.0.0:9092", advertise: "[::1]:9092"}}}}`, "clusters.o.listener.advertise: kproxy does not listen at 0:0:0:0:0:0:0:1"},
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, listener: {bind: "127.0.0.1:9092", advertise: "localhost:9092", nodes: {ports: 9100-9109}}}, p: {BROKERS, listener: {bind: "[::1]:9092", nodes: {ports: 9200-9209}}}}}`, "clusters.p.listener.advertise: port 9092 of 0:0:0:0:0:0:0:1 is advertised by clusters.o.listener.advertise already; advertise another port, or the address of each bind"},
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, listener: {bind: "127.0.0.2:9092", advertise: "kafka:9092", nodes: {ports: 9100-9109}}}, p: {BROKERS, listener: {bind: "127.0.0.3:9192", advertise: "kafka:9192", nodes: {ports: 9109-9118}}}}}`, "clusters.p.listener.nodes.ports: port 9109 of kafka is advertised by clusters.o.listener.nodes.ports already"},
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, SECRET, listener: {bind: "127.0.0.2:9092", advertise: "o.k:9092", nodes: {sni: "b{node}.k:9092"}}}, p: {BROKERS, SECRET, listener: {bind: "127.0.0.3:9092", advertise: "p.k:9092", nodes: {sni: "b{node}.k:9092"}}}}}`, "clusters.p.listener.nodes.sni: b{node}.k:9092 may be a name by clusters.o.listener.nodes.sni, too"},
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "o.k:9092", nodes: {sni: "b{node}.k:443"}}}}}`, "clusters.o.listener.nodes.sni: b{node}.k:443 has another port than clusters.o.listener.advertise, 9092"},

		// A login, TLS, and the admin server.
		{`{clusters: {o: {BROKERS, listener: {login: {users_file: /run/secrets/users/users}}}}}`, "clusters.o.listener.login.mechanisms is missing: write those that clients may choose from, such as [SCRAM-SHA-512]"},
		{`{clusters: {o: {BROKERS, listener: {login: {mechanisms: [PLAIN]}}}}}`, "clusters.o.listener.login.users_file is missing: write secrets: {users: NAME}"},
		{`{clusters: {o: {BROKERS, listener: {login: {mechanisms: [GSSAPI], users_file: /run/secrets/users/users}}}}}`, `clusters.o.listener.login.mechanisms: "GSSAPI" is none by which clients log in at kproxy; write some of PLAIN`},
		{`{clusters: {o: {BROKERS, listener: {login: {mechanisms: [PLAIN, PLAIN], users_file: /run/secrets/users/users}}}}}`, "clusters.o.listener.login.mechanisms: one is there twice; write each once"},
		{`{clusters: {o: {BROKERS, listener: {tls: {}}}}}`, "clusters.o.certificate is missing: clusters.o.listener.tls needs one; write certificate: {secret: NAME} beside listener"},
		{`{clusters: {o: {BROKERS, listener: {tls: {client_ca: /run/configmaps/ca/ca.crt}}}}}`, "clusters.o.certificate is missing"},
		{`{clusters: {o: {BROKERS, SECRET, listener: {tls: {client_auth: requested}}}}}`, "clusters.o.listener.tls.client_ca is missing: client_auth needs it; write the file of the CA"},
		{`{clusters: {o: {BROKERS, SECRET, listener: {tls: {subjects: ["CN=a"]}}}}}`, "clusters.o.listener.tls.client_ca is missing: subjects needs it"},
		{`{admin: {pprof: true}, clusters: {o: {BROKERS}}}`, "admin.token_file is missing: with admin.pprof, any pod could have kproxy profiled; write secrets: {admin: NAME}"},
		{`{admin: {tls: {cert: /run/secrets/admin/tls.crt}}, clusters: {o: {BROKERS}}}`, "admin.tls.key is missing: TLS needs cert and key; write the path of a file, such as /run/secrets/admin/tls.key"},

		// The way to the brokers, and networks.
		{`{clusters: {o: {bootstrap: ["localhost:9095"]}}}`, "clusters.o.bootstrap[0]: localhost:9095 is a loopback address of the pod, which brokers do not have; write a broker's"},
		{`{exposure: {mode: sidecar}, clusters: {o: {bootstrap: ["k:9092", "localhost:9092"]}}}`, "clusters.o.bootstrap[1]: localhost:9092 is kproxy's own, by clusters.o.listener.bind; write the broker's address, or bind kproxy elsewhere"},
		{`{exposure: {mode: sidecar}, clusters: {o: {bootstrap: ["127.0.0.7:9105"], listener: {bind: ":9092"}}}}`, "clusters.o.bootstrap[0]: 127.0.0.7:9105 is kproxy's own, by clusters.o.listener.nodes.ports"},
		{`{exposure: {mode: sidecar}, clusters: {o: {bootstrap: ["[0::1]:9105"], listener: {bind: "[::]:9092"}}}}`, "clusters.o.bootstrap[0]: [0::1]:9105 is kproxy's own"},
		{`{clusters: {o: {BROKERS, sasl: {mechanism: PLAIN}}}}`, "clusters.o.sasl.username is missing: write the user"},
		{`{clusters: {o: {BROKERS, sasl: {mechanism: SCRAM-SHA-512, username: a}}}}`, "clusters.o.sasl.password_file is missing: write secrets: {kafka: NAME}"},
		{`{clusters: {o: {BROKERS, sasl: {username: a}}}}`, `clusters.o.sasl.mechanism: "" is not a mechanism that kproxy knows; write one of PLAIN`},
		{`{clusters: {o: {BROKERS, sasl: {mechanism: GSSAPI}}}}`, `clusters.o.sasl.mechanism: "GSSAPI" is not a mechanism that kproxy knows`},
		{`{clusters: {o: {BROKERS, sasl: {mechanism: PLAIN, username: a, password_file: /run/secrets/kafka/password, password_env: P}}}}`, "clusters.o.sasl: password_file and password_env are both there; keep one of them"},
		{`{clusters: {o: {BROKERS, sasl: {mechanism: OAUTHBEARER}}}}`, "clusters.o.sasl.oauth.token_url is missing: write the URL of the token endpoint, or token_file"},
		{`{clusters: {o: {BROKERS, sasl: {mechanism: OAUTHBEARER, username: a, oauth: {token_file: /run/secrets/kafka/token}}}}}`, "clusters.o.sasl.username does not go with the mechanism OAUTHBEARER; take it out"},
		{`{clusters: {o: {BROKERS, sasl: {mechanism: AWS_MSK_IAM, password_env: P}}}}`, "clusters.o.sasl.password_env does not go with the mechanism AWS_MSK_IAM"},
		{`{clusters: {o: {BROKERS, sasl: {mechanism: AWS_MSK_IAM, oauth: {token_file: /run/secrets/kafka/token}}}}}`, "clusters.o.sasl.oauth does not go with the mechanism AWS_MSK_IAM"},
		{`{clusters: {o: {BROKERS, sasl: {mechanism: OAUTHBEARER, aws: {region: x}, oauth: {token_file: /run/secrets/kafka/token}}}}}`, "clusters.o.sasl.aws does not go with the mechanism OAUTHBEARER"},
		{`{clusters: {o: {BROKERS, sasl: {mechanism: OAUTHBEARER, oauth: {token_url: "https://a/t", token_file: /run/secrets/kafka/token}}}}}`, "clusters.o.sasl.oauth.token_url does not go with token_file; keep one of them"},
		{`{clusters: {o: {BROKERS, sasl: {mechanism: OAUTHBEARER, oauth: {token_file: /run/secrets/kafka/token, scope: a}}}}}`, "clusters.o.sasl.oauth.scope does not go with token_file"},
		{`{clusters: {o: {BROKERS, sasl: {mechanism: OAUTHBEARER, oauth: {token_url: "https://a/t"}}}}}`, "clusters.o.sasl.oauth.client_id is missing: the token endpoint of token_url asks for it"},
		{`{clusters: {o: {BROKERS, sasl: {mechanism: OAUTHBEARER, oauth: {token_url: "https://a/t", client_id: a}}}}}`, "clusters.o.sasl.oauth.client_secret_file is missing"},
		{`{clusters: {o: {BROKERS, via_password_file: /run/secrets/via/password}}}`, "clusters.o.via_password_file: there is no via that it could be for; write via, or take it out"},
		{`{clusters: {o: {BROKERS, tls: {cert: /run/secrets/c/tls.crt}}}}`, "clusters.o.tls.key is missing: a certificate needs cert and key; write both, or none"},
		{`{clusters: {o: {BROKERS, tls: {key: /run/secrets/c/tls.key}}}}`, "clusters.o.tls.cert is missing"},
		{`{clusters: {o: {BROKERS, listener: {allow: [10.0.0.7, vpn]}}}}`, `clusters.o.listener.allow[1]: "vpn" is not a network; write one such as 10.0.0.0/8, or an address such as 10.0.0.7`},
		{`{clusters: {o: {BROKERS, listener: {deny: [10.0.0.0/33]}}}}`, `clusters.o.listener.deny[0]: "10.0.0.0/33" is not a network`},
		{`{clusters: {o: {BROKERS, listener: {deny: ["fd00::/129"]}}}}`, `clusters.o.listener.deny[0]: "fd00::/129" is not a network`},
		{`{clusters: {o: {BROKERS, listener: {proxy_protocol: {from: ["fd00:/8"]}}}}}`, `clusters.o.listener.proxy_protocol.from[0]: "fd00:/8" is not a network`},
		{`{clusters: {o: {BROKERS, listener: {allow: [10.0.0.0/8/8]}}}}`, `clusters.o.listener.allow[0]: "10.0.0.0/8/8" is not a network`},
		{`{clusters: {o: {BROKERS, listener: {allow: [10.0.0.0/08]}}}}`, `clusters.o.listener.allow[0]: "10.0.0.0/08" is not a network`},
		{`{clusters: {o: {BROKERS, listener: {allow: [10.0.0.7/8]}}}}`, `clusters.o.listener.allow[0]: "10.0.0.7/8" has bits beyond its /8; write 10.0.0.0/8, or the address 10.0.0.7`},
		{`{clusters: {o: {BROKERS, listener: {deny: [192.168.255.0/22]}}}}`, `clusters.o.listener.deny[0]: "192.168.255.0/22" has bits beyond its /22; write 192.168.252.0/22`},
		{`{clusters: {o: {BROKERS, listener: {deny: ["fd00:a::1/31"]}}}}`, `clusters.o.listener.deny[0]: "fd00:a::1/31" has bits beyond its /31; write fd00:a:0:0:0:0:0:0/31, or the address fd00:a::1`},
		{`{clusters: {o: {BROKERS, listener: {proxy_protocol: {from: ["::ffff:10.0.0.0/104"]}}}}}`, `clusters.o.listener.proxy_protocol.from[0]: "::ffff:10.0.0.0/104" is an IPv4 network in IPv6, and kproxy compares IPv4 addresses; write one such as 10.0.0.0/8`},
		{`{clusters: {o: {BROKERS, listener: {allow: [10.0.0.0/8, "fd00::/8", 10.1.0.0/16]}}}}`, "clusters.o.listener.allow[2]: 10.1.0.0/16 is the network of allow[0], or within it; take it out"},
		{`{clusters: {o: {BROKERS, listener: {deny: ["::1", "10.0.0.7", "0:0::1"]}}}}`, "clusters.o.listener.deny[2]: 0:0::1 is the network of deny[0], or within it; take it out"},
		{`{clusters: {o: {BROKERS, listener: {allow: [10.0.0.0/8], deny: ["0.0.0.0/0"]}}}}`, "clusters.o.listener.allow[0]: 10.0.0.0/8 is the network of deny[0], or within it, and deny decides; take it out of one of the two"},
		{`{clusters: {o: {BROKERS, listener: {proxy_protocol: {mode: optional}}}}}`, "clusters.o.listener.proxy_protocol.from is missing: without it, no header is believed; write the networks"},

		// IPv6 has several forms of one address.
		{`{clusters: {o: {BROKERS, listener: {advertise: "[::0]:9092"}}}}`, `clusters.o.listener.advertise: "[::0]:9092" names no host`},
		{`{clusters: {o: {bootstrap: ["[0::0]:9092"]}}}`, `clusters.o.bootstrap[0]: "[0::0]:9092" names no host`},
		{`{clusters: {o: {bootstrap: ["[::ffff:0.0.0.0]:9092"]}}}`, `clusters.o.bootstrap[0]: "[::ffff:0.0.0.0]:9092" names no host`},
		{`{clusters: {o: {bootstrap: ["[1:2:3]:9092"]}}}`, `clusters.o.bootstrap[0]: "[1:2:3]:9092" has the host "[1:2:3]", which is no name and no IP address`},
		{`{clusters: {o: {bootstrap: ["[1:2:3:4:5:6:7:8:9]:9092"]}}}`, "clusters.o.bootstrap[0]"},
		{`{clusters: {o: {bootstrap: ["[1::2::3]:9092"]}}}`, "clusters.o.bootstrap[0]"},
		{`{clusters: {o: {bootstrap: ["[::1:2:3:4:5:6:7:8]:9092"]}}}`, "clusters.o.bootstrap[0]"},
		{`{clusters: {o: {bootstrap: ["[1::10000]:9092"]}}}`, "clusters.o.bootstrap[0]"},
		{`{clusters: {o: {bootstrap: ["[::f1.2.3.4]:9092"]}}}`, `clusters.o.bootstrap[0]: "[::f1.2.3.4]:9092" has the host "[::f1.2.3.4]", which is no name and no IP address`},
		{`{clusters: {o: {bootstrap: ["[1.2.3.4]:9092"]}}}`, "clusters.o.bootstrap[0]"},
		{`{clusters: {o: {bootstrap: ["[::1.2.3.256]:9092"]}}}`, "clusters.o.bootstrap[0]"},
		{`{admin: {bind: "[0:0::1]:9400"}, clusters: {o: {BROKERS}}}`, "admin.bind: [0:0::1]:9400 is a loopback address of the pod"},
		{`{admin: {bind: "[::ffff:7f00:1]:9400"}, clusters: {o: {BROKERS}}}`, "admin.bind: [::ffff:7f00:1]:9400 is a loopback address of the pod"},
		{`{admin: {bind: "ip6-localhost:9400"}, clusters: {o: {BROKERS}}}`, "admin.bind: ip6-localhost:9400 is a loopback address of the pod"},
		{`{admin: {bind: "[::ffff:10.0.0.7]:9092"}, clusters: {o: {BROKERS, listener: {bind: "10.0.0.7:9092"}}}}`, "clusters.o.listener.bind: port 9092 is bound already by admin.bind"},

		{`{exposure: {mode: loadBalancer}, clusters: {o: {BROKERS, SECRET, listener: {unknown_sni: bootstrap, advertise: "o.e.com:443"}}, p: {BROKERS, SECRET, listener: {unknown_sni: bootstrap, advertise: "p.e.com:443"}}}}`, "clusters.p.listener.unknown_sni: bootstrap, as that of clusters.o.listener, which shares the port; write refuse for one of them"},

		// Numbers, durations and names.
		{`{exposure: {mode: loadBalancer}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "o.e.com:443", nodes: {sni: "b{node}.e.com:443"}}}, p: {BROKERS, SECRET, listener: {advertise: "p.e.com:443", nodes: {sni: "b1{node}.e.com:443"}}}}}`, "clusters.p.listener.nodes.sni: b1{node}.e.com:443 may be a name by clusters.o.listener.nodes.sni, too, and the name selects the cluster; choose names that differ by more than digits"},
		{`{exposure: {mode: loadBalancer}, clusters: {o: {BROKERS, SECRET, listener: {bind: ":9093", advertise: "o.e.com:443", nodes: {sni: "b{node}7.e.com:443"}}}, p: {BROKERS, SECRET, listener: {bind: "[::0]:9093", advertise: "p.e.com:443", nodes: {sni: "b{node}.e.com:443"}}}}}`, "clusters.p.listener.nodes.sni: b{node}.e.com:443 may be a name by clusters.o.listener.nodes.sni"},
		{`{clusters: {o: {BROKERS, listener: {nodes: {ports: 9100-9109, pin: {99999999999: 9100}}}}}}`, `clusters.o.listener.nodes.pin: "99999999999" is no broker id; write 0-2147483647`},
		{`{clusters: {o: {BROKERS, listener: {nodes: {ports: 9100-9109, pin: {"-1": 9100}}}}}}`, `clusters.o.listener.nodes.pin: "-1" is no broker id; write 0-2147483647, without zeros in front, such as {1001: 9100}`},
		{`{clusters: {o: {BROKERS, listener: {nodes: {ports: 9100-9109, pin: {"07": 9100}}}}}}`, `clusters.o.listener.nodes.pin: "07" is no broker id`},
		{`{clusters: {o: {BROKERS, listener: {nodes: {first_node: 2147483648}}}}}`, "clusters.o.listener.nodes.first_node: 2147483648 is no broker id; write one of 0-2147483647"},
		{`{limits: {max_age: 10000000h}, clusters: {o: {BROKERS}}}`, "limits.max_age: 10000000h is no duration that kproxy can count; write one from 1ns to 292 years, such as 1h"},
		{`{drain: {timeout: 0s}, clusters: {o: {BROKERS}}}`, "drain.timeout: 0s is too short; write 1ms or more"},
		{`{clusters: {o: {BROKERS, keepalive: 999ms}}}`, "clusters.o.keepalive: 999ms is too short; write 1s or more"},
		{`{clusters: {o: {BROKERS, keepalive: 10h}}}`, "clusters.o.keepalive: 10h is too long; write 32767s or less"},
		{`{limits: {max_age_jitter: 1}, clusters: {o: {BROKERS}}}`, "limits.max_age_jitter: 1 is not a fraction of max_age; write 0 or more and less than 1, such as 0.1"},
		{`{limits: {max_age_jitter: -0.1}, clusters: {o: {BROKERS}}}`, "limits.max_age_jitter: -0.1 is not"},
		{`{limits: {max_request_bytes: 3000000000}, clusters: {o: {BROKERS}}}`, "limits.max_request_bytes: 3000000000 is more than the size field of a request can hold; write 2147483647 or less"},
		{`{limits: {max_held_bytes: 1048575}, clusters: {o: {BROKERS}}}`, "limits.max_held_bytes: 1048575 is less than one large response takes; write 1048576 or more, or 0"},
		{`{limits: {max_connections: 10}, clusters: {o: {BROKERS, listener: {limits: {max_connections: 11}}}}}`, "clusters.o.listener.limits.max_connections: 11 connections are never reached, because limits.max_connections is 10; write 10 or less, or raise limits.max_connections"},
		{`{limits: {max_connections: 10}, clusters: {o: {BROKERS, listener: {limits: {max_per_source: 11}}}}}`, "clusters.o.listener.limits.max_per_source: 11 connections are never reached, because limits.max_connections is 10"},
		{`{clusters: {o: {BROKERS, listener: {limits: {max_connections: 5, max_per_source: 6}}}}}`, "clusters.o.listener.limits.max_per_source: 6 connections are never reached, because clusters.o.listener.limits.max_connections is 5"},
		{`{telemetry: {otlp: {endpoint: "c:4317", interval: 10ms}}, clusters: {o: {BROKERS}}}`, "telemetry.otlp.interval: 10ms is too short; write 1s or more"},
		{`{clusters: {Orders_1: {BROKERS}}}`, `clusters: the name "Orders_1" cannot be part of the name of a Kubernetes object; write 1-42 of a-z, 0-9 and -`},
		{`{secrets: {A_b: x}, clusters: {o: {BROKERS}}}`, `secrets: the name "A_b" cannot be part of`},
		{`{configMaps: {a-: x}, clusters: {o: {BROKERS}}}`, `configMaps: the name "a-" cannot be part of`},
		{`{secrets: {a: A_b}, clusters: {o: {BROKERS}}}`, `secrets.a: "A_b" is no name of an object of Kubernetes; write the one that kubectl get shows`},
		{`{clusters: {o: {BROKERS, certificate: {secret: "a b"}}}}`, `clusters.o.certificate.secret: "a b" is no name of an object of Kubernetes`},

		// Ports that the user did not write.
		{`{exposure: {mode: ports}, clusters: {o: {BROKERS, listener: {advertise: "k:31000", nodes: {advertise_ports: 31100-31700}}}}}`, "clusters.o.listener.nodes.ports: port 9400 is bound already by admin.bind; write clusters.o.listener.nodes.ports, which is 9100-9700 otherwise, or move the other one"},
		{`{clusters: {o: {BROKERS, listener: {nodes: {advertise_ports: 1-65000}}}}}`, "clusters.o.listener.nodes.advertise_ports: from 9100 on, there are not as many ports to bind; write nodes.ports, as many of them"},
		{`{clusters: {o: {BROKERS, listener: {bind: ":9110", nodes: {}}}}}`, "clusters.o.listener.nodes.ports: 9100-9119 covers port 9110, where clients bootstrap (clusters.o.listener.advertise); move one of them, or write clusters.o.listener.nodes.ports"},
		{`{clusters: {o: {BROKERS, listener: {bind: ":9092"}}, p: {BROKERS}}}`, "clusters.o.listener.nodes.ports is missing: with several clusters, each needs ports of its own in exposure.mode clusterIP; write it, such as 9200-9219, or write nodes.sni"},

		// The API server refuses these, or nothing finds the pods.
		{`{podLabels: {app.kubernetes.io/component: x}, clusters: {o: {BROKERS}}}`, "podLabels: the chart sets app.kubernetes.io/component, and its selectors use it; take it out"},
		{`{labels: {app.kubernetes.io/version: x}, clusters: {o: {BROKERS}}}`, "labels: the chart sets app.kubernetes.io/version; take it out"},
		{`{metrics: {labels: {app.kubernetes.io/name: x}}, clusters: {o: {BROKERS}}}`, "metrics.labels: the chart sets app.kubernetes.io/name"},
		{`{metrics: {dashboard: {labels: {app.kubernetes.io/name: x}}}, clusters: {o: {BROKERS}}}`, "metrics.dashboard.labels: the chart sets app.kubernetes.io/name"},
		{`{autoscaling: {enabled: true, minReplicas: 11}, limits: {max_age: 1h}, clusters: {o: {BROKERS}}}`, "autoscaling.minReplicas: 11 is more than maxReplicas, 10; write no more than that"},
		{`{state_dir: /etc/kproxy, clusters: {o: {BROKERS}}}`, "state_dir: /etc/kproxy overlaps with /etc/kproxy, where the chart mounts files; write another directory"},
		{`{state_dir: /run/secrets/../secrets/a/, clusters: {o: {BROKERS}}}`, "state_dir: /run/secrets/../secrets/a/ overlaps with /run/secrets, where the chart mounts files"},
		{`{state_dir: /, clusters: {o: {BROKERS}}}`, "state_dir: / overlaps with /etc/kproxy"},
		{`{state_dir: state, clusters: {o: {BROKERS}}}`, "state_dir: state is not an absolute path; write one, such as"},
		{`{state_dir: "/a:b", clusters: {o: {BROKERS}}}`, "state_dir: /a:b has a colon"},
		{`{image: {repository: "r.example:5000/kproxy:1.0"}, clusters: {o: {BROKERS}}}`, `image.repository: r.example:5000/kproxy:1.0 has a tag; write image.repository: r.example:5000/kproxy and image.tag: "1.0"`},
		{`{image: {repository: "r.example/kproxy@sha256:0"}, clusters: {o: {BROKERS}}}`, "image.repository: r.example/kproxy@sha256:0 has a digest; write image.repository: r.example/kproxy and image.digest: sha256:0"},
		{`{env: [{name: KPROXY_ADMIN_BIND, value: ":9500"}], clusters: {o: {BROKERS}}}`, "env[0]: KPROXY_ADMIN_BIND sets a key of kproxy's configuration, and the Service and the probes would not have it; write the key in the values"},
		{`{env: [{name: A, value: 5}], clusters: {o: {BROKERS}}}`, `env[0]: the value of A is no text; write it in quotes, such as "5"`},
		{`{exposure: {mode: loadBalancer, loadBalancer: {sourceRanges: [10.0.0.0/8, 10.0.0.0/33]}}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "o.e.com:443"}}}}`, `exposure.loadBalancer.sourceRanges[1]: "10.0.0.0/33" is no network with a length; write one such as 10.0.0.0/8, and an address such as 10.0.0.7/32`},
		{`{exposure: {mode: loadBalancer, loadBalancer: {sourceRanges: [10.0.0.1]}}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "o.e.com:443"}}}}`, `exposure.loadBalancer.sourceRanges[0]: "10.0.0.1" is no network with a length`},
		{`{admin: {token_file: /run/secrets/admin/token}, secrets: {admin: a}, metrics: {serviceMonitor: {enabled: true}}, clusters: {o: {BROKERS}}}`, "metrics.tokenSecret is missing: with admin.token_file, a scrape without the token gets 401; write metrics.tokenSecret: {name: SECRET, key: token}"},

		// A sidecar is for its pod.
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, listener: {bind: ":9092"}, sasl: {mechanism: PLAIN, username: u, password_file: /run/secrets/o/p}}}}`, "clusters.o.listener.bind: other pods reach :9092, and would have kproxy's login at the brokers; write an address of the pod alone, such as 127.0.0.1:9092, or add login"},
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, SECRET, listener: {bind: ":9092", tls: {client_ca: /run/configmaps/ca/ca.crt, client_auth: requested}}, sasl: {mechanism: PLAIN, username: u, password_file: /run/secrets/o/p}}}}`, "clusters.o.listener.bind: other pods reach :9092"},
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, listener: {bind: "127.0.0.1:9092", nodes: {ports: 9100-9109}}}, p: {BROKERS}}}`, "clusters.p.listener.bind is missing: with several clusters, each needs ports of its own in exposure.mode sidecar; write it, such as 127.0.0.2:9092"},
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, listener: {bind: "127.0.0.1:9092"}}, p: {BROKERS, listener: {bind: "localhost:9192"}}}}`, "clusters.o.listener.nodes.ports is missing: with several clusters"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			out, err := install(t, "edge", tt.values)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "execution error at ") {
				t.Errorf("%s: got %v, want %q\n%.200s", tt.values, err, tt.want, out)
			}
		})
	}
	for release, want := range map[string]string{"my.edge": "such as my-edge-kproxy", "1edge": "such as edge-kproxy"} {
		if _, err := install(t, release, `{clusters: {o: {BROKERS}}}`); err == nil || !strings.Contains(err.Error(), "fullnameOverride is missing: "+release+"-kproxy, by the release's name, cannot be the name of a Service") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", release, err)
		}
		if _, err := install(t, release, `{fullnameOverride: edge, clusters: {o: {BROKERS}}}`); err != nil {
			t.Errorf("%s with fullnameOverride: %v", release, err)
		}
		if out, err := install(t, release, `{exposure: {mode: sidecar}, clusters: {o: {BROKERS}}}`); err != nil || strings.Contains(out, "kind: Service\n") {
			t.Errorf("%s as a sidecar: %v", release, err)
		}
	}
}

// Whole values that work: kproxy check accepts the configuration, the Service leads to the ports that kproxy
// binds, and manifests and notes have some lines.
func TestAcceptedValues(t *testing.T) {
	t.Parallel()
	const sniTwice = `clusters: {o: {BROKERS, SECRET, listener: {advertise: "k.example.com:31443", nodes: {sni: "b{node}.example.com:31443"}}}, p: {BROKERS, SECRET, listener: {advertise: "l.example.com:31443", nodes: {sni: "l{node}.example.com:31443"}}}}}`
	for i, tt := range []struct {
		values string
		want   []string
	}{
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS}}}`, []string{"bootstrap.servers=localhost:9092\n"}},
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, listener: {bind: ":9192"}}}}`, []string{"bootstrap.servers=localhost:9192\n"}},
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, listener: {bind: "127.0.0.2:9092", nodes: {ports: 9100-9109}}}, p: {BROKERS, listener: {bind: "127.0.0.3:9092", nodes: {ports: 9100-9109}}}}}`, []string{"bootstrap.servers=127.0.0.2:9092\n", "bootstrap.servers=127.0.0.3:9092\n"}},
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, listener: {bind: "127.0.0.2:9092"}}, p: {BROKERS, listener: {bind: "127.0.0.3:9092"}}}}`, []string{"bootstrap.servers=127.0.0.2:9092\n", "bootstrap.servers=127.0.0.3:9092\n"}},
		{`{exposure: {mode: sidecar}, clusters: {o: {BROKERS, listener: {bind: "127.0.0.1:9092", nodes: {ports: 9100-9109}}}, p: {BROKERS, listener: {bind: "[::1]:9092", nodes: {ports: 9100-9109}}}}}`, []string{"bootstrap.servers=127.0.0.1:9092\n", "bootstrap.servers=[::1]:9092\n"}},
		{`{exposure: {mode: gateway, gateway: {className: x}}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "o.example.com:443", nodes: {sni: "o{node}.example.com:443"}}}, p: {BROKERS, SECRET, listener: {bind: ":9094", advertise: "p.example.com:444", nodes: {sni: "p{node}.example.com:444"}}}}}`, []string{"In DNS, p.example.com and *.example.com lead to the Gateway's address:\n"}},
		{`{exposure: {mode: gateway, gateway: {parentRefs: [{name: g}]}}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "O.Example.com.:443", nodes: {sni: "o{node}.Example.com.:443"}}}, p: {BROKERS, SECRET, listener: {advertise: "p.example.com:443", nodes: {sni: "p{node}.example.com:443"}}}}}`, []string{"    - o.example.com\n    - '*.example.com'\n"}},
		{`{exposure: {mode: loadBalancer}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "k.example.com:443", nodes: {sni: "kafka.b{node}.example.com:443"}}}}}`, []string{"In DNS, k.example.com and kafka.bID.example.com lead to the Service's address, for the ID of each broker:\n"}},
		{`{exposure: {mode: loadBalancer}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "k.example.com:443", nodes: {sni: "b{node}:443"}}}}}`, []string{"In DNS, k.example.com and bID lead to"}},
		{`{exposure: {mode: loadBalancer}, clusters: {o: {BROKERS, ISSUER, listener: {advertise: "203.0.113.7:443", unknown_sni: bootstrap, nodes: {sni: "b{node}.example.com:443"}}}}}`, []string{"  dnsNames:\n    - '*.example.com'\n  ipAddresses:\n    - 203.0.113.7\n", "In DNS, *.example.com leads to the Service's address:\n"}},
		{`{exposure: {mode: loadBalancer}, clusters: {o: {BROKERS, ISSUER, listener: {advertise: "[2001:db8::7]:443", nodes: {ports: 9100-9109}}}}}`, []string{"  ipAddresses:\n    - 2001:db8::7\n", "\n\n  [2001:db8::7] is, or leads to the Service's address:\n"}},
		{`{exposure: {mode: loadBalancer}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "k.example.com:443", nodes: {ports: 9100-9109}}}}}`, []string{"In DNS, k.example.com leads to the Service's address:\n"}},
		{`{exposure: {mode: ports, ports: {type: LoadBalancer}}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "k.example.com:443", nodes: {sni: "b{node}.example.com:443"}}}}}`, []string{"k.example.com and *.example.com lead to the Service's address. Open in the firewall: port 443.\n"}},
		{`{exposure: {mode: ports, ports: {type: LoadBalancer}}, clusters: {o: {BROKERS, listener: {advertise: "k.example.com:443", nodes: {ports: 9100}}}}}`, []string{"k.example.com leads to the Service's address. Open in the firewall: ports 443 and 9100.\n"}},
		{`{exposure: {mode: ports, ports: {type: NodePort}}, ` + sniTwice, []string{"    nodePort: 31443\n", "l.example.com and *.example.com lead to the cluster's nodes. Open in the firewall: port 31443.\n"}},
		{`{exposure: {mode: clusterIP}, ` + sniTwice, []string{"bootstrap.servers=l.example.com:31443\n"}},
		{`{exposure: {mode: loadBalancer}, clusters: {o: {BROKERS, SECRET, listener: {advertise: "b07.example.com:443", nodes: {sni: "b{node}.example.com:443"}}}}}`, []string{"In DNS, b07.example.com and"}},
		{`{drain: {delay: "0"}, limits: {max_age: "0"}, clusters: {o: {BROKERS}}}`, []string{"terminationGracePeriodSeconds: 70\n"}},
		{`{clusters: {o: {BROKERS, listener: {nodes: {advertise_ports: 31100-31104}}}}}`, []string{"      targetPort: 9104\n"}},
		{`{clusters: {o: {BROKERS, listener: {login: {mechanisms: [], users_file: ""}}}}}`, []string{"security.protocol=PLAINTEXT\n"}},
		{`{admin: {bind: "[fd00::1]:9092"}, clusters: {o: {BROKERS, listener: {bind: "0.0.0.0:9092"}}}}`, []string{"      targetPort: 9092\n"}},
		{`{exposure: {mode: sidecar}, clusters: {o: {bootstrap: ["localhost:19092"], sasl: {mechanism: PLAIN, username: a, password_file: /run/secrets/kafka/password}}}}`, []string{"bootstrap.servers=localhost:9092\n"}},
		{`{clusters: {o: {BROKERS, listener: {allow: [10.0.0.0/8, "fd00::/8", "::1", "::ffff:192.0.2.1"], deny: [10.0.0.7]}}}}`, []string{"        - fd00::/8\n"}},
		{`{clusters: {o: {BROKERS, listener: {allow: [10.0.0.0/8, 11.0.0.0/8, 0.0.0.0/5, "8000::/1", "2001:db8:2::/47"], deny: ["0.0.0.0", "10.1.2.4/30"]}}}}`, []string{"        - 10.1.2.4/30\n"}},
		{`{clusters: {o: {bootstrap: ["localhost:19092"], via: "socks5://bastion:1080"}}}`, []string{"      - localhost:19092\n"}},
		{`{exposure: {mode: sidecar}, clusters: {o: {bootstrap: ["localhost:9092"], via: "socks5://bastion:1080", via_password_file: ""}}}`, []string{"      - localhost:9092\n"}},
		{`{clusters: {o: {bootstrap: ["localhost:9092"], dial: [{match: "localhost:*", to: "kafka.kafka:{port}"}]}}}`, []string{"kafka.kafka:{port}"}},
		{`{exposure: {mode: sidecar}, clusters: {o: {bootstrap: ["localhost:9092"], dial: [{match: "localhost:*", to: "kafka.kafka:{port}"}]}}}`, []string{"kafka.kafka:{port}"}},
		{`{clusters: {o: {BROKERS, listener: {proxy_protocol: {mode: required}}}}}`, []string{"mode: required\n"}},
		{`{clusters: {o: {BROKERS, keepalive: 32767s}}, limits: {max_age_jitter: 0.99, max_request_bytes: 2147483647, max_held_bytes: 1048576, max_connections: 10}}`, []string{"max_age_jitter: 0.99\n"}},
		{`{limits: {max_connections: 10}, clusters: {o: {BROKERS, listener: {limits: {max_connections: 10, max_per_source: 10}}}}}`, []string{"max_per_source: 10\n"}},
		{`{clusters: {o: {BROKERS, tls: {}, sasl: {mechanism: OAUTHBEARER, oauth: {token_url: "https://a.example.com/t", client_id: a, client_secret_file: /run/secrets/kafka/secret, scope: s}}}}}`, []string{"client_id: a\n"}},
		{`{clusters: {o: {BROKERS, sasl: {}, listener: {bind: ":9092", nodes: {ports: 9100-9109}}}, p: {BROKERS, sasl: {username: ""}, listener: {bind: ":9192", nodes: {ports: 9200-9209}}}, q: {BROKERS, sasl: {mechanism: PLAIN, username: a, password_file: /run/secrets/kafka/password, oauth: {token_file: ""}}, listener: {bind: ":9292", nodes: {ports: 9300-9309}}}}}`, []string{"mechanism: PLAIN\n"}},
		{`{clusters: {o: {BROKERS, tls: {}, sasl: {mechanism: OAUTHBEARER, oauth: {token_file: /run/secrets/kafka/token}}}}}`, []string{"mechanism: OAUTHBEARER\n"}},
		{`{podLabels: {app.kubernetes.io/version: "3"}, clusters: {o: {BROKERS}}}`, []string{`        app.kubernetes.io/version: "3"` + "\n"}},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			out, err := install(t, "edge", tt.values)
			if err != nil {
				t.Fatalf("%s: %v", tt.values, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			_, text, _ := strings.Cut(out, "\nMANIFEST:\n")
			text, _, _ = strings.Cut(text, "\nNOTES:\n")
			all := objects(t, text)
			leads(t, all, portsOf(t, checked(t, configuration(t, all))))
		})
	}
}
