// Package e2e tests kproxy with real Kafka brokers and real clients.
//
// It starts three brokers of the newest Kafka as processes on loopback. Each advertises a
// name that does not resolve, as a broker in a VPC does; kproxy, the usual binary,
// reaches them by dial rules and advertises addresses to the clients of each listener
// that work for them. A client that gets a broker's own address fails: no tool may print
// such a name, and the dialer of every franz-go client refuses and counts every address
// that kproxy does not advertise.
//
//	kcat, librdkafka ──┐ bob    127.0.0.1:P                 ┌── broker-1.vpc.invalid:9092
//	Kafka's Java tools ├─ fred  localhost:P   ── kproxy ────┼── broker-2.vpc.invalid:9092
//	franz-go           │ alice  127.0.0.2:P, by a NAT       └── broker-3.vpc.invalid:9092
//	                   └ many   one address for each broker
//
// The tests: kcat -L on each listener; records through librdkafka, Java
// and franz-go, counted and compared; groups that rebalance, in both protocols;
// leaders that move every 300 ms under load; nothing lost, by the history of a load;
// transactions; share groups; every
// node's endpoint leading to that broker alone; brokers and kproxy restarted
// under load; a drain that delivers the responses in flight; kproxy connect from a
// network that knows one address, by a login over TLS, and through sshd and commands.
//
// # Running it
//
//	go test -tags e2e -timeout 20m ./e2e/...
//
// It takes about four minutes and 2 GiB on two cores. It needs Go, Java 17 or newer, kcat,
// Prometheus, OpenSSH, nc, ip and nft (and root, for network namespaces), and, the
// first time, Maven with a way to its repository: Kafka's jars are kept in e2e/.cache.
// Nothing is ever skipped; a missing program is a failure that says what to install. Without
// the tag nothing is started.
//
//	E2E_LEADER_MOVES=60s   how long leaders move (20s)
//	E2E_RACE=1             builds kproxy with the race detector
//	E2E_KPROXY=FILE        tests this binary instead of building one
//	E2E_DIR=DIR            keeps the brokers' and kproxy's files and logs in there
//
// # Finding the way
//
// lab has the parts that are no tests: processes, Kafka's releases, network namespaces.
// workload is the load that history_test.go checks, and history is the checker.
// kafka.go and leaders.go are the cluster, kproxy.go and listeners.go the proxy under
// test, clients.go and franz.go the clients, load.go and reader.go their work while a
// test acts. Each test starts a kproxy of its own and shares the cluster, on topics of
// its own. A test that fails prints kproxy's log and the brokers'.
package e2e
