//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/lab"
	"kproxy/internal/certlab"
)

const (
	brokers    = 3
	host       = "127.1.1.1" // of kproxy's listeners
	bootstrap  = 19092
	firstNode  = 19101
	edgePort   = 19443
	admin      = host + ":9400"
	domain     = ".soak.invalid" // of the names that the TLS listener advertises
	edge       = "kafka" + domain
	partitions = 6
)

// site is the network of a run with the brokers and kproxy.
type site struct {
	options
	dir      string
	began    time.Time
	revision string // of the binary: a later commit is not the version that runs
	net      *lab.Namespace
	cluster  *lab.Cluster
	proc     *lab.Process
	files    certlab.Folder
	ca       *certlab.Authority
	cert     string
	key      string

	restarting atomic.Bool // a broker is stopped, or not yet back

	mu     sync.Mutex // guards the following
	faults []string
	missed int // faults that are not in the list
	counts map[string]int
}

// mostFaults bounds the list of faults.
const mostFaults = 50

// fault adds a fault of the run, unless the run is over. A dial can end by the deadline of
// the run before ctx does.
func (s *site) fault(ctx context.Context, format string, args ...any) {
	if end, ok := ctx.Deadline(); ctx.Err() != nil || ok && !time.Now().Before(end) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) == mostFaults {
		s.missed++
		return
	}
	text := fmt.Sprintf(format, args...)
	s.faults = append(s.faults, text)
	s.progress("FAULT: %s", text)
}

// count counts an event of the run.
func (s *site) count(what string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what] += n
}

func (s *site) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %5.0fs  %s\n", time.Now().Format(time.TimeOnly), time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// start makes the network, starts the brokers and kproxy.
func (s *site) start(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp(s.Dir, "kproxy-soak-"); err != nil {
		return err
	}
	s.revision = lab.Revision()
	binary, err := s.build(ctx)
	if err != nil {
		return err
	}
	if s.net, err = lab.NewNamespace("kp-soak"); err != nil {
		return err
	}
	if err := s.net.Hosts(nil); err != nil {
		return err
	}
	if err := s.certificates(); err != nil {
		return err
	}
	if err := s.startCluster(ctx); err != nil {
		return err
	}
	s.progress("%d brokers of Kafka %s", brokers, lab.Newest)
	s.proc, err = lab.StartKproxy(ctx, binary, s.dir, s.net, s.yaml(usual()))
	if err != nil {
		return err
	}
	return lab.Poll(ctx, time.Minute, func() error {
		if err := s.proc.Alive(); err != nil {
			return lab.Permanent(err)
		}
		_, err := s.net.Get(ctx, admin, "/readyz")
		return err
	})
}

func (s *site) startCluster(ctx context.Context) error {
	release, err := lab.NewRelease(ctx, lab.Newest)
	if err != nil {
		return err
	}
	java, err := lab.NewJava(s.dir)
	if err != nil {
		return err
	}
	on := func(port int) func(int) string { return func(id int) string { return brokerAt(id, port) } }
	s.cluster, err = lab.StartCluster(ctx, lab.ClusterConfig{
		Release: release, Java: java, Size: brokers, Dir: filepath.Join(s.dir, "kafka"), Place: s.net,
		Internal: on(9090), Controller: on(9091),
		Clients: []lab.ClientListener{{
			Name: "CLIENT", Protocol: "PLAINTEXT", Bind: on(9092),
			Advertise: func(id int) string { return fmt.Sprintf("broker-%d.vpc.invalid:9092", id) },
		}},
		Properties: func(int) map[string]string { return map[string]string{"offsets.topic.num.partitions": "6"} },
	})
	if err != nil {
		return fmt.Errorf("start Kafka: %w\n%s", err, s.cluster.Complaints())
	}
	return nil
}

func brokerAt(id, port int) string { return lab.HostPort(fmt.Sprintf("127.2.1.%d", id), port) }

// Close ends everything that was started.
func (s *site) Close() {
	if s.proc != nil {
		s.proc.Kill()
	}
	if s.cluster != nil {
		s.cluster.Close()
	}
	if s.net != nil {
		s.net.Close()
	}
	if s.Dir == "" && s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// way is a way for clients to kproxy.
type way struct {
	name string
	seed string
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (w way) options() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(w.seed), kgo.Dialer(w.dial)}
}

// ways are the plaintext listener with a port for each broker, and the TLS listener with a
// server name for each. A client that dials another address has bypassed kproxy.
func (s *site) ways() []way {
	endpoints := []string{lab.HostPort(host, bootstrap)}
	for id := range brokers {
		endpoints = append(endpoints, lab.HostPort(host, firstNode+id))
	}
	plain := func(ctx context.Context, network, address string) (net.Conn, error) {
		if !slices.Contains(endpoints, address) {
			return nil, s.bypass(ctx, address)
		}
		return s.net.Dial(ctx, network, address)
	}
	secure := func(ctx context.Context, _, address string) (net.Conn, error) {
		name, _, err := net.SplitHostPort(address)
		if err != nil || !strings.HasSuffix(name, domain) {
			return nil, s.bypass(ctx, address)
		}
		return s.handshake(ctx, name)
	}
	return []way{
		{"plain", endpoints[0], plain},
		{"tls", lab.HostPort(edge, edgePort), secure},
	}
}

// handshake connects to the TLS listener.
func (s *site) handshake(ctx context.Context, name string) (*tls.Conn, error) {
	raw, err := s.net.Dial(ctx, "tcp", lab.HostPort(host, edgePort))
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name, RootCAs: s.ca.Pool()})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return conn, nil
}

func (s *site) bypass(ctx context.Context, address string) error {
	err := fmt.Errorf("%s is no address of kproxy's", address)
	s.fault(ctx, "a client dialled it: %v", err)
	return err
}

// direct is the way past kproxy.
func (s *site) direct() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(s.cluster.Seeds()...), kgo.Dialer(s.net.Dial)}
}
