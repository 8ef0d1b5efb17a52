package proxy_test

import (
	"context"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"kproxy/internal/kfakelab"
	"kproxy/proxy"
)

// identityLab has three brokers of cluster c, and others of another cluster whose nodes are 0 and 1.
type identityLab struct {
	lab
	t      *testing.T
	all    []*livingBroker
	closes bool // the brokers want a login that only clients have
}

// eachIdentity runs a test of three brokers of one cluster, as kproxy can ask them and as it cannot. bootstrap are their
// addresses in the configuration.
func eachIdentity(t *testing.T, bootstrap []int, test func(l *identityLab)) {
	t.Helper()
	var names []string
	for _, i := range bootstrap {
		names = append(names, brokerName(i))
	}
	for name, closes := range map[string]bool{"kproxy can ask": false, "only clients log in": true} {
		t.Run(name, func(t *testing.T) { identityOf(t, closes, names, nil, test) })
	}
}

// identityOf runs a test of three brokers of one cluster. edit changes the configuration; nil: it stays. nodes are those that
// kproxy knows then; none: all three.
func identityOf(t *testing.T, closes bool, bootstrap []string, edit func(conf *proxy.Config, l *identityLab), test func(l *identityLab), nodes ...int32) {
	t.Helper()
	needsPlainTCP(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &identityLab{t: t, closes: closes}
		l.inMemory()
		for i := range 3 {
			b := l.liveBroker(t, i)
			b.become(int32(i), brokersAt(0, 1, 2))
			b.closes = closes
			l.all = append(l.all, b)
		}
		for _, i := range []int{5, 6} {
			l.strange(l.liveBroker(t, i))
		}
		conf := l.config()
		conf.Clusters[0].Bootstrap = bootstrap
		if edit != nil {
			edit(conf, l)
		}
		l.start(t, conf)
		synctest.Wait() // kproxy has asked
		for range bootstrap {
			l.delivers("bob.test:9092")
		}
		if len(nodes) == 0 {
			nodes = []int32{0, 1, 2}
		}
		l.learned(t, nodes...)
		test(l)
	})
}

// strange makes a broker one of another cluster.
func (l *identityLab) strange(b *livingBroker) {
	b.become(0, brokersAt(5, 6))
	b.set(func(b *livingBroker) { b.cluster, b.closes = "other", l.closes })
}

// home makes broker i one of the cluster again.
func (l *identityLab) home(i int) {
	l.all[i].become(int32(i), brokersAt(0, 1, 2))
	l.all[i].set(func(b *livingBroker) { b.cluster = "c" })
}

// delivers has a client ask for Metadata, and get the response.
func (l *identityLab) delivers(endpoint string) {
	l.t.Helper()
	l.answers(l.t, endpoint)
}

// answers has a client ask for Metadata at an endpoint, and get the response.
func (l *lab) answers(t *testing.T, endpoint string) {
	t.Helper()
	c := l.dial(t, endpoint)
	c.refresh(1)
	c.close()
	l.ended(t, proxy.ClientClosed)
}

// try has a client send a request, and returns how its session ends.
func (l *identityLab) try(endpoint string, req kmsg.Request) (delivered bool, reason proxy.CloseReason) {
	l.t.Helper()
	c := l.dial(l.t, endpoint)
	if err := c.tryWrite(requestFrame(1, req)); err == nil {
		_, err = c.tryFrame()
		delivered = err == nil
	}
	c.close()
	return delivered, l.ends.next(l.t).Reason
}

// ask has a client ask for Metadata, and returns how its session ends.
func (l *identityLab) ask(endpoint string) (delivered bool, reason proxy.CloseReason) {
	l.t.Helper()
	return l.try(endpoint, metadataRequest(12))
}

// refuses has a client ask for Metadata, whose connection must end without a response.
func (l *identityLab) refuses(endpoint string, reason proxy.CloseReason) {
	l.t.Helper()
	if delivered, got := l.ask(endpoint); delivered || got != reason {
		l.t.Errorf("a response was delivered: %t; the session ends as %s, want %s", delivered, got, reason)
	}
}

// beats has a client send a heartbeat to a node, and reports whether it got the response.
func (l *identityLab) beats(endpoint string) (delivered bool) {
	l.t.Helper()
	delivered, _ = l.try(endpoint, heartbeat())
	return delivered
}

// misleads has kproxy dial the address that lead returns in place of the right one, unless lead fails.
func (l *lab) misleads(conf *proxy.Config, lead func(ctx context.Context, address string) (string, error)) {
	conf.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		address, err := lead(ctx, address)
		if err != nil {
			return nil, err
		}
		return l.vpc.Dial(ctx, network, address)
	}
}

// replaced counts how often kproxy has forgotten the cluster.
func (l *identityLab) replaced() int {
	return l.log.count("another cluster responds; the brokers of the old one")
}

// stays checks that nodes are where they were.
func (l *identityLab) stays(nodes ...int) {
	l.t.Helper()
	for _, node := range nodes {
		l.reaches(l.t, []string{"bob.test:9100", "bob.test:9101", "bob.test:9102"}[node], brokerName(node))
	}
	l.learned(l.t, 0, 1, 2)
	if n := l.replaced(); n > 0 {
		l.t.Errorf("the map was replaced, %d times", n)
	}
}

// A node's address comes to lead to another cluster. No client of any node is led there, and the node is reached again
// once its address leads home.
func TestAnotherClusterAtANode(t *testing.T) {
	eachIdentity(t, []int{0}, func(l *identityLab) {
		l.strange(l.all[2])
		for range 5 {
			l.refuses("bob.test:9102", proxy.OtherCluster) // this client finds out, or kproxy does
			before := l.all[2].servedTest()
			for range 20 {
				l.refuses("bob.test:9102", proxy.OtherCluster)
			}
			if n := l.all[2].servedTest() - before; n > 0 {
				l.t.Errorf("the other cluster gets %d requests", n)
			}
			l.delivers("bob.test:9092")
			l.stays(0, 1)
			<-time.After(11 * time.Second)
		}
		l.log.times(l.t, 1, "level=ERROR", "an address leads to another cluster", "node=2", "other", "fix=")
		if s := l.proxy.Health().Clusters[0].Strangers; len(s) != 1 || s[0].Target.Node != 2 || s[0].ID != "other" {
			l.t.Errorf("strangers: %v", s)
		}
		l.home(2)
		<-time.After(11 * time.Second)
		l.delivers("bob.test:9102")
		l.stays(0, 1, 2)
		if s := l.proxy.Health().Clusters[0].Strangers; len(s) != 0 {
			l.t.Errorf("strangers: %v", s)
		}
	})
}

// A session to the broker ends, although it has not asked for brokers.
func TestSessionsWithAnotherClusterEnd(t *testing.T) {
	eachIdentity(t, []int{0}, func(l *identityLab) {
		idle := l.dial(l.t, "bob.test:9102")
		idle.send(1, heartbeat())
		idle.receive(1, heartbeatAnswer())
		l.strange(l.all[2])
		delivered, reason := l.ask("bob.test:9102")
		idle.eof()
		ends := []proxy.CloseReason{reason, l.ends.next(l.t).Reason} // in either order
		if slices.Sort(ends); delivered || !slices.Equal(ends, []proxy.CloseReason{proxy.BrokerMoved, proxy.OtherCluster}) {
			l.t.Errorf("a response was delivered: %t; the sessions end as %v", delivered, ends)
		}
	})
}

// One of three bootstrap addresses leads to another cluster: clients are led to the others, also while those do not respond.
func TestAnotherClusterAtOneBootstrapAddress(t *testing.T) {
	eachIdentity(t, []int{0, 1, 2}, func(l *identityLab) {
		l.strange(l.all[2])
		refused := 0
		for range 9 {
			if delivered, reason := l.ask("bob.test:9092"); !delivered {
				refused++
				if reason != proxy.OtherCluster {
					l.t.Errorf("a session ends as %s", reason)
				}
			}
		}
		if refused != 1 {
			l.t.Errorf("%d clients were led to the other cluster", refused)
		}
		l.stays(0, 1)
		down := func(down bool) {
			for _, b := range l.all[:2] {
				b.set(func(b *livingBroker) { b.down = down })
			}
		}
		down(true)
		for range 6 {
			<-time.After(5 * time.Second)
			if delivered, reason := l.ask("bob.test:9092"); delivered {
				l.t.Errorf("a client gets the other cluster's response, and its session ends as %s", reason)
			}
		}
		down(false)
		l.stays(0, 1)
	})
}

// All brokers are of another cluster now: the map follows, whether clients come to the bootstrap endpoint or to those of nodes.
func TestTheClusterIsReplaced(t *testing.T) {
	for name, endpoints := range map[string][]string{
		"clients bootstrap":             {"bob.test:9092"},
		"clients know all nodes":        {"bob.test:9100", "bob.test:9101", "bob.test:9102"},
		"clients know two of the nodes": {"bob.test:9101", "bob.test:9102"},
	} {
		for _, bootstrap := range [][]int{{0}, {0, 1, 2}} {
			t.Run(name, func(t *testing.T) {
				eachIdentity(t, bootstrap, func(l *identityLab) {
					for _, b := range l.all {
						l.strange(b)
					}
					for attempt := 0; l.replaced() == 0; attempt++ {
						if attempt == 3 {
							l.t.Fatal("the map does not follow")
						}
						for _, endpoint := range endpoints {
							l.ask(endpoint)
						}
					}
					l.learned(l.t, 0, 1)
					l.reaches(l.t, "bob.test:9100", brokerName(5))
					l.reaches(l.t, "bob.test:9101", brokerName(6))
					if s := l.proxy.Health().Clusters[0].Strangers; len(s) != 0 {
						l.t.Errorf("strangers: %v", s)
					}
				})
			})
		}
	}
}

// Node 2's address leads to another cluster that has the same nodes and topics. Clients of the other nodes lose no record to
// it, and after the first response that names the other cluster, no client sends anything there.
func TestRecordsDoNotGetIntoAnotherCluster(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		own := l.startKfake(t, 3, kfake.SeedTopics(9, "t"), kfake.ClusterID("own"))
		other := kfakelab.StartOn(t, 3, func(node int) (net.Listener, error) {
			return l.vpc.ListenAs(context.Background(), brokerName(5+node))
		}, kfake.SeedTopics(9, "t"), kfake.ClusterID("other"))
		for p := range int32(9) {
			for _, c := range []*kfake.Cluster{own, other} {
				if err := c.MoveTopicPartition("t", p, p%3); err != nil {
					t.Fatal(err)
				}
			}
		}
		conf := l.config()
		var swapped atomic.Bool
		l.misleads(conf, func(_ context.Context, address string) (string, error) {
			if swapped.Load() && address == brokerName(2) {
				return brokerName(7), nil
			}
			return address, nil
		})
		l.start(t, conf)
		synctest.Wait() // kproxy has asked
		swapped.Store(true)

		c := l.franz(t, "bob.test:9092", kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.MaxVersions(kversion.V3_9_0()), // which does not name the broker that it wants (KIP-1242)
			kgo.MetadataMaxAge(200*time.Millisecond), kgo.RecordRetries(3), kgo.DisableIdempotentWrite())
		acked := map[int32]int{}
		for i := range 300 {
			r := kgo.StringRecord(strconv.Itoa(i))
			r.Partition = int32(i % 9)
			if err := c.ProduceSync(t.Context(), r).FirstErr(); err == nil {
				acked[r.Partition]++
			}
			<-time.After(20 * time.Millisecond)
		}
		if l.log.count("an address leads to another cluster") != 1 {
			t.Error("kproxy has not found the other cluster")
		}
		for p := range int32(9) {
			if p%3 == 2 {
				continue
			}
			if has := int(own.PartitionInfo("t", p).HighWatermark); has < acked[p] || acked[p] == 0 {
				t.Errorf("partition %d has %d records, %d were acknowledged", p, has, acked[p])
			}
			if n := other.PartitionInfo("t", p).HighWatermark; n > 0 {
				t.Errorf("%d records of partition %d got into the other cluster", n, p)
			}
		}
		before := highWatermarks(other)
		for i := range 100 {
			r := kgo.StringRecord(strconv.Itoa(i))
			r.Partition = int32(i % 9)
			_ = c.ProduceSync(t.Context(), r)
		}
		if after := highWatermarks(other); after != before {
			t.Errorf("%d records of node 2 got into the other cluster, and then %d", before, after)
		}
	})
}

// highWatermarks is the number of records in the topic.
func highWatermarks(c *kfake.Cluster) (n int64) {
	for p := range int32(9) {
		n += c.PartitionInfo("t", p).HighWatermark
	}
	return n
}

// The cluster was made anew while kproxy was down: the file of the one before does not keep kproxy from following.
func TestTheClusterIsReplacedWhileKproxyIsDown(t *testing.T) {
	needsPlainTCP(t)
	for name, closes := range map[string]bool{"kproxy can ask": false, "only clients log in": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var l lab
			b := l.liveBroker(t, 0)
			b.become(0, brokersAt(0))
			b.closes = closes
			conf := l.config()
			conf.StateDir = dir
			l.start(t, conf)
			l.answers(t, "bob.test:9092")
			l.learned(t, 0)
			stop(t, l.proxy)

			l.liveBroker(t, 6).set(func(b *livingBroker) { b.cluster = "other" })
			b.become(0, brokersAt(0, 6))
			b.set(func(b *livingBroker) { b.cluster = "other" })
			l.start(t, conf)
			l.answers(t, "bob.test:9092")
			l.learned(t, 0, 1)
			l.log.has(t, "another cluster responds; the brokers of the old one")
			l.reaches(t, "bob.test:9101", brokerName(6))
		})
	}
}

// A cluster that is made anew again and again at the same address is followed each time.
func TestTheClusterIsReplacedAgainAndAgain(t *testing.T) {
	eachIdentity(t, []int{0}, func(l *identityLab) {
		for n := range 5 {
			for _, b := range l.all {
				b.set(func(b *livingBroker) { b.cluster = "next" + strconv.Itoa(n) })
			}
			for attempt := 0; l.replaced() == n; attempt++ {
				if attempt == 3 {
					l.t.Fatalf("the map does not follow the %dth time", n+1)
				}
				l.ask("bob.test:9092")
			}
			<-time.After(20 * time.Second)
			l.delivers("bob.test:9092")
		}
	})
}
