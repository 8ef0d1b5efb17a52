//go:build e2e

package e2e

import (
	"fmt"
	"testing"

	"kproxy/e2e/lab"
)

// listener is one of kproxy's listeners, with the addresses that its clients must get.
type listener struct {
	Name      string
	YAML      string // its entry in kproxy's configuration
	Advertise string // the bootstrap address that its clients use

	told func(node int32) string // the address of a broker, for its clients
}

// Told are the addresses that every client of l must see, by node id.
func (l listener) Told() map[int32]string {
	told := make(map[int32]string)
	for id := int32(1); id <= brokerCount; id++ {
		told[id] = l.told(id)
	}
	return told
}

// newListeners makes the three users of the story, and one whose brokers have
// an address each:
//
//   - Bob's clients use the address that kproxy listens on.
//   - Fred's use another name for it, localhost.
//   - Alice's come through a NAT: another address and other ports, forwarded.
func newListeners(t *testing.T, ports *lab.Ports) []listener {
	t.Helper()
	block := func(host string) int {
		base, err := ports.Block(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		return base
	}
	bob, fred, many := block("127.0.0.1"), block("127.0.0.1"), block("127.0.0.4")
	alice, outside := block("127.0.0.3"), block("127.0.0.2")
	for i := range brokerCount + 1 { // the bootstrap endpoint and each node's
		forward(t, lab.HostPort("127.0.0.2", outside+i), lab.HostPort("127.0.0.3", alice+i))
	}
	onPort := func(host string, base int) func(int32) string {
		return func(node int32) string { return lab.HostPort(host, base+int(node)) }
	}
	return []listener{
		{
			Name:      "bob",
			YAML:      fmt.Sprintf("{bind: 127.0.0.1:%d, nodes: {ports: %s, first_node: 1}}", bob, nodePorts(bob)),
			Advertise: lab.HostPort("127.0.0.1", bob),
			told:      onPort("127.0.0.1", bob),
		},
		{
			Name: "fred",
			YAML: fmt.Sprintf("{bind: 127.0.0.1:%d, advertise: localhost:%[1]d, nodes: {ports: %s, first_node: 1}}",
				fred, nodePorts(fred)),
			Advertise: lab.HostPort("localhost", fred),
			told:      onPort("localhost", fred),
		},
		{
			Name: "alice",
			YAML: fmt.Sprintf("{bind: 127.0.0.3:%d, advertise: 127.0.0.2:%d, nodes: {ports: %s, advertise_ports: %s, first_node: 1}}",
				alice, outside, nodePorts(alice), nodePorts(outside)),
			Advertise: lab.HostPort("127.0.0.2", outside),
			told:      onPort("127.0.0.2", outside),
		},
		{
			Name: "many",
			YAML: fmt.Sprintf("{bind: 127.0.0.4:%d, nodes: {addresses: \"127.0.4.{slot}:%[1]d\", slots: 1-9, first_node: 1}}",
				many),
			Advertise: lab.HostPort("127.0.0.4", many),
			told:      func(node int32) string { return lab.HostPort(fmt.Sprintf("127.0.4.%d", node), many) },
		},
	}
}

// nodePorts is the range of the nodes in a block whose first port is the bootstrap's.
func nodePorts(base int) string { return fmt.Sprintf("%d-%d", base+1, base+lab.PortBlock-1) }
