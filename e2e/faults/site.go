//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"kproxy/e2e/lab"
)

const (
	brokers  = 3
	port     = 9092
	saslPort = 9095
	// kproxyFar is where kproxy is when it is near the brokers.
	kproxyFar = "10.213.20.2"
	// elsewhere is added to a broker's address when it moves.
	elsewhere = 10
)

// site has the networks and the cluster, which all runs share.
type site struct {
	options
	dir       string
	began     time.Time
	near, vpc *lab.Namespace
	link      *lab.Tun
	names     *lab.Names
	servers   []net.PacketConn
	cluster   *lab.Cluster
	java      lab.Java
	kproxy    string              // the binary
	run       string              // when, and of which commit it is
	machine   string              // where the rows are made
	stepping  string              // the same with a clock that steps
	moved     map[int]bool        // seats whose name leads elsewhere
	seat      map[int]int         // by node, where it is not the node's own number
	pair      [2]int32            // the brokers that move, once they are there (see grow)
	straight  map[string]*outcome // direct runs of movements, by movement.asDirect
	topics    int                 // that were made
	topic     string              // the last of them
	calm      *outcome            // of a direct run in which nothing happens
	agent     *agent              // nil: sockets are ordinary ones
}

// start makes the networks and the cluster.
func (s *site) start(ctx context.Context) (err error) {
	s.names, s.moved, s.seat, s.straight = &lab.Names{}, map[int]bool{}, map[int]int{}, map[string]*outcome{}
	if s.dir, err = os.MkdirTemp(s.Dir, "kproxy-faults-"); err != nil {
		return err
	}
	if s.Sockhash {
		if s.agent, err = startAgent(); err != nil {
			return err
		}
	}
	s.run, s.machine = today(), machine() // a later commit is not the version that runs
	if s.kproxy, err = lab.BuildKproxy(ctx, s.dir); err != nil {
		return err
	}
	if s.wants(clockSteps()) { // it compiles everything anew
		if s.stepping, err = buildStepping(ctx, s.dir); err != nil {
			return err
		}
	}
	if err := s.networks(ctx); err != nil {
		return err
	}
	if s.java, err = lab.NewJava(s.dir); err != nil {
		return err
	}
	release, err := lab.NewRelease(ctx, lab.Newest)
	if err != nil {
		return err
	}
	at := func(port int) func(int) string {
		return func(id int) string { return lab.HostPort(fmt.Sprintf("10.213.20.%d", 10+id), port) }
	}
	s.cluster, err = lab.StartCluster(ctx, lab.ClusterConfig{
		Release: release, Java: s.java, Size: brokers, Dir: filepath.Join(s.dir, "kafka"), Place: s.vpc,
		Internal: at(9093), Controller: at(9094),
		Clients:    []lab.ClientListener{s.listener("CLIENT", "PLAINTEXT", port), s.listener("SASL", "SASL_PLAINTEXT", saslPort)},
		Properties: func(int) map[string]string { return properties() },
	})
	if err != nil {
		return fmt.Errorf("start Kafka: %w\n%s", err, s.cluster.Complaints())
	}
	s.progress("%d brokers of Kafka %s", brokers, lab.Newest)
	return nil
}

// listener is one for clients, at the broker's seat.
func (s *site) listener(name, protocol string, port int) lab.ClientListener {
	return lab.ClientListener{
		Name: name, Protocol: protocol,
		Bind:      func(id int) string { return lab.HostPort(s.address(s.seatOf(id)), port) },
		Advertise: func(id int) string { return lab.HostPort(brokerName(s.seatOf(id)), port) },
	}
}

// properties are the brokers'.
func properties() map[string]string {
	const module = "org.apache.kafka.common.security."
	return map[string]string{
		"offsets.topic.num.partitions": "6",
		// A follower that asks a leader too early asks again at once: acks=all waits for it.
		"replica.fetch.backoff.ms":                          "100",
		"sasl.enabled.mechanisms":                           mechanism + ",PLAIN",
		"listener.name.sasl.scram-sha-512.sasl.jaas.config": module + "scram.ScramLoginModule required;",
		"listener.name.sasl.plain.sasl.jaas.config":         fmt.Sprintf("%splain.PlainLoginModule required user_%s=%q;", module, username, password),
	}
}

// networks makes the two namespaces, the link and the name servers.
func (s *site) networks(ctx context.Context) (err error) {
	if s.near, err = lab.NewNamespace("kproxy-near"); err != nil {
		return err
	}
	if s.vpc, err = lab.NewNamespace("kproxy-vpc"); err != nil {
		return err
	}
	if s.link, err = lab.NewTun(s.near, "10.213.20.129/24", s.vpc, "10.213.20.1/24"); err != nil {
		return err
	}
	addresses := []string{kproxyFar}
	for id := 1; id <= mostNodes; id++ { // elsewhere is among them
		addresses = append(addresses, s.address(id))
	}
	for _, address := range addresses {
		if err := s.vpc.Run("ip", "addr", "add", address+"/32", "dev", "lo"); err != nil {
			return err
		}
	}
	s.resolve()
	for _, n := range []*lab.Namespace{s.near, s.vpc} {
		if err := n.Hosts(nil); err != nil {
			return err
		}
		server, err := s.names.Serve(ctx, n)
		if err != nil {
			return err
		}
		s.servers = append(s.servers, server)
	}
	return nil
}

// Close ends everything that was started.
func (s *site) Close() {
	if s.cluster != nil {
		s.cluster.Close()
	}
	for _, server := range s.servers {
		_ = server.Close()
	}
	if s.link != nil {
		_ = s.link.Close()
	}
	for _, n := range []*lab.Namespace{s.near, s.vpc} {
		if n != nil {
			n.Close()
		}
	}
	s.agent.Close()
	if s.Dir == "" && s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// progress shows how far the run is.
func (s *site) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %4.0fs  %s\n", time.Now().Format(time.TimeOnly), time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// A seat is a name and an address for a broker's listeners for clients. Node 1 is at seat
// 1, and so on, until brokers move.

func brokerName(seat int) string { return fmt.Sprintf("broker-%d.vpc.invalid", seat) }

func (s *site) seatOf(id int) int {
	if seat := s.seat[id]; seat != 0 {
		return seat
	}
	return id
}

// address is where a seat's name leads.
func (s *site) address(seat int) string {
	if s.moved[seat] {
		seat += elsewhere
	}
	return fmt.Sprintf("10.213.20.%d", 10+seat)
}

// resolve makes the brokers' names resolve to their addresses.
func (s *site) resolve() {
	names := map[string]string{}
	for seat := 1; seat <= seats; seat++ {
		names[brokerName(seat)] = s.address(seat)
	}
	s.names.Set(names)
}

// seeds are the addresses for clients of the brokers that are always there.
func seeds() []string { return firstSeats(brokers, port) }

// firstSeats are the addresses of the first seats.
func firstSeats(n, port int) []string {
	var all []string
	for seat := 1; seat <= n; seat++ {
		all = append(all, lab.HostPort(brokerName(seat), port))
	}
	return all
}

// mend undoes the remaining effects of a fault, and moves the leaders back.
func (s *site) mend(ctx context.Context) error {
	s.link.Heal()
	s.link.Counts() // of the run before
	s.resolve()
	if err := s.cluster.WaitWhole(ctx); err != nil {
		return err
	}
	all, err := s.cluster.Admin.ListTopicsWithInternal(ctx)
	if err != nil {
		return err
	}
	_, err = s.cluster.Admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, all.TopicsSet())
	return errors.Join(err, s.cluster.WaitWhole(ctx))
}

// newTopic makes a topic that every broker knows. A broker that does not know it yet
// would report it as missing, and a consumer would rely on that for minutes. The topic of
// the run before is deleted only now: brokers whose coordinators move delay metadata
// updates for seconds.
func (s *site) newTopic(ctx context.Context) (string, error) {
	if s.topic != "" {
		if _, err := s.cluster.Admin.DeleteTopic(ctx, s.topic); err != nil {
			return "", err
		}
	}
	s.topics++
	s.topic = fmt.Sprintf("run-%d", s.topics)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	config := map[string]*string{"message.timestamp.type": new("LogAppendTime")} // for a client that does not report it
	if err := s.cluster.NewTopic(ctx, partitions, config, s.topic); err != nil {
		return "", err
	}
	return s.topic, s.cluster.WaitWhole(ctx)
}

// bounce ends a broker, waits, and starts it again.
func (s *site) bounce(ctx context.Context, away time.Duration, ids ...int32) error {
	for _, id := range ids {
		if err := s.cluster.Broker(id).Kill(); err != nil {
			return err
		}
	}
	if err := wait(ctx, away); err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.cluster.Broker(id).Start(); err != nil {
			return err
		}
	}
	return s.cluster.WaitWhole(ctx)
}

// wait waits: the faults of this program take time.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
