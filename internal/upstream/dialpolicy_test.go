package upstream_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"kproxy/internal/upstream"
)

func admission(t *testing.T, globs ...string) upstream.DialPolicy {
	t.Helper()
	a, err := upstream.CompileDialPolicy(globs)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// refusedDial dials target and returns why it was refused; anything else than a
// refusal fails the test.
func refusedDial(t *testing.T, d *upstream.Dialer, target upstream.Target) *upstream.RefusedError {
	t.Helper()
	conn, _, err := d.Dial(t.Context(), target)
	if err == nil {
		conn.Close()
		t.Fatalf("%v was dialled", target)
	}
	refused, ok := errors.AsType[*upstream.RefusedError](err)
	if !ok {
		t.Fatalf("%v: %v, want a refusal", target, err)
	}
	return refused
}

// The globs apply to addresses from brokers, and to no others.
func TestBrokersAdmitLearnedAddresses(t *testing.T) {
	reached := ""
	d := upstream.Dialer{
		Brokers: admission(t, "*.internal:9092", "10.0.0.*:*", "B1.Example.com.:9092", "[fd00:0::1]:9092"),
		Rules:   compile(t, rules(node(7, "elsewhere:1"))),
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			reached = address
			return nil, errors.New("reached")
		},
	}
	tests := []struct {
		name     string
		target   upstream.Target
		admitted bool
	}{
		{"by name, in either case", upstream.Target{Node: 1, Host: "B1.Internal", Port: 9092}, true},
		{"with a root dot", upstream.Target{Node: 1, Host: "b1.internal.", Port: 9092}, true},
		{"a glob with a root dot", upstream.Target{Node: 1, Host: "b1.example.com", Port: 9092}, true},
		{"an address written otherwise", upstream.Target{Node: 1, Host: "[FD00::1]", Port: 9092}, true},
		{"another port", upstream.Target{Node: 1, Host: "b1.internal", Port: 22}, false},
		{"by address", upstream.Target{Node: 1, Host: "10.0.0.9", Port: 9093}, true},
		{"a name that only begins like one", upstream.Target{Node: 1, Host: "b1.internal.evil", Port: 9092}, false},
		{"of the configuration", upstream.Target{Node: upstream.NoNode, Host: "boot", Port: 9092, Configured: true}, true},
		{"a rule leads there", upstream.Target{Node: 7, Host: "evil", Port: 9092}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reached = ""
			_, _, err := d.Dial(t.Context(), tt.target)
			_, refused := errors.AsType[*upstream.RefusedError](err)
			if refused == tt.admitted || (reached != "") != tt.admitted {
				t.Errorf("refused %v, reached %q, want admitted %v", refused, reached, tt.admitted)
			}
		})
	}
}

// An advertised address is validated before it is resolved.
func TestAdvertisedHostsThatAreNone(t *testing.T) {
	for host, problem := range map[string]string{
		"":                          "no host",
		"b 1":                       "neither a name nor an address",
		"b1\nlevel=ERROR":           "neither a name nor an address",
		strings.Repeat("x", 32<<10): "neither a name nor an address",
		"fe80::1%eth0":              "zone",
		"127.1":                     "usual form",
	} {
		d := &upstream.Dialer{DialContext: func(context.Context, string, string) (net.Conn, error) {
			t.Errorf("%.50q is dialled", host)
			return nil, errors.New("reached")
		}}
		err := refusedDial(t, d, upstream.Target{Node: 3, Host: host, Port: 9092})
		if !strings.Contains(err.Problem, problem) || len(err.Error()) > 1000 || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.50q: %.1000q, want one line with %q", host, err.Error(), problem)
		}
	}
}

// The addresses that a broker's name resolves to are checked at every dial, whatever the
// name.
func TestClassesThatNoBrokerIsMeantToBeIn(t *testing.T) {
	for host, class := range map[string]string{
		"127.0.0.1":       "loopback",
		"localhost":       "loopback",
		"::1":             "loopback",
		"::ffff:7f00:1":   "loopback",
		"169.254.169.254": "link-local",
		"0.0.0.0":         "unspecified",
		"224.0.0.1":       "multicast",
	} {
		t.Run(host, func(t *testing.T) {
			refused := refusedDial(t, &upstream.Dialer{}, upstream.Target{Node: 3, Host: host, Port: 9092})
			if !strings.Contains(refused.Problem, class) {
				t.Errorf("problem %q, want it to say %s", refused.Problem, class)
			}
			if !strings.Contains(refused.Fix, "{node: 3, to: ") {
				t.Errorf("fix %q names no rule", refused.Fix)
			}
			_, to, _ := strings.Cut(refused.Fix, `to: "`)
			to, _, _ = strings.Cut(to, `"`)
			if _, err := upstream.Compile(rules(node(3, to))); err != nil {
				t.Errorf("fix %q names a rule that is refused: %v", refused.Fix, err)
			}
		})
	}
}

// refusedClasses are addresses of refused classes, in all forms.
var refusedClasses = map[string]string{
	"::127.0.0.1":                          "loopback",    // IPv4-compatible
	"::ffff:127.0.0.1":                     "loopback",    // IPv4-mapped
	"::ffff:0:127.0.0.1":                   "loopback",    // IPv4-translated
	"64:ff9b::7f00:1":                      "loopback",    // NAT64
	"64:ff9b:1:7f00:0:100::":               "loopback",    // NAT64 of one's own, /48
	"64:ff9b:1:7f:0:1::":                   "loopback",    // /56
	"64:ff9b:1::7f:0:100:0":                "loopback",    // /64
	"64:ff9b:1::7f00:1":                    "loopback",    // /96
	"2002:7f00:1::1":                       "loopback",    // 6to4
	"2001:0:4136:e378:8000:63bf:80ff:fffe": "loopback",    // Teredo's client: 127.0.0.1 turned over
	"2001:0:7f00:1::f5ff:fffe":             "loopback",    // Teredo's server
	"2001:db8::5efe:7f00:1":                "loopback",    // ISATAP
	"2001:db8::200:5efe:7f00:1":            "loopback",    // ISATAP
	"::169.254.169.254":                    "link-local",  //
	"64:ff9b::a9fe:a9fe":                   "link-local",  //
	"2002:a9fe:a9fe::":                     "link-local",  //
	"fe80::1":                              "link-local",  //
	"ff02::1":                              "multicast",   //
	"64:ff9b::e000:1":                      "multicast",   //
	"64:ff9b::":                            "unspecified", // 0.0.0.0, which is this machine
	"255.255.255.255":                      "broadcast",
	"fd00:ec2::254":                        "metadata",
	"FD00:0EC2:0::254":                     "metadata",
	"fd20:ce::254":                         "metadata",
	"100.100.100.200":                      "metadata",
	"::ffff:100.100.100.200":               "metadata",
	"64:ff9b::6464:64c8":                   "metadata",
	"168.63.129.16":                        "metadata",
	"192.0.0.192":                          "metadata",
}

// An address is judged in all its forms, here and at the far side of a via.
func TestClassesInAllForms(t *testing.T) {
	for host, class := range refusedClasses {
		here := &upstream.Dialer{}
		far := &upstream.Dialer{Through: func(_ context.Context, _, address string) (net.Conn, error) {
			return nil, errors.New(address + " is reached")
		}}
		for name, d := range map[string]*upstream.Dialer{"here": here, "far": far} {
			refused := refusedDial(t, d, upstream.Target{Node: 3, Host: host, Port: 9092})
			if !strings.Contains(refused.Problem, class) {
				t.Errorf("%s, %s: %q, want it to say %s", host, name, refused.Problem, class)
			}
		}
	}
}

// Similar addresses outside the refused classes are dialled.
func TestAddressesThatAreNotRefused(t *testing.T) {
	for _, host := range []string{
		"10.0.0.1", "100.100.100.201", "fd00:ec3::254", "2001:db8::1", "64:ff9b::a00:1", "2002:a00:1::1",
		"64:ff9b:1::a00:1", "64:ff9b:1:a00:0:100::", "2001:db8::7f00:1", "fd00::5efe:1", "metadata.internal",
	} {
		reached := false
		d := &upstream.Dialer{Through: func(context.Context, string, string) (net.Conn, error) {
			reached = true
			return nil, errors.New("reached")
		}}
		if _, _, err := d.Dial(t.Context(), upstream.Target{Node: 3, Host: host, Port: 9092}); !reached {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// kproxy's own sockets are recognised behind a translator, too.
func TestOwnInAllForms(t *testing.T) {
	own := netip.MustParseAddrPort("192.0.2.1:9400")
	for _, host := range []string{"192.0.2.1", "::ffff:192.0.2.1", "64:ff9b::c000:201", "2002:c000:201::1"} {
		d := &upstream.Dialer{Own: func(a netip.AddrPort) bool { return a == own }}
		conn, _, err := d.Dial(t.Context(), upstream.Target{Node: 3, Host: host, Port: 9400})
		if err == nil {
			_ = conn.Close()
		}
		if _, ok := errors.AsType[*upstream.LoopError](err); !ok {
			t.Errorf("%s: %v, want it known as kproxy's own", host, err)
		}
	}
}

// Brokers may be on loopback where the configuration leads to loopback itself.
func TestLoopbackOnceTheConfigurationLeadsThere(t *testing.T) {
	broker := listen(t)
	learned := upstream.Target{Node: 1, Host: "127.0.0.1", Port: int32(broker.Port())}
	byHand := &upstream.Dialer{}
	_ = refusedDial(t, byHand, learned)
	byHand.AllowLoopback()
	byBootstrap := &upstream.Dialer{}
	bootstrap := learned
	bootstrap.Node, bootstrap.Configured = upstream.NoNode, true
	byRule := &upstream.Dialer{Rules: compile(t, rules(node(9, netip.AddrPortFrom(broker.Addr(), broker.Port()).String())))}
	for _, dial := range []struct {
		name   string
		dialer *upstream.Dialer
		first  upstream.Target
	}{
		{"said so", byHand, learned},
		{"bootstrap", byBootstrap, bootstrap},
		{"a rule", byRule, upstream.Target{Node: 9, Host: "b9.internal", Port: 9092}},
	} {
		t.Run(dial.name, func(t *testing.T) {
			for _, target := range []upstream.Target{dial.first, learned} {
				conn, _, err := dial.dialer.Dial(t.Context(), target)
				if err != nil {
					t.Fatal(err)
				}
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestAdmissionNeedsAPort(t *testing.T) {
	_, err := upstream.CompileDialPolicy([]string{"*", "*.internal"})
	rule, ok := errors.AsType[*upstream.RuleError](err)
	if !ok || rule.Rule != 1 {
		t.Fatalf("got %v, want a mistake in the second glob", err)
	}
}
