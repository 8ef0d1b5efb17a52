package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"kproxy/internal/upstream"
)

func TestDialFollowsTheRules(t *testing.T) {
	broker := listen(t)
	d := upstream.Dialer{Rules: compile(t, rules(match("*.vpc.invalid:9092", broker.String())))}

	conn, address, err := d.Dial(t.Context(), upstream.Target{Node: 3, Host: "broker-3.vpc.invalid", Port: 9092})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if address != broker.String() || conn.RemoteAddr().String() != broker.String() {
		t.Errorf("dialled %s, connected to %s; want %s", address, conn.RemoteAddr(), broker)
	}
	if _, raw := conn.(*net.TCPConn); !raw {
		t.Errorf("got a %T, which cannot be spliced; want *net.TCPConn", conn)
	}
}

// The errors of an unreachable broker: broker, address, cause.
func TestDialErrors(t *testing.T) {
	refused := errors.New("connection refused")
	d := upstream.Dialer{
		Rules: compile(t, rules(node(3, "127.0.0.1:19095"))),
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, refused
		},
	}
	tests := []struct {
		target  upstream.Target
		address string
		want    string
	}{
		{upstream.Target{Node: 3, Host: "broker-3.vpc.invalid", Port: 9092}, "127.0.0.1:19095", "dial node 3 (broker-3.vpc.invalid:9092) at 127.0.0.1:19095: connection refused"},
		{upstream.Target{Node: 5, Host: "broker-5.vpc.invalid", Port: 9092}, "broker-5.vpc.invalid:9092", "dial node 5 (broker-5.vpc.invalid:9092): connection refused"},
		{upstream.Target{Node: upstream.NoNode, Host: "boot", Port: 9092}, "boot:9092", "dial bootstrap boot:9092: connection refused"},
	}
	for _, tt := range tests {
		_, address, err := d.Dial(t.Context(), tt.target)
		if !errors.Is(err, refused) || err.Error() != tt.want || address != tt.address {
			t.Errorf("address %s, error %v; want %s, %s", address, err, tt.address, tt.want)
		}
	}
}

// If a rule gives no valid address for a broker, nothing is dialled.
func TestDialWithAFailingRule(t *testing.T) {
	d := upstream.Dialer{
		Rules: compile(t, rules(match("*", "127.0.0.1:{65535+node}"))),
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			t.Errorf("dialled %s", address)
			return nil, net.ErrClosed
		},
	}
	_, address, err := d.Dial(t.Context(), upstream.Target{Node: 4, Host: "b", Port: 9092})
	if err == nil || address != "" {
		t.Errorf("address %q, error %v; want an error and no address", address, err)
	}
}

// A name is judged by its addresses: localhost is not known to be kproxy's own until the
// socket is about to connect.
func TestDialRefusesOwnListeners(t *testing.T) {
	own := listen(t)
	d := upstream.Dialer{Own: func(a netip.AddrPort) bool { return a.Port() == own.Port() && a.Addr().IsLoopback() }}

	_, _, err := d.Dial(t.Context(), upstream.Target{Node: upstream.NoNode, Host: "localhost", Port: int32(own.Port())})
	loop, ok := errors.AsType[*upstream.LoopError](err)
	if !ok {
		t.Fatalf("got %v, want a LoopError", err)
	}
	if got, err := netip.ParseAddrPort(loop.Address); err != nil || got.Port() != own.Port() {
		t.Errorf("the error names %q, want a resolved address with port %d", loop.Address, own.Port())
	}
}

func TestDialTimeout(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	d := upstream.Dialer{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	}
	_, _, err := d.Dial(ctx, upstream.Target{Node: 1, Host: "b", Port: 9092})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline exceeded", err)
	}
}

func ExampleRules_Resolve() {
	compiled, err := upstream.Compile([]upstream.Rule{{Match: "b*.internal:9092", To: "127.0.0.1:{19092+node}"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(compiled.Resolve(upstream.Target{Node: 2, Host: "b2.internal", Port: 9092}))
	fmt.Println(compiled.Resolve(upstream.Target{Node: 9, Host: "other.example.com", Port: 9092}))
	// Output:
	// 127.0.0.1:19094 0 <nil>
	// other.example.com:9092 -1 <nil>
}

// listen is a broker that accepts connections and is silent.
func listen(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return netip.MustParseAddrPort(l.Addr().String())
}
