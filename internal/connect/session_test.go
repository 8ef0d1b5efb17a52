package connect

import (
	"context"
	"crypto/tls"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"kproxy/internal/certlab"
	"kproxy/internal/kfakelab"
	"kproxy/internal/portlab"
	"kproxy/internal/via/viatest"
	"kproxy/proxy/config"
)

const patience = 20 * time.Second

// cluster starts brokers whose advertised names do not resolve, and returns their real
// addresses.
func cluster(t *testing.T, n int, secure *tls.Config, opts ...kfake.Opt) (addresses []string) {
	t.Helper()
	if secure != nil {
		opts = append(opts, kfake.TLS(secure))
	}
	return kfakelab.Start(t, n, kfakelab.Hidden, append(opts, kfake.SeedTopics(2, "t"))...).At
}

// options are those of a test's session, with its messages.
func options(t *testing.T, addresses ...string) (*Options, *strings.Builder) {
	t.Helper()
	var said strings.Builder
	host := portlab.Host(t)
	return &Options{
		Addresses: addresses, Listen: []string{host}, Advertise: host, StateDir: t.TempDir(), Timeout: 2 * time.Second,
		Say: func(line string) { said.WriteString(line + "\n") },
	}, &said
}

// run runs a session until the test ends. changes has an element for each reported
// change.
func run(t *testing.T, s *Session) (changes chan string) {
	t.Helper()
	changes = make(chan string, 10)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		err := s.Run(ctx, func() {
			var table strings.Builder
			_ = s.Table(&table)
			changes <- table.String()
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return changes
}

func start(t *testing.T, o *Options) *Session {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// produces writes a record to each partition through a session.
func produces(t *testing.T, s *Session, opts ...kgo.Opt) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(s.Bootstrap()), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for partition := range int32(2) {
		if err := c.ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: partition, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

var alice = kfake.Superuser("PLAIN", "alice", "alice-secret")

// A cluster that wants a login, which is left to the clients: the brokers are learned and
// located when the first client has logged in.
func TestClientsLogIn(t *testing.T) {
	t.Parallel()
	at := cluster(t, 2, nil, kfake.EnableSASL(), alice)
	o, _ := options(t, at[1], at[0])
	s := start(t, o)
	if !s.Cluster.NeedsLogin || len(s.Cluster.Brokers) != 0 {
		t.Fatalf("learned %+v without a login", s.Cluster)
	}
	if config := s.ClientConfig(); !strings.Contains(config, "SASL_PLAINTEXT") {
		t.Errorf("clients are given\n%s", config)
	}
	changes := run(t, s)
	produces(t, s, kgo.SASL(plain.Auth{User: "alice", Pass: "alice-secret"}.AsMechanism()))
	select {
	case table := <-changes:
		for _, address := range at { // before a login only ApiVersions v5 is served
			if !strings.Contains(table, address+"  "+string(ByAsking)) {
				t.Errorf("%s has no node:\n%s", address, table)
			}
		}
	case <-time.After(patience):
		t.Fatal("no change was reported")
	}
}

// kproxy logs in over TLS, and clients need neither.
func TestLogInOverTLS(t *testing.T) {
	files, ca := certlab.NewFolder(t), certlab.NewAuthority(t, "ca")
	secure := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, nil, "127.0.0.1", "b0.vpc.invalid", "b1.vpc.invalid").Pair}}
	at := cluster(t, 2, secure, kfake.EnableSASL(), alice)
	o, _ := options(t, at...)
	o.TLS = &config.UpstreamTLS{CA: files.Write(t, "ca.pem", ca.PEM)}
	o.SASL = &config.SASL{Mechanism: "PLAIN", Username: "alice", Password: config.Secret{Text: "alice-secret"}}
	s := start(t, o)
	if problems := s.Problems(); len(problems) > 0 || len(s.Cluster.Brokers) != 2 {
		t.Fatalf("%v %v", s.Cluster.Brokers, problems)
	}
	run(t, s)
	produces(t, s)
}

// Each case is a user's mistake, and the message about it.
func TestRefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	ca := certlab.NewAuthority(t, "ca")
	secure := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, nil, "127.0.0.1").Pair}}
	plainAt, secureAt := cluster(t, 1, nil, kfake.EnableSASL(), alice)[0], cluster(t, 1, secure)[0]
	login := func(o *Options) {
		o.SASL = &config.SASL{Mechanism: "PLAIN", Username: "alice", Password: config.Secret{Text: "wrong-secret"}}
	}
	for name, tt := range map[string]struct {
		at   string
		edit func(o *Options)
		want string
	}{
		"TLS is wanted":               {secureAt, func(*Options) {}, "the port wants TLS"},
		"TLS is wanted, with a login": {secureAt, login, "the port wants TLS"},
		"TLS is not there":            {plainAt, func(o *Options) { o.TLS = &config.UpstreamTLS{} }, "the port does not speak TLS"},
		"unknown authority":           {secureAt, func(o *Options) { o.TLS = &config.UpstreamTLS{} }, "--ca FILE"},
		"the certificate is another's": {secureAt, func(o *Options) {
			o.TLS = &config.UpstreamTLS{ServerName: "x", CA: certlab.NewFolder(t).Write(t, "ca.pem", ca.PEM)}
		}, "--server-name NAME"},
		"the login is refused": {plainAt, login, "log in by PLAIN"},
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := options(t, tt.at)
			tt.edit(o)
			s, err := Start(t.Context(), o)
			if err == nil {
				s.stop()
				t.Fatal("it starts")
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "wrong-secret") {
				t.Errorf("%v; want %q", err, tt.want)
			}
		})
	}
}

// Brokers whose own addresses work are dialled there; one address is enough.
func TestOwnAddressesWork(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(2, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	o, _ := options(t, c.ListenAddrs()[1])
	s := start(t, o)
	run(t, s)
	for node, how := range s.Cluster.paired.how {
		if how != ByItself {
			t.Errorf("node %d: %s", node, how)
		}
	}
	if len(s.Cluster.paired.how) != 3 {
		t.Errorf("%d nodes are located", len(s.Cluster.paired.how))
	}
	produces(t, s)
}

// A node that could not be reached at the start is looked for again.
func TestReachedLater(t *testing.T) {
	t.Parallel()
	at := cluster(t, 2, nil)
	forward := viatest.Relay(t, at[1])
	forward.Cut()
	o, _ := options(t, at[0], forward.Address)
	s := start(t, o)
	if problems := s.Problems(); len(problems) != 1 {
		t.Fatalf("%v, want node 1", problems)
	}
	forward.Open()
	s.located = time.Now().Add(-lookAgain)
	changes := run(t, s)
	select {
	case table := <-changes:
		if strings.Contains(table, string(Unreachable)) {
			t.Errorf("the table is\n%s", table)
		}
	case <-time.After(patience):
		t.Fatal("it was not")
	}
	produces(t, s)
}

// Certificates that have the brokers' own names alone: the user connects by those, with
// --dial for their addresses.
func TestTLSByTheBrokersNames(t *testing.T) {
	files, ca := certlab.NewFolder(t), certlab.NewAuthority(t, "ca")
	secure := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, nil, "b0.vpc.invalid", "b1.vpc.invalid").Pair}}
	at := cluster(t, 2, secure)
	o, _ := options(t, "b1.vpc.invalid:9092")
	o.TLS = &config.UpstreamTLS{CA: files.Write(t, "ca.pem", ca.PEM)}
	o.Dial = []config.DialRule{{Match: "b0.vpc.invalid:9092", To: at[0]}, {Match: "b1.vpc.invalid:9092", To: at[1]}}
	s := start(t, o)
	run(t, s)
	if problems := s.Problems(); len(problems) > 0 {
		t.Error(problems)
	}
	produces(t, s)
}
