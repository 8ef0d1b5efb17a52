package namelab

import (
	"errors"
	"net"
	"testing"
)

func TestMain(m *testing.M) {
	Use()
	m.Run()
}

// No name is asked for outside of the process, and the error is that of a name that does not exist.
func TestUse(t *testing.T) {
	for _, name := range []string{"broker.vpc.invalid", "example.com"} {
		_, err := net.DefaultResolver.LookupNetIP(t.Context(), "ip", name)
		if why, ok := errors.AsType[*net.DNSError](err); !ok || !why.IsNotFound {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if ips, err := net.DefaultResolver.LookupNetIP(t.Context(), "ip4", "localhost"); err != nil || !ips[0].IsLoopback() {
		t.Errorf("localhost: got %v, %v", ips, err)
	}
}
