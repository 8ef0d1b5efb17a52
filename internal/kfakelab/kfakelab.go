// Package kfakelab starts kfake clusters for tests: brokers in the process of the test, which
// advertise the addresses that the test wants.
package kfakelab

import (
	"fmt"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kproxy/internal/netlab"
)

// Cluster is a cluster that ends with its test.
type Cluster struct {
	*kfake.Cluster
	At []string // the real addresses of the brokers, by node
}

// Start starts n brokers on loopback. advertise returns the advertised addresses for the real ones,
// by node: Real, Hidden, All, or a function of the test.
func Start(tb testing.TB, n int, advertise func(at []string) []string, opts ...kfake.Opt) *Cluster {
	tb.Helper()
	var listeners []net.Listener
	c := new(Cluster)
	for range n {
		l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		listeners, c.At = append(listeners, l), append(c.At, l.Addr().String())
	}
	names := advertise(c.At)
	c.Cluster = StartOn(tb, n, func(node int) (net.Listener, error) {
		return netlab.Named(listeners[node], names[node]), nil
	}, opts...)
	return c
}

// StartOn starts n brokers, each on the listener that listen returns for it. A broker advertises
// the listener's Addr.
func StartOn(tb testing.TB, n int, listen func(node int) (net.Listener, error), opts ...kfake.Opt) *kfake.Cluster {
	tb.Helper()
	next := 0
	inOrder := func(string, string) (net.Listener, error) {
		l, err := listen(next)
		next++
		return l, err
	}
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(n), kfake.ListenFn(inOrder))...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// Real is for brokers that advertise their real addresses.
func Real(at []string) []string { return at }

// Hidden is for brokers that advertise names that do not resolve: b0.vpc.invalid:9092 and so on.
func Hidden(at []string) []string {
	names := make([]string, len(at))
	for i := range names {
		names[i] = fmt.Sprintf("b%d.vpc.invalid:9092", i)
	}
	return names
}

// All returns a function for brokers that all advertise one address.
func All(address string) func(at []string) []string {
	return func(at []string) []string {
		names := make([]string, len(at))
		for i := range names {
			names[i] = address
		}
		return names
	}
}
