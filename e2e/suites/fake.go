//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"

	"kproxy/e2e/lab"
)

// fakeVersions are the releases that kfake plays for kgo's tests.
var fakeVersions = []string{"0.11.0", "1.1", "2.8", "3.9", "4.1"}

const fakeBrokers = 3

// fake is a cluster of kfake's in this process. It is made anew for each way: a fake
// broker has one listener.
type fake struct{ version string }

func (f *fake) String() string { return "kfake as Kafka " + f.version }

func (f *fake) start(context.Context, *site) error { return nil }

func (f *fake) close() {}

func (f *fake) open(ctx context.Context, s *site, w way) (target, func() (counts, error), error) {
	dir, err := s.newDir("fake")
	if err != nil {
		return target{}, nil, err
	}
	at := s.newSeat()
	version := kversion.FromString(f.version)
	if version == nil {
		return target{}, nil, fmt.Errorf("kfake has no version %s", f.version)
	}
	next := 0
	cluster, err := kfake.NewCluster(kfake.NumBrokers(fakeBrokers), kfake.MaxVersions(version),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			next++
			return s.listenAs(ctx, network, at.broker(next, 9092), unresolved(next, 9092), w)
		}))
	if err != nil {
		return target{}, nil, fmt.Errorf("kfake: %w", err)
	}
	t := target{way: w, dir: dir}
	if w == directly {
		t.seeds = strings.Join(cluster.ListenAddrs(), ",")
		return t, func() (counts, error) { cluster.Close(); return counts{}, nil }, nil
	}
	t.seeds = lab.HostPort(at.front(), 9092)
	front, err := s.startFront(ctx, at, dir, fmt.Sprintf(`
  vpc:
    bootstrap: [%s]
    dial: [%s]
    listeners:
      clients: {bind: %q, nodes: {ports: 9100-9109}}
`, strings.Join(cluster.ListenAddrs(), ", "), at.rule(9092, 9092), t.seeds))
	if err != nil {
		cluster.Close()
		return target{}, nil, err
	}
	return t, func() (counts, error) {
		defer cluster.Close()
		return front.stop(ctx)
	}, nil
}

// listenAs listens in the namespace. Through kproxy the listener has another name for its
// address, which the fake broker advertises.
func (s *site) listenAs(ctx context.Context, network, address, name string, w way) (l net.Listener, err error) {
	err = s.net.Inside(func() error {
		l, err = new(net.ListenConfig).Listen(ctx, network, address)
		return err
	})
	if err != nil || w == directly {
		return l, err
	}
	return named{l, brokerName(name)}, nil
}

// named is a listener that reports another address.
type named struct {
	net.Listener
	address brokerName
}

func (n named) Addr() net.Addr { return n.address }

// brokerName is a net.Addr that is a name.
type brokerName string

func (brokerName) Network() string  { return "tcp" }
func (a brokerName) String() string { return string(a) }
