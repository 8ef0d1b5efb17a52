//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// ClusterID has StorageTool's format: 16 bytes in URL-safe base64.
	ClusterID = "a3Byb3h5LWUyZS10ZXN0cw"
	// startTimeout bounds the start of one broker or of all: seconds on an idle machine,
	// minutes on a busy one.
	startTimeout = 4 * time.Minute
)

// ClusterConfig configures a cluster. Its first brokers have the
// ids 1 to Size, and each is a controller too where the release has controllers.
type ClusterConfig struct {
	Release Release
	Java    Java
	Size    int
	Dir     string     // of all its files
	Place   *Namespace // where its processes run; nil: the network of the caller

	// The brokers' own listeners. Their addresses must be reachable from Place.
	Internal   func(id int) string // for each other, and for the lab
	Controller func(id int) string // for the quorum
	ZooKeeper  string              // for releases with ZooKeeper

	// Clients are the listeners for the clients under test.
	Clients []ClientListener
	// Properties are a broker's own. They win over the lab's; nil: none.
	Properties func(id int) map[string]string
	// Format are more arguments for the formatting of the data directories, such
	// as --add-scram, for releases with controllers.
	Format []string
}

// ClientListener is one of a broker's listeners.
type ClientListener struct {
	Name      string // such as CLIENT
	Protocol  string // such as PLAINTEXT or SASL_PLAINTEXT
	Bind      func(id int) string
	Advertise func(id int) string
}

// Cluster is a Kafka cluster of real brokers, as processes on this machine.
type Cluster struct {
	ClusterConfig
	Brokers []*Broker    // by id, ascending
	Admin   *kadm.Client // by the brokers' internal listener

	Conn      *kgo.Client // Admin's client
	zooKeeper *Process
	last      int // the highest id that there was
}

// StartCluster formats and starts the brokers and returns when all of them are in the
// cluster. The end of ctx kills them. The returned cluster must be closed, also with an
// error.
func StartCluster(ctx context.Context, config ClusterConfig) (*Cluster, error) {
	c := &Cluster{ClusterConfig: config}
	c.last = c.Size
	for id := range c.Size {
		c.Brokers = append(c.Brokers, c.newBroker(ctx, id+1))
	}
	if c.Release.ZooKeeper {
		if err := c.startZooKeeper(ctx); err != nil {
			return c, err
		}
	}
	if err := c.each(func(b *Broker) error { return b.prepare(ctx) }); err != nil {
		return c, err
	}
	conn, err := kgo.NewClient(kgo.SeedBrokers(c.Seeds()...), kgo.Dialer(c.Place.Dial))
	if err != nil {
		return c, err
	}
	c.Conn, c.Admin = conn, kadm.NewClient(conn)
	if err := c.each((*Broker).Start); err != nil {
		return c, err
	}
	return c, c.WaitWhole(ctx)
}

func (c *Cluster) newBroker(ctx context.Context, id int) *Broker {
	return &Broker{
		ID:      int32(id),
		cluster: c,
		dir:     filepath.Join(c.Dir, fmt.Sprintf("broker-%d", id)),
		scope:   ctx,
	}
}

// Grow starts one more broker, which is no controller, and returns it when the
// cluster is whole with it.
func (c *Cluster) Grow(ctx context.Context) (*Broker, error) {
	c.last++
	b := c.newBroker(ctx, c.last)
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	if err := b.Start(); err != nil {
		return nil, err
	}
	c.Brokers = append(c.Brokers, b)
	return b, c.WaitWhole(ctx)
}

// Remove ends a broker for good. It must have no replicas left.
func (c *Cluster) Remove(ctx context.Context, b *Broker) error {
	if err := b.Stop(); err != nil {
		return err
	}
	c.Brokers = slices.DeleteFunc(c.Brokers, func(other *Broker) bool { return other == b })
	return c.WaitWhole(ctx)
}

// Next is the id that the next new broker will have.
func (c *Cluster) Next() int { return c.last + 1 }

// Replace ends a broker for good and starts one with the next id, which is no
// controller. It does not wait. The old broker's replicas remain its own; LeadBy gives
// them to the new one.
func (c *Cluster) Replace(ctx context.Context, old *Broker) (*Broker, error) {
	c.last++
	b := c.newBroker(ctx, c.last)
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	if err := old.Stop(); err != nil {
		return nil, err
	}
	c.Brokers = append(slices.DeleteFunc(c.Brokers, func(other *Broker) bool { return other == old }), b)
	return b, b.Start()
}

// each runs f for all brokers at once.
func (c *Cluster) each(f func(*Broker) error) error {
	errs := make([]error, len(c.Brokers))
	var wg sync.WaitGroup
	for i, b := range c.Brokers {
		wg.Go(func() { errs[i] = f(b) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// WaitWhole waits until every broker sees every broker, and every partition with a leader
// and all its replicas in sync. Each broker is asked itself: brokers learn of changes at
// different times, and a killed one counts as alive until its session ends. A broker
// responds only after it has caught up with its own restart.
func (c *Cluster) WaitWhole(ctx context.Context) error {
	return Poll(ctx, startTimeout, func() error {
		for _, b := range c.Brokers {
			if err := b.proc.Alive(); err != nil {
				return Permanent(err)
			}
		}
		for _, b := range c.Brokers {
			if err := c.seenWholeBy(ctx, b.ID); err != nil {
				return fmt.Errorf("as broker %d sees it: %w", b.ID, err)
			}
		}
		return nil
	})
}

func (c *Cluster) seenWholeBy(ctx context.Context, id int32) error {
	req := kmsg.NewPtrMetadataRequest() // no topics: all of them
	resp, err := c.Conn.Broker(int(id)).Request(ctx, req)
	if err != nil {
		return err
	}
	m := resp.(*kmsg.MetadataResponse)
	if len(m.Brokers) != len(c.Brokers) {
		return fmt.Errorf("%d of %d brokers are in the cluster", len(m.Brokers), len(c.Brokers))
	}
	for _, t := range m.Topics {
		if err := whole(*t.Topic, t.Partitions); err != nil {
			return err
		}
	}
	return nil
}

// startZooKeeper runs the ZooKeeper that is on the release's class path.
func (c *Cluster) startZooKeeper(ctx context.Context) error {
	host, port, err := net.SplitHostPort(c.ZooKeeper)
	if err != nil {
		return err
	}
	dir := filepath.Join(c.Dir, "zookeeper")
	config := filepath.Join(dir, "zookeeper.properties")
	if err := writeProperties(config, map[string]string{
		"dataDir":            filepath.Join(dir, "data"),
		"clientPortAddress":  host,
		"clientPort":         port,
		"maxClientCnxns":     "0",
		"admin.enableServer": "false",
	}); err != nil {
		return err
	}
	c.zooKeeper, err = StartProcess("ZooKeeper", filepath.Join(dir, "zookeeper.log"),
		c.Place.Command(c.Java.Server(ctx, c.Release.Classpath, "org.apache.zookeeper.server.quorum.QuorumPeerMain", config)))
	return err
}

// Close kills the brokers. Their data is not needed.
func (c *Cluster) Close() {
	if c.Conn != nil {
		c.Conn.Close()
	}
	_ = c.each(func(b *Broker) error {
		if b.proc != nil {
			b.proc.Kill()
		}
		return nil
	})
	if c.zooKeeper != nil {
		c.zooKeeper.Kill()
	}
}

// Complaints are the brokers' last warnings.
func (c *Cluster) Complaints() string {
	var out strings.Builder
	for _, b := range c.Brokers {
		if b.proc != nil {
			fmt.Fprintf(&out, "broker %d complained:\n%s\n", b.ID, b.proc.Complaints())
		}
	}
	return out.String()
}

// Seeds are the addresses by which the lab itself reaches the brokers.
func (c *Cluster) Seeds() []string {
	var seeds []string
	for _, b := range c.Brokers {
		seeds = append(seeds, c.Internal(int(b.ID)))
	}
	return seeds
}

// Broker returns the broker with this id.
func (c *Cluster) Broker(id int32) *Broker {
	return c.Brokers[slices.IndexFunc(c.Brokers, func(b *Broker) bool { return b.ID == id })]
}

// Restart ends a broker by its Stop or Kill, starts it again and waits until
// the cluster is whole.
func (c *Cluster) Restart(ctx context.Context, id int32, end func(*Broker) error) error {
	b := c.Broker(id)
	if err := end(b); err != nil {
		return err
	}
	if err := b.Start(); err != nil {
		return err
	}
	return c.WaitWhole(ctx)
}
