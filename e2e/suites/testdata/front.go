package kfake

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// frontCounts names the file for kproxy's counts. Without it there is no kproxy, and the
// tests run directly.
var frontCounts = os.Getenv("SUITES_FRONT_COUNTS")

var (
	frontNumber atomic.Int32
	fronts      sync.Map // *Cluster -> *frontOf
)

// frontOf is the kproxy before one cluster.
type frontOf struct {
	proxy     *proxy.Proxy
	bootstrap string
	host      string
	brokers   map[int32]address // those that the cluster began with
}

type address struct {
	host string
	port int32
}

const bootstrapPort, firstPort = 9092, 9100

// own is the address that a broker advertises, for one that kproxy does.
func (f *frontOf) own(host string, port int32) (string, int32) {
	if host != f.host {
		return host, port
	}
	node := port - firstPort
	if port == bootstrapPort {
		node = 0
	}
	if a, ok := f.brokers[node]; ok {
		return a.host, a.port
	}
	return host, port
}

// withOwnAddresses gives a response the brokers' own addresses where it has kproxy's. Tests
// replay the responses that their clients got, and make responses of ListenAddrs; a broker
// sends its own.
func (c *Cluster) withOwnAddresses(resp kmsg.Response) kmsg.Response {
	loaded, ok := fronts.Load(c)
	if !ok {
		return resp
	}
	f := loaded.(*frontOf)
	switch r := resp.(type) {
	case *kmsg.MetadataResponse:
		changed := *r
		changed.Brokers = slices.Clone(r.Brokers)
		for i := range changed.Brokers {
			b := &changed.Brokers[i]
			b.Host, b.Port = f.own(b.Host, b.Port)
		}
		return &changed
	case *kmsg.ProduceResponse:
		changed := *r
		changed.Brokers = slices.Clone(r.Brokers)
		for i := range changed.Brokers {
			b := &changed.Brokers[i]
			b.Host, b.Port = f.own(b.Host, b.Port)
		}
		return &changed
	}
	return resp
}

// fronted reports whether a kproxy is before this listener. Tests in a synctest bubble
// have listeners that are no sockets.
func fronted(ln net.Listener) bool {
	_, tcp := ln.Addr().(*net.TCPAddr)
	return frontCounts != "" && tcp
}

// advertisedHost is the host that a broker advertises: behind kproxy, a name that does
// not resolve.
func (b *broker) advertisedHost(host string) string {
	if !fronted(b.ln) {
		return host
	}
	return fmt.Sprintf("broker-%d.vpc.invalid", b.node)
}

// ListenAddrs are the addresses that clients connect to: behind kproxy, its bootstrap
// endpoint, once for each broker.
func (c *Cluster) ListenAddrs() []string {
	addresses := c.brokerAddrs()
	if f, ok := fronts.Load(c); ok {
		for i := range addresses {
			addresses[i] = f.(*frontOf).bootstrap
		}
	}
	return addresses
}

// NewCluster makes a cluster, with a kproxy before it.
func NewCluster(opts ...Opt) (*Cluster, error) {
	c, err := newBareCluster(opts...)
	if err != nil {
		return nil, err
	}
	return c, c.openFront()
}

// openFront starts the kproxy, and waits until it knows the brokers: some tests count its
// own first questions. Brokers that want a login do not respond.
func (c *Cluster) openFront() error {
	for _, b := range c.bs {
		if !fronted(b.ln) {
			return nil
		}
	}
	n := frontNumber.Add(1)
	f := &frontOf{host: fmt.Sprintf("127.77.%d.%d", n/250, 1+n%250), brokers: map[int32]address{}}
	f.bootstrap = fmt.Sprintf("%s:%d", f.host, bootstrapPort)
	var bootstrap []string
	for _, b := range c.bs {
		host, port := b.hostport()
		f.brokers[b.node] = address{host, port}
		bootstrap = append(bootstrap, b.ln.Addr().String())
	}
	p, err := proxy.New(&proxy.Config{Config: config.Config{Clusters: []config.Cluster{{
		Name:      "kfake",
		Bootstrap: bootstrap,
		Dial:      []config.DialRule{{Match: "broker-*.vpc.invalid:*", To: "127.0.0.1:{port}"}},
		Listeners: []config.Listener{{Name: "tests", Bind: f.bootstrap, Nodes: config.Nodes{Ports: config.Range{First: firstPort, Last: firstPort + 31}}}},
	}}}})
	if err != nil {
		return err
	}
	if err := p.Start(context.Background()); err != nil {
		return err
	}
	f.proxy = p
	fronts.Store(c, f)
	deadline := time.Now().Add(time.Second)
	for p.Health().Clusters[0].Brokers == 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// closeFront ends the kproxy, and appends its counts to the file.
func (c *Cluster) closeFront() {
	f, ok := fronts.LoadAndDelete(c)
	if !ok {
		return
	}
	p := f.(*frontOf).proxy
	now, cancel := context.WithCancel(context.Background())
	cancel()
	p.Shutdown(now)
	line := struct {
		Sessions    int64
		Dials, Ends map[string]int64
	}{0, map[string]int64{}, map[string]int64{}}
	for _, cluster := range p.Stats().Clusters {
		for _, dial := range cluster.Dials {
			line.Dials[string(dial.Outcome)] += dial.Count
		}
		for _, listener := range cluster.Listeners {
			line.Sessions += listener.Opened
			for _, closed := range listener.Closed {
				line.Ends[string(closed.Reason)] += closed.Count
			}
		}
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	out, err := os.OpenFile(frontCounts, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer out.Close()
	if _, err := out.Write(append(text, '\n')); err != nil {
		panic(err)
	}
}
