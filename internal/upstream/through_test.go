package upstream_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"kproxy/internal/upstream"
)

// An address that is dialled elsewhere is judged by its text, because its resolution is
// not seen here.
func TestThroughRefusesWhatAnAddressSays(t *testing.T) {
	var reached []string
	d := func() *upstream.Dialer {
		reached = nil
		return &upstream.Dialer{
			Rules: compile(t, rules(node(7, "127.0.0.1:9092"))),
			Own:   func(netip.AddrPort) bool { return true }, // of this machine, not of the far one
			Through: func(_ context.Context, _, address string) (net.Conn, error) {
				reached = append(reached, address)
				return nil, errors.New("reached")
			},
		}
	}
	for host, class := range map[string]string{
		"127.0.0.1": "loopback", "localhost": "loopback", "LocalHost.": "loopback", "a.localhost": "loopback", "ip6-localhost": "loopback", "localhost.localdomain": "loopback", "Metadata.Google.Internal.": "link-local",
		"localhost4": "loopback", "localhost4.localdomain4": "loopback", "localhost6": "loopback", "LOCALHOST6.localdomain6.": "loopback", "loopback": "loopback", "ip6-loopback": "loopback",
		"ip6-allnodes": "multicast", "ip6-allrouters": "multicast", "ip6-mcastprefix": "multicast", "ip6-localnet": "link-local", "broadcasthost": "broadcast",
		"metadata": "link-local", "Metadata.": "link-local", "metadata.goog": "link-local", "instance-data": "link-local", "instance-data.ec2.internal": "link-local", "::1": "loopback",
		"::ffff:7f00:1": "loopback", "169.254.169.254": "link-local", "fe80::1": "link-local", "0.0.0.0": "unspecified", "::": "unspecified",
		"224.0.0.1": "multicast", "127.1": "usual form", "2130706433": "usual form", "0x7f000001": "usual form", "1.0X7f": "usual form", "127.0.0.1.": "usual form",
	} {
		refused := refusedDial(t, d(), upstream.Target{Node: 3, Host: host, Port: 9092})
		if !strings.Contains(refused.Problem, class) || !strings.Contains(refused.Fix, "{node: 3, to: ") || reached != nil {
			t.Errorf("%s: %v, reached %v; want it refused as %s", host, refused, reached, class)
		}
	}
	for _, admitted := range []upstream.Target{
		{Node: 3, Host: "b3.internal", Port: 9092},
		{Node: 3, Host: "10.0.0.3", Port: 9092},
		{Node: 3, Host: "0x1.internal", Port: 9092},
		{Node: 7, Host: "evil", Port: 1}, // by a rule
		{Node: upstream.NoNode, Host: "localhost", Port: 9092, Configured: true},
	} {
		if _, _, err := d().Dial(t.Context(), admitted); len(reached) != 1 {
			t.Errorf("%v: %v, want it dialled", admitted, err)
		}
	}
	jump := d() // once the configuration leads to the far machine itself, brokers may be there
	_, _, _ = jump.Dial(t.Context(), upstream.Target{Node: upstream.NoNode, Host: "localhost", Port: 9092, Configured: true})
	if _, _, err := jump.Dial(t.Context(), upstream.Target{Node: 1, Host: "localhost", Port: 9093}); len(reached) != 2 {
		t.Errorf("%v, want it dialled", err)
	}
}

// The proxy itself is dialled from here, so that kproxy's own sockets are recognised.
func TestDialNearRefusesItself(t *testing.T) {
	d := &upstream.Dialer{Own: func(netip.AddrPort) bool { return true }}
	conn, err := d.DialNear(t.Context(), "tcp", listen(t).String())
	if _, isLoop := errors.AsType[*upstream.LoopError](err); !isLoop {
		t.Errorf("got %v, %v, want a loop", conn, err)
	}
}

// Each local address has its turn.
func TestSourceInTurn(t *testing.T) {
	broker := listen(t)
	target := upstream.Target{Node: upstream.NoNode, Host: "127.0.0.1", Port: int32(broker.Port()), Configured: true}
	d := &upstream.Dialer{Source: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}}
	var got []string
	for range 4 {
		conn, _, err := d.Dial(t.Context(), target)
		if err != nil {
			t.Fatal(err) // only Linux has all of 127.0.0.0/8 on loopback
		}
		host, _, _ := net.SplitHostPort(conn.LocalAddr().String())
		got = append(got, host)
		conn.Close()
	}
	if want := []string{"127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.2"}; !slices.Equal(got, want) {
		t.Errorf("dialled from %v, want %v", got, want)
	}
}

// A proxy on loopback, the usual case, does not admit brokers on loopback.
func TestLoopbackOfTheProxyIsNotTheBrokers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := &upstream.Dialer{}
	d.Through = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return d.DialNear(ctx, network, l.Addr().String())
	}
	conn, _, err := d.Dial(t.Context(), upstream.Target{Node: 3, Host: "b3.internal", Port: 9092})
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	_ = refusedDial(t, d, upstream.Target{Node: 3, Host: "127.0.0.1", Port: 9092})
}
