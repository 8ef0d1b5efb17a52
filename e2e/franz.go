//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// gate is a dialer that reaches only a listener's advertised addresses. It refuses
// every other address and remembers it: a response that was not rewritten fails
// the test by itself, whether or not the broker's own address would have worked.
// And it fails the test for a broker's name in a response that no client acted on.
type gate struct {
	t    *testing.T
	open []string

	mu       sync.Mutex
	bypasses []string
}

func newGate(t *testing.T, l listener) *gate {
	t.Helper()
	g := &gate{t: t, open: []string{l.Advertise}}
	for _, address := range l.Told() {
		g.open = append(g.open, address)
	}
	return g
}

// Dial is for kgo.Dialer.
func (g *gate) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !slices.Contains(g.open, address) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.bypasses = append(g.bypasses, address)
		return nil, fmt.Errorf("%s is no address of kproxy's", address)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &scannedConn{Conn: conn, scan: leakScanner{found: func(around []byte) {
		g.t.Errorf("%s sent a broker's own name: %q", address, around)
	}}}, nil
}

// Bypasses are the addresses refused so far.
func (g *gate) Bypasses() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.bypasses)
}

// newClient is a franz-go client through a listener. It is closed when the test
// ends, which then fails if the client ever tried to bypass kproxy.
func newClient(t *testing.T, l listener, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	g := newGate(t, l)
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(l.Advertise), kgo.Dialer(g.Dial)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.CloseAllowingRebalance()
		if got := g.Bypasses(); len(got) > 0 {
			t.Errorf("connections that bypassed kproxy: got %d, want 0: %v", len(got), got)
		}
	})
	return client
}

// answers counts the responses that a client has read, by API.
type answers [128]atomic.Int64

// OnBrokerE2E makes answers a kgo.Hook.
func (a *answers) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if e2e.Err() == nil {
		a[key].Add(1)
	}
}
