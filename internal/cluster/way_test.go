package cluster

import (
	"testing"
	"time"

	"kproxy/proxy/config"
)

// A part of a Way is closed once, with the last Way that has it, when the last connection by
// that Way is closed.
func TestPartsAreClosedWithTheirLastWay(t *testing.T) {
	c := newCluster(t)
	closed := 0
	conf := *c.Way().conf
	first := &Way{conf: &conf, dialer: c.Way().dialer}
	first.uses.Store(1)
	shared := newPart(&closed, func(n *int) { *n++ })
	c.way.Store(first)
	link := Link{Way: c.use()}
	for range 2 { // by two more configurations that keep the part
		shared.share()
	}
	shared.leave()
	shared.leave()
	if closed != 0 {
		t.Error("it is closed, and a Way has it")
	}
	changed := conf
	cluster := *conf.Cluster
	changed.Cluster, cluster.ForgetAfter = &cluster, time.Hour
	next, err := c.Prepare(&changed)
	if err != nil {
		t.Fatal(err)
	}
	c.Reconfigure(next, conf.Listeners)
	if c.Way() != next || first.uses.Load() != 1 {
		t.Errorf("the first Way has %d uses, want the connection's", first.uses.Load())
	}
	link.Way.Release()
	if first.uses.Load() != 0 || first.tryUse() {
		t.Error("the first Way can still be used")
	}
	shared.leave()
	shared.close()
	if closed != 1 {
		t.Errorf("it was closed %d times", closed)
	}
}

// A Way takes over the parts whose configuration has not changed.
func TestWayKeepsParts(t *testing.T) {
	c := newCluster(t)
	conf := *c.Way().conf
	cluster := *conf.Cluster
	conf.Cluster = &cluster
	cluster.TLS = &config.UpstreamTLS{}
	cluster.Via = config.Via{URL: "socks5://127.0.0.1:1"}
	first, err := c.Prepare(&conf)
	if err != nil {
		t.Fatal(err)
	}
	c.Reconfigure(first, conf.Listeners)
	again, err := c.Prepare(&conf)
	if err != nil {
		t.Fatal(err)
	}
	if again != first {
		t.Error("the same configuration has another Way")
	}
	c.Reconfigure(again, conf.Listeners)
	if n := first.uses.Load(); n != 1 {
		t.Errorf("the Way has %d uses, want the Cluster's", n)
	}
	longer := cluster
	longer.ForgetAfter = time.Hour
	conf.Cluster = &longer
	same, err := c.Prepare(&conf)
	if err != nil {
		t.Fatal(err)
	}
	if same.TLS() == nil || same.TLS() != first.TLS() || same.Via() == nil || same.Via() != first.Via() {
		t.Error("the next Way has other parts")
	}
	same.Release()
	other := conf
	changed := cluster
	other.Cluster = &changed
	changed.TLS, changed.Via.URL = &config.UpstreamTLS{MinVersion: "1.3"}, "socks5://127.0.0.1:2"
	next, err := c.Prepare(&other)
	if err != nil {
		t.Fatal(err)
	}
	if next.TLS() == first.TLS() || next.Via() == first.Via() {
		t.Error("a changed Way has the old parts")
	}
	next.Release()
}
