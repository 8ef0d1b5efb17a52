package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.yaml.in/yaml/v4"

	"kproxy/internal/cluster"
	"kproxy/internal/hostport"
	"kproxy/internal/upstream"
	"kproxy/proxy/config"
	"kproxy/rewrite"
)

// randomClusters is how many clusters each configuration of the chart meets.
const randomClusters = 200

// Two kproxies of one configuration of the chart advertise the same addresses from their first
// response on. Each learns of the nodes in its own order, a part of them at a time, and with
// addresses that change; the ids are in the listener's range.
func TestReplicasAgree(t *testing.T) {
	manifests, err := filepath.Glob("../../configs/helm/testdata/golden/*.yaml")
	if err != nil || len(manifests) < 10 {
		t.Fatalf("%d golden manifests, %v", len(manifests), err)
	}
	for _, manifest := range manifests {
		name := filepath.Base(manifest)
		s, errs := readConfig([]byte(kproxyYAML(t, manifest)))
		if len(errs) > 0 {
			t.Fatalf("%s: %v", name, errs)
		}
		for _, conf := range s.plan.Clusters {
			for seed := range uint64(randomClusters) {
				random := rand.New(rand.NewPCG(seed, 1))
				c := newRandomCluster(random, conf.Listeners[0])
				one, other := newReplica(t, conf), newReplica(t, conf)
				for round := range 3 {
					c.move(random)
					got, also := one.metadata(t, c.response(random)), other.metadata(t, c.response(random))
					for node, address := range got {
						if want, ok := also[node]; ok && address != want {
							t.Fatalf("%s, seed %d, round %d: node %d is %s at one, %s at the other", name, seed, round, node, address, want)
						}
					}
				}
			}
		}
	}
}

// kproxyYAML is the configuration in rendered manifests.
func kproxyYAML(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var manifest struct {
			Data map[string]string `yaml:"data"`
		}
		if err := decoder.Decode(&manifest); errors.Is(err, io.EOF) {
			t.Fatalf("%s has no kproxy.yaml", file)
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if config := manifest.Data["kproxy.yaml"]; config != "" {
			return config
		}
	}
}

// randomCluster is a Kafka cluster of random nodes.
type randomCluster struct {
	version int16 // of Metadata
	brokers []kmsg.MetadataResponseBroker
}

// newRandomCluster has nodes that belong to a listener's range.
func newRandomCluster(random *rand.Rand, l *config.ListenerPlan) *randomCluster {
	var ids []int32
	if l.Nodes.SNI != "" {
		for range 1 + random.IntN(40) {
			ids = append(ids, random.Int32()>>random.IntN(31))
		}
	} else {
		for i := range l.Slots() {
			if node := l.Nodes.FirstNode + int32(i); l.Nodes.Pin[node] == 0 {
				ids = append(ids, node)
			}
		}
		// The slot of a pinned node is no other's.
		for node, port := range l.Nodes.Pin {
			ids = slices.DeleteFunc(ids, func(id int32) bool { return int(id-l.Nodes.FirstNode) == port-l.Nodes.Ports.First })
			ids = append(ids, node)
		}
		slices.Sort(ids)
		random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		ids = ids[:1+random.IntN(len(ids))]
	}
	slices.Sort(ids)
	c := &randomCluster{version: int16(random.IntN(14))}
	for _, node := range slices.Compact(ids) {
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID = node
		if random.IntN(2) == 0 {
			b.Rack = new(fmt.Sprintf("zone-%d", random.IntN(3)))
		}
		c.brokers = append(c.brokers, b)
	}
	c.move(random)
	return c
}

// move gives some brokers another name or port. No two have the same.
func (c *randomCluster) move(random *rand.Rand) {
	for i := range c.brokers {
		if b := &c.brokers[i]; b.Host == "" || random.IntN(4) == 0 {
			b.Host = fmt.Sprintf("broker-%d-%d.%s", b.NodeID, random.IntN(1000), []string{"internal", "kafka.svc", "kafka.svc.cluster.local"}[random.IntN(3)])
			b.Port = 9092 + random.Int32N(3)
		}
	}
}

// response is a Metadata response with some of the brokers, in any order.
func (c *randomCluster) response(random *rand.Rand) *kmsg.MetadataResponse {
	r := kmsg.NewPtrMetadataResponse()
	r.Version = c.version
	r.ClusterID = new("a")
	r.Brokers = slices.Clone(c.brokers)
	random.Shuffle(len(r.Brokers), func(i, j int) { r.Brokers[i], r.Brokers[j] = r.Brokers[j], r.Brokers[i] })
	r.Brokers = r.Brokers[:1+random.IntN(len(r.Brokers))]
	return r
}

// replica is the part of a kproxy that rewrites addresses.
type replica struct {
	conf    *config.ClusterPlan
	cluster *cluster.Cluster
}

func newReplica(t *testing.T, conf *config.ClusterPlan) *replica {
	t.Helper()
	alone, own := *conf, *conf.Cluster
	own.TLS, own.SASL = nil, nil // files that are not here
	alone.Cluster = &own
	c, err := cluster.New(&alone, slog.New(slog.DiscardHandler), cluster.Options{
		Own:        func(netip.AddrPort) bool { return false },
		Dialed:     func(int32, string, error) {},
		Background: func(func(context.Context)) bool { return false },
		Strayed:    func() {},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &replica{conf, c}
}

// metadata passes a response to a client, and returns the addresses in it. No broker is left out,
// and no address is a broker's own.
func (r *replica) metadata(t *testing.T, response *kmsg.MetadataResponse) map[int32]string {
	t.Helper()
	w := rewrite.Rewriter{Translate: func(key int16, brokers rewrite.Brokers) {
		if err := r.cluster.Learn(t.Context(), key, brokers, upstream.Target{}); err != nil {
			t.Error(err)
		}
		r.cluster.Advertise("clients", brokers.List)
	}}
	payload := response.AppendTo(nil)
	if response.IsFlexible() {
		payload = append([]byte{0}, payload...) // the tags of the header
	}
	head, n, _, err := w.Head(kmsg.Metadata.Int16(), response.Version, payload)
	if err != nil {
		t.Fatal(err)
	}
	out := slices.Concat(head, payload[n:])
	if response.IsFlexible() {
		out = out[1:]
	}
	got := kmsg.NewPtrMetadataResponse()
	got.Version = response.Version
	if err := got.ReadFrom(out); err != nil {
		t.Fatal(err)
	}
	addresses := map[int32]string{}
	for _, b := range got.Brokers {
		if strings.HasPrefix(b.Host, "broker-") {
			t.Errorf("node %d is at %s", b.NodeID, b.Host)
		}
		addresses[b.NodeID] = hostport.Join(b.Host, b.Port)
	}
	if len(addresses) != len(response.Brokers) {
		t.Errorf("of %d nodes, %d have an address", len(response.Brokers), len(addresses))
	}
	return addresses
}
