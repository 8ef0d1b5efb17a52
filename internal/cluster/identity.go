package cluster

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/logkey"
	"kproxy/internal/upstream"
	"kproxy/internal/wait"
)

// A broker's address can come to lead to a broker of another cluster: an IP address that was given to another
// machine, a wrong DNS record, a wrong dial rule. Its response names another cluster's id. If the map followed it,
// the clients of all nodes would go there. So kproxy asks others of the map's brokers which cluster they are of, and
// follows the majority of those that respond. Where all brokers were replaced, none says the old id.

const (
	// maxWitnesses is how many other brokers are asked for the cluster's id.
	maxWitnesses = 5
	// witnessTimeout is for all of them together.
	witnessTimeout = 5 * time.Second
	// verdictLife is how long an id that was outvoted is not asked about again.
	verdictLife = time.Minute
)

// errOtherCluster means that the broker's response has another cluster's id, and no majority has it.
var errOtherCluster = errors.New("the broker responds as one of another cluster than the others do")

// outvoted is the id that was outvoted last.
type outvoted struct {
	id    string
	until time.Time
}

// admits returns errOtherCluster if a response from a broker has an id that the map must not follow.
func (c *Cluster) admits(ctx context.Context, from Link, id string) error {
	if !c.isDoubted(id) {
		return nil
	}
	c.mu.Lock()
	known := c.outvoted.id == id && time.Now().Before(c.outvoted.until)
	c.mu.Unlock()
	if known {
		return errOtherCluster
	}
	same, other := c.poll(ctx, from.Target, id)
	if same+1 > other {
		return nil
	}
	c.mu.Lock()
	c.outvoted = outvoted{id, time.Now().Add(verdictLife)}
	c.mu.Unlock()
	c.log.Error("a broker's address leads to another cluster; the clients of that node reach it, and the map stays",
		slog.Int(logkey.Node, int(from.Target.Node)), slog.String(logkey.Upstream, from.Address),
		slog.String(logkey.Fix, "see where the address leads: DNS, a dial rule, or an address that another machine has now; kproxy check --live names it"))
	return errOtherCluster
}

// poll asks other brokers than from for the cluster's id. same is how many have this id, other how many have the map's.
func (c *Cluster) poll(ctx context.Context, from upstream.Target, id string) (same, other int) {
	ctx, cancel := context.WithTimeout(ctx, witnessTimeout)
	defer cancel()
	var mu sync.Mutex // guards the results
	var asking sync.WaitGroup
	for _, target := range c.witnesses(from) {
		asking.Go(func() {
			got, err := c.idAt(ctx, target)
			if err != nil || got == "" {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case got == id:
				same++
			case !c.isDoubted(got):
				other++
			}
		})
	}
	asking.Wait()
	return same, other
}

// witnesses are some of the map's brokers but one.
func (c *Cluster) witnesses(but upstream.Target) []upstream.Target {
	var all []upstream.Target
	for _, b := range c.Nodes() {
		if t := targetOf(b); b.Host != "" && t.Node != but.Node {
			all = append(all, t)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) //nolint:gosec // spreads load, keeps no secret
	return all[:min(len(all), maxWitnesses)]
}

// idAt asks one broker for the id of its cluster.
func (c *Cluster) idAt(ctx context.Context, target upstream.Target) (string, error) {
	to, err := c.dialTarget(ctx, target, Client{})
	if err != nil {
		return "", err
	}
	defer to.Close()
	defer wait.Bound(ctx, to.Conn)()
	response, err := c.exchangeMetadata(to)
	if err != nil || response.ClusterID == nil {
		return "", err
	}
	return *response.ClusterID, nil
}

// exchangeMetadata sends Metadata without topics.
func (c *Cluster) exchangeMetadata(to Link) (*kmsg.MetadataResponse, error) {
	// From version 1 an empty list of topics means none. In version 0 it means all.
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Version = 4
	metadata.Topics = []kmsg.MetadataRequestTopic{}
	response := kmsg.NewPtrMetadataResponse()
	return response, c.question(to, metadata, response)
}
