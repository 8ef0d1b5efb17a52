package connect

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/kfakelab"
	"kproxy/internal/portlab"
	"kproxy/internal/via/viatest"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// balance starts a load balancer for TCP, which sends each connection where next says.
func balance(t *testing.T, next func() string) (address string) {
	t.Helper()
	return viatest.NewGate(t, func(conn net.Conn) {
		broker, err := new(net.Dialer).DialContext(context.Background(), "tcp", next())
		if err != nil {
			return
		}
		defer broker.Close()
		var both sync.WaitGroup
		both.Go(func() {
			_, _ = io.Copy(broker, conn)
			_ = broker.(*net.TCPConn).CloseWrite()
		})
		_, _ = io.Copy(conn, broker)
		_ = conn.Close()
		both.Wait()
	}).Address
}

// inTurn takes turns, as a balancer's round robin does.
func inTurn(at []string) func() string {
	var turn atomic.Int64
	return func() string { return at[int(turn.Add(1))%len(at)] }
}

// outOfReach starts brokers that advertise addresses where nothing listens.
func outOfReach(t *testing.T, n int) (at []string) {
	t.Helper()
	return kfakelab.Start(t, n, func(at []string) []string {
		closed := make([]string, len(at))
		for i := range closed {
			closed[i] = portlab.Closed(t)
		}
		return closed
	}, kfake.SeedTopics(2, "t")).At
}

// advertised starts brokers that all advertise the balancer in front of them.
func advertised(t *testing.T, n int) (balancer string) {
	t.Helper()
	var next atomic.Pointer[func() string] // set once the brokers listen
	balancer = balance(t, func() string { return (*next.Load())() })
	turns := inTurn(kfakelab.Start(t, n, kfakelab.All(balancer), kfake.SeedTopics(2, "t")).At)
	next.Store(&turns)
	return balancer
}

// Behind a load balancer's address any broker responds, so that it belongs to no node: it
// is used for bootstrap only, and a node is dialled at its advertised address, if that
// works, or nowhere. The user's rules lead to the nodes.
func TestBehindALoadBalancer(t *testing.T) {
	at := cluster(t, 3, nil)
	o, said := options(t, balance(t, inTurn(at)))
	s := start(t, o)
	if problems := s.Problems(); len(problems) != 3 || len(s.Cluster.paired.at) != 0 {
		t.Errorf("%v are paired, and the problems are %v; want none and all three", s.Cluster.paired.at, problems)
	}
	if want := "nodes 0, 1, 2 respond at " + o.Addresses[0] + " in turn, as behind a load balancer; it is used for bootstrap only"; !strings.Contains(said.String(), want) {
		t.Errorf("said %s; want %s", said, want)
	}
	s.stop()

	o.Nodes = map[int32]string{0: at[0], 1: at[1]}
	o.Dial = []config.DialRule{{Match: "b2.*:9092", To: at[2]}}
	s = start(t, o)
	run(t, s)
	if problems := s.Problems(); len(problems) > 0 {
		t.Errorf("with rules for all: %v", problems)
	}
	produces(t, s)
}

// In no run does connect take a load balancer's address for a node's: neither if the user
// names it once or three times, nor if the brokers themselves advertise it. Each broker
// has its turn, in any order of connections.
func TestNeverDialledAtALoadBalancer(t *testing.T) {
	t.Parallel()
	hidden, two := outOfReach(t, 3), outOfReach(t, 2)
	once := balance(t, inTurn(hidden))
	for name, addresses := range map[string][]string{
		"one address":              {once},
		"the same thrice":          {once, once, once},
		"three balancers":          {balance(t, inTurn(hidden)), balance(t, inTurn(hidden)), balance(t, inTurn(hidden))},
		"two brokers":              {balance(t, inTurn(two))},
		"that brokers advertise":   {advertised(t, 3)},
		"at random, three brokers": {balance(t, func() string { return hidden[rand.IntN(len(hidden))] })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range 100 {
				o, _ := options(t, addresses...)
				o.Timeout = 10 * time.Second
				c, err := o.Learn(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if len(c.paired.at) > 0 || len(c.errs) != len(c.Brokers) {
					t.Fatalf("run %d: paired %v, %v; %d of %d are not reached", i, c.paired.at, c.paired.how, len(c.errs), len(c.Brokers))
				}
			}
		})
	}
}

// Where brokers advertise balancers, a session does not dial one for a node either.
func TestNoSessionToALoadBalancer(t *testing.T) {
	var next atomic.Pointer[func() string] // set once the brokers listen
	anyBroker := func() string { return (*next.Load())() }
	balancers := []string{balance(t, anyBroker), balance(t, anyBroker)}
	turns := inTurn(kfakelab.Start(t, 2, func([]string) []string { return balancers }, kfake.SeedTopics(2, "t")).At)
	next.Store(&turns)
	o, _ := options(t, balancers[0])
	s := start(t, o)
	run(t, s)
	if got := fmt.Sprint(s.Cluster.admitted()); got != "["+noBroker+"]" {
		t.Errorf("admitted: %s", got)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Bootstrap()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if m, err := kadm.NewClient(client).Metadata(ctx); err != nil || len(m.Brokers) != 2 {
		t.Fatalf("%+v, %v", m, err)
	}
	for node := range int32(2) { // whose addresses are known by now
		if _, err := client.Broker(int(node)).Request(ctx, kmsg.NewPtrListGroupsRequest()); err == nil {
			t.Errorf("a broker responds for node %d", node)
		}
	}
}

func TestSeenAt(t *testing.T) {
	for _, tt := range []struct {
		seen seenAt
		only int32
		text string
	}{
		{seenAt{nodes: []int32{4}}, 4, "nodes 4"},
		{seenAt{nodes: []int32{4}, quiet: true}, proxy.NoNode, "nodes 4"},
		{seenAt{nodes: []int32{0, 2}}, proxy.NoNode, "nodes 0, 2"},
		{seenAt{nodes: []int32{0, 1, 2, 3, 4, 5, 6}}, proxy.NoNode, "nodes 0, 1, 2, 3, 4 and 2 more"},
		{seenAt{quiet: true}, proxy.NoNode, "nodes "},
	} {
		if got, text := tt.seen.only(), tt.seen.String(); got != tt.only || text != tt.text {
			t.Errorf("got %d, %q; want %d, %q", got, text, tt.only, tt.text)
		}
	}
	for brokers, want := range map[int]int{1: 12, 2: 12, 3: 8, 6: 4, 12: 2, 100: 2} {
		if got := new(Options).looks(brokers); got != want {
			t.Errorf("%d brokers: %d looks, want %d", brokers, got, want)
		}
	}
	if got := (&Options{Via: config.Via{URL: "exec:kubectl exec -i x -- nc {host} {port}"}}).looks(2); got != 2 {
		t.Errorf("through a program: %d looks, want 2", got)
	}
}
