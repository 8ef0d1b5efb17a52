package connect

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"kproxy/internal/portlab"
)

// A cluster decides how many brokers it names, not how many are tried, nor how much is printed
// about them.
func TestConnectToThousandsOfBrokers(t *testing.T) {
	const many = 9000
	_, text, err := net.SplitHostPort(portlab.Closed(t))
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	var all []Broker
	for n := range int32(many) {
		all = append(all, Broker{Node: n, Host: fmt.Sprintf("127.0.%d.%d", 1+n/250, 1+n%250), Port: int32(port)})
	}
	o, said := options(t, byHand(t, naming(func() []Broker { return all })))
	o.Nodes = map[int32]string{many - 1: o.Addresses[0]}
	c, err := o.Learn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Brokers) != many || len(c.errs) != maxTried {
		t.Errorf("%d brokers, %d were tried, want %d", len(c.Brokers), len(c.errs), maxTried)
	}
	for node, want := range map[int32]How{many - 1: BySaying, many - 2: Untried} {
		if how, err := c.How(node); how != want || err != nil {
			t.Errorf("node %d: %q, %v, want %q", node, how, err, want)
		}
	}
	s := &Session{Cluster: c, options: o, Ports: Ports{Base: 20000, Size: fewNodes}.with(c.Brokers)}
	var table strings.Builder
	if err := s.Table(&table); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(table.String(), "\n"); n != 1+maxTried+1 || !strings.Contains(table.String(), "and 8900 more nodes") {
		t.Errorf("the table has %d lines:\n%.300s", n, table.String())
	}
	if problems := s.Problems(); len(problems) != maxProblems+1 || !strings.HasPrefix(problems[maxProblems], "80 more nodes cannot be reached") {
		t.Errorf("%d problems, the last one is %q", len(problems), problems[len(problems)-1])
	}
	if n := strings.Count(said.String(), "\n"); n > 5 {
		t.Errorf("it says %d lines", n)
	}
}

// The ports of a cluster are few enough to be opened, and to be remembered.
func TestPortsAreFew(t *testing.T) {
	o, _ := options(t)
	o.Port = 20000
	p, _, err := o.ports(&Cluster{Brokers: make([]Broker, 9000)})
	if err != nil || p.Size != mostNodes || !p.valid() {
		t.Errorf("%d ports, valid: %t, %v", p.Size, p.valid(), err)
	}
}

// A node without a port restarts the proxy only if there is one for it.
func TestNodesWithoutAPortRestartNothing(t *testing.T) {
	many := make([]Broker, 30)
	for i := range many {
		many[i].Node = int32(i)
	}
	few := many[:2]
	for _, tt := range []struct {
		had, now []Broker
		want     bool
	}{{few, few, false}, {few, many, true}, {many, many, false}} {
		s := &Session{Cluster: &Cluster{Brokers: tt.had}, Ports: Ports{Base: 20000, Size: fewNodes}.with(tt.had)}
		c := &Cluster{Brokers: tt.now}
		if got := s.restartsFor(c, s.Ports.with(tt.now)); got != tt.want {
			t.Errorf("from %d to %d brokers: %t", len(tt.had), len(tt.now), got)
		}
	}
}
