package admission

import (
	"net/netip"
	"testing"
)

func TestNetworks(t *testing.T) {
	for _, c := range []struct {
		name        string
		allow, deny []string
		in, out     []string
	}{
		{name: "nothing said", in: []string{"10.0.0.1", "2001:db8::1"}},
		{"allow", []string{"10.0.0.0/8", "192.168.1.7"}, nil, []string{"10.255.0.1", "192.168.1.7"}, []string{"11.0.0.1", "192.168.1.8", "2001:db8::1"}},
		{"deny", nil, []string{"10.66.0.0/16", "2001:db8::/32"}, []string{"10.65.0.1", "2001:db9::1"}, []string{"10.66.3.4", "2001:db8::1"}},
		{"deny decides", []string{"10.0.0.0/8"}, []string{"10.66.0.0/16"}, []string{"10.65.0.1"}, []string{"10.66.3.4", "11.0.0.1"}},
		{"an address within IPv6", []string{"::ffff:10.0.0.1"}, nil, []string{"10.0.0.1", "::ffff:10.0.0.1"}, []string{"10.0.0.2", "::ffff:10.0.0.2"}},
		{"a source within IPv6", nil, []string{"10.66.0.0/16", "fe80::/10"}, []string{"::ffff:10.65.0.1"}, []string{"::ffff:10.66.3.4", "fe80::1%eth0"}},
	} {
		n, err := ParseNetworks(c.allow, c.deny)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for want, sources := range map[bool][]string{true: c.in, false: c.out} {
			for _, s := range sources {
				if got := n.admit(netip.MustParseAddr(s)); got != want {
					t.Errorf("%s: %s is admitted: %t, want %t", c.name, s, got, want)
				}
			}
		}
		if !n.admit(netip.Addr{}) {
			t.Errorf("%s: a client without an address is refused", c.name)
		}
	}
}
