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
	brokers = 3
	port    = 9092
	// kproxyFar is where kproxy is when it is near the brokers.
	kproxyFar = "10.213.20.2"
	// elsewhere is what is added to a broker's address when it moves.
	elsewhere = 10
)

// site is what all runs share.
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
	kproxy    string // the binary
	run       string // when, and of which commit it is
	stepping  string // the same with a clock that steps
	moved     map[int]bool
	topics    int      // that were made
	topic     string   // the last of them
	calm      *outcome // of a direct run in which nothing happens
}

// start makes the networks and the cluster.
func (s *site) start(ctx context.Context) (err error) {
	s.names, s.moved = &lab.Names{}, map[int]bool{}
	if s.dir, err = os.MkdirTemp(s.Dir, "kproxy-faults-"); err != nil {
		return err
	}
	s.run = today() // what is committed meanwhile is not what runs
	if s.kproxy, err = lab.BuildKproxy(ctx, s.dir); err != nil {
		return err
	}
	if s.stepping, err = buildStepping(ctx, s.dir); err != nil {
		return err
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
		Clients: []lab.ClientListener{{
			Name: "CLIENT", Protocol: "PLAINTEXT",
			Bind:      func(id int) string { return lab.HostPort(s.address(id), port) },
			Advertise: func(id int) string { return lab.HostPort(brokerName(id), port) },
		}},
		Properties: func(int) map[string]string { return map[string]string{"offsets.topic.num.partitions": "6"} },
	})
	if err != nil {
		return fmt.Errorf("start Kafka: %w\n%s", err, s.cluster.Complaints())
	}
	s.progress("%d brokers of Kafka %s", brokers, lab.Newest)
	return nil
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
	for id := 1; id <= brokers; id++ {
		addresses = append(addresses, s.address(id), fmt.Sprintf("10.213.20.%d", 10+elsewhere+id))
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

// Close ends everything, however much of it there is.
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
	if s.Dir == "" && s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// progress tells whoever waits.
func (s *site) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %4.0fs  %s\n", time.Now().Format(time.TimeOnly), time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func brokerName(id int) string { return fmt.Sprintf("broker-%d.vpc.invalid", id) }

// address is where a broker's listener for clients is.
func (s *site) address(id int) string {
	if s.moved[id] {
		id += elsewhere
	}
	return fmt.Sprintf("10.213.20.%d", 10+id)
}

// resolve makes the brokers' names lead to where they are.
func (s *site) resolve() {
	names := map[string]string{}
	for id := 1; id <= brokers; id++ {
		names[brokerName(id)] = s.address(id)
	}
	s.names.Set(names)
}

// seeds are the brokers' addresses for clients.
func seeds() []string {
	var seeds []string
	for id := 1; id <= brokers; id++ {
		seeds = append(seeds, lab.HostPort(brokerName(id), port))
	}
	return seeds
}

// mend undoes what a fault may have left, and puts the leaders where they belong.
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

// newTopic makes a topic that every broker knows. A broker that is behind with the news
// would tell a consumer that there is none, and the consumer would believe it for
// minutes. That of the run before goes only now: brokers whose coordinators move cannot
// take the news of it for seconds.
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
	if err := s.cluster.NewTopic(ctx, partitions, nil, s.topic); err != nil {
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

// wait waits: the faults of this program are made of time.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
