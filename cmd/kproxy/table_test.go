package main

import (
	"strings"
	"testing"

	"kproxy/internal/api"
	"kproxy/proxy"
)

// serve and topology show the same in DIALLED: the address, also if it is the broker's own, or that there is none.
func TestDialledIsTheSame(t *testing.T) {
	for _, tt := range []struct{ dialled, want string }{{"b0:9092", "b0:9092"}, {"10.0.0.7:9092", "10.0.0.7:9092"}, {"", "none"}} {
		var table, topology strings.Builder
		if err := printTable(&table, []proxy.Endpoint{{Bind: "127.0.0.1:9100", Advertised: "fred:9100", Dialled: tt.dialled}}); err != nil {
			t.Fatal(err)
		}
		if err := printNodes(&topology, []api.Node{{Broker: "b0:9092", Bind: "127.0.0.1:9100", Advertised: "fred:9100", Dialled: tt.dialled}}); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(topology.String()), "\n")
		cells := strings.Fields(lines[len(lines)-1])
		if got := cells[len(cells)-2]; got != tt.want || !strings.HasSuffix(table.String(), " "+tt.want+"\n") {
			t.Errorf("want %s:\n%s%s", tt.want, &table, &topology)
		}
	}
}

// A cluster that is down keeps its place in the table.
func TestPrintTable(t *testing.T) {
	var got strings.Builder
	err := printTable(&got, []proxy.Endpoint{
		{Cluster: "audit", Listener: "fred", Bootstrap: "localhost:9093", Node: proxy.NoNode},
		{Cluster: "orders", Listener: "fred", Bootstrap: "localhost:9092", Node: 0, Bind: "127.0.0.1:9100", Advertised: "localhost:9100", Dialled: "b0.internal:9092"},
		{Cluster: "orders", Listener: "fred", Bootstrap: "localhost:9092", Node: 1001, Bind: "127.0.0.1:9150", Advertised: "localhost:9150", Dialled: "10.0.0.7:9092"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `
cluster audit, listener fred: bootstrap at localhost:9093
  NODE  BIND  ADVERTISED  DIALLED
  ?     -     -           no broker has answered yet
cluster orders, listener fred: bootstrap at localhost:9092
  NODE  BIND            ADVERTISED      DIALLED
  0     127.0.0.1:9100  localhost:9100  b0.internal:9092
  1001  127.0.0.1:9150  localhost:9150  10.0.0.7:9092
`
	if got.String() != want[1:] {
		t.Errorf("got\n%swant%s", got.String(), want)
	}
}

// Names that do not fit beside each other have lines of their own: nothing is cut, and
// nothing wraps on a terminal of 80 columns.
func TestPrintTableOfLongNames(t *testing.T) {
	var got strings.Builder
	err := printTable(&got, []proxy.Endpoint{
		{Cluster: "orders", Listener: "alice", Bootstrap: "never-gonna-give-you-up:29094", Node: 0, Bind: "127.0.0.1:29200", Advertised: "never-gonna-give-you-up:29200", Dialled: "ip-172-31-18-160.us-west-2.compute.internal:9092"},
		{Cluster: "orders", Listener: "alice", Bootstrap: "never-gonna-give-you-up:29094", Node: 1, Bind: "127.0.0.1:29201", Advertised: "never-gonna-give-you-up:29201", Dialled: "10.0.0.7:9092"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `
cluster orders, listener alice: bootstrap at never-gonna-give-you-up:29094
  NODE  BIND             ADVERTISED
  0     127.0.0.1:29200  never-gonna-give-you-up:29200
    dialled ip-172-31-18-160.us-west-2.compute.internal:9092
  1     127.0.0.1:29201  never-gonna-give-you-up:29201
    dialled 10.0.0.7:9092
`
	if got.String() != want[1:] {
		t.Errorf("got\n%swant%s", got.String(), want)
	}
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct{ first, last, want string }{
		{"127.0.0.1:9092", "127.0.0.1:9092", "127.0.0.1:9092"},
		{"127.0.0.1:9100", "127.0.0.1:9199", "127.0.0.1:9100-9199"},
		{"127.0.1.1:9092", "127.0.1.254:9092", "127.0.1.{1-254}:9092"},
		{"127.0.1.10:9092", "127.0.1.19:9092", "127.0.1.{10-19}:9092"},
		{"b1.example.com:9092", "b9.example.com:9092", "b{1-9}.example.com:9092"},
		{"[fd00::1]:9092", "[fd00::ff]:9092", "[fd00::1]:9092 to [fd00::ff]:9092"},
		{"a.example.com:9092", "b.example.com:9093", "a.example.com:9092 to b.example.com:9093"},
	} {
		if got := addresses(tt.first, tt.last); got != tt.want {
			t.Errorf("addresses(%s, %s) = %s, want %s", tt.first, tt.last, got, tt.want)
		}
	}
}
