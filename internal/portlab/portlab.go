// Package portlab reserves addresses for tests. A port that was free a moment ago may be
// in use now: the kernel gives it to the next socket that asks for any port.
package portlab

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
)

// Closed returns an address that refuses connections until the test ends. Its port
// is that of an outgoing connection, so nothing listens there and nothing can.
func Closed(tb testing.TB) string {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	conn, err := new(net.Dialer).DialContext(tb.Context(), "tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = conn.Close()
		_ = l.Close()
	})
	return conn.LocalAddr().String()
}

// hosts counts the calls of Host.
var hosts atomic.Uint32

// Host returns an address of the loopback network for listening at ports that the test
// chooses. On Linux each call in each process gets another one, by the process id.
// Elsewhere there is 127.0.0.1 only.
func Host(tb testing.TB) string {
	tb.Helper()
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	// 127.0.0.0/9 has the addresses that people and the kernel use. A process id has at
	// most 22 bits on Linux, of which 16 distinguish the processes at one time.
	pid, n := uint32(os.Getpid()), hosts.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 128+n%127, pid>>8&0xff, pid&0xff)
}
