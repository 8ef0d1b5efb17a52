//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// brokerCount brokers have the ids 1 to brokerCount.
const brokerCount = 3

// cluster is a Kafka cluster of real brokers on this machine, as a VPC would
// show it: clients reach its listeners, and cannot resolve the advertised names.
type cluster struct {
	*lab.Cluster
	clientBase int          // broker n's client listener is on port clientBase+n
	secureBase int          // and its listener in TLS
	pki        *pki         // of that
	topics     atomic.Int64 // how many topicName has named
}

// startCluster starts the brokers. Their files are in dir; the end of ctx kills them. The
// returned cluster must be closed, also with an error.
func startCluster(ctx context.Context, dir string, java lab.Java, release lab.Release, ports *lab.Ports) (*cluster, error) {
	c := &cluster{}
	var err error
	if c.pki, err = newPKI(filepath.Join(dir, "pki")); err != nil {
		return nil, err
	}
	var addresses [4]func(int) string
	for i := range addresses {
		base, err := ports.Block(ctx, "127.0.0.1")
		if err != nil {
			return nil, err
		}
		addresses[i] = func(id int) string { return lab.HostPort("127.0.0.1", base+id) }
		switch i {
		case 0:
			c.clientBase = base
		case 3:
			c.secureBase = base
		}
	}
	c.Cluster, err = lab.StartCluster(ctx, lab.ClusterConfig{
		Release: release, Java: java, Size: brokerCount, Dir: dir,
		Internal: addresses[1], Controller: addresses[2],
		Clients: []lab.ClientListener{
			{
				Name: "CLIENT", Protocol: "PLAINTEXT", Bind: addresses[0],
				Advertise: func(id int) string { return advertised(int32(id)) },
			},
			{
				Name: "SECURE", Protocol: "SSL", Bind: addresses[3],
				Advertise: func(id int) string { return brokerHost(id) + ":9093" },
			},
		},
		Properties: c.pki.properties,
	})
	return c, err
}

// advertised is a broker's advertised address.
func advertised(id int32) string { return brokerHost(int(id)) + ":9092" }

func brokerHost(id int) string { return fmt.Sprintf("broker-%d%s", id, brokersDomain) }

// client is the real address of a broker's listener for clients, to which a dial rule
// leads.
func (c *cluster) client(id int32) string { return lab.HostPort("127.0.0.1", c.clientBase+int(id)) }

// Restart is lab.Cluster.Restart for a test.
func (c *cluster) Restart(t *testing.T, id int32, end func(*lab.Broker) error) {
	t.Helper()
	if err := c.Cluster.Restart(t.Context(), id, end); err != nil {
		t.Fatal(err)
	}
}

// eventually fails the test if cond does not return nil within the timeout.
func eventually(t *testing.T, timeout time.Duration, cond func() error) {
	t.Helper()
	if err := lab.Poll(t.Context(), timeout, cond); err != nil {
		t.Fatal(err)
	}
}
