//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"

	"kproxy/e2e/lab"
)

// place has the networks of a workload's processes, and their addresses. A nil Namespace
// is the network that we are in.
type place struct {
	net                   network
	client, proxy, broker *lab.Namespace
	proxyHost             string // where clients reach the proxy
	brokerHost            string // where the proxy reaches the broker
	directHost            string // where clients reach the broker
	about                 string
}

// The namespaces' names are the same for each run, so that one can remove the leftovers
// of another. kproxy-bench runs on a machine one at a time anyway.
var namespaceNames = []string{"kpb-client", "kpb-proxy", "kpb-broker"}

// newPlace makes the networks. The client has a link to the proxy, the proxy one
// to the broker, and direct one of its own, as long as each of the two:
//
//	client 10.213.40.1/30 ── proxy 10.213.40.2
//	                         proxy 10.213.41.1/30 ── broker 10.213.41.2
//	client 10.213.42.1/30 ────────────────────────── broker 10.213.42.2
func newPlace(n network) (*place, error) {
	if n == loopback {
		const here = "127.0.0.1"
		return &place{net: n, proxyHost: here, brokerHost: here, directHost: here, about: "loopback"}, nil
	}
	if n == vethBare {
		if _, err := exec.LookPath("ethtool"); err != nil {
			return nil, errors.New("ethtool is not installed, which switches offloads off (Debian: apt-get install ethtool)")
		}
	}
	p := &place{net: n, proxyHost: "10.213.40.2", brokerHost: "10.213.41.2", directHost: "10.213.42.2", about: "veth, MTU 1500"}
	for i, ns := range []**lab.Namespace{&p.client, &p.proxy, &p.broker} {
		made, err := lab.NewNamespace(namespaceNames[i])
		if err != nil {
			p.close()
			return nil, err
		}
		*ns = made
	}
	if err := p.join(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *place) join() error {
	links := errors.Join(
		p.client.Link("10.213.40.1/30", p.proxy, p.proxyHost+"/30"),
		p.proxy.Link("10.213.41.1/30", p.broker, p.brokerHost+"/30"),
		p.client.Link("10.213.42.1/30", p.broker, p.directHost+"/30"),
	)
	if p.net != vethBare || links != nil {
		return links
	}
	p.about += ", no TSO, GSO, GRO"
	for _, ns := range []*lab.Namespace{p.client, p.proxy, p.broker} {
		out, err := ns.Command(exec.CommandContext(context.Background(), "ls", "/sys/class/net")).Output()
		if err != nil {
			return fmt.Errorf("the links of %s: %w", ns.Name, err)
		}
		for link := range strings.FieldsSeq(string(out)) {
			if !strings.HasPrefix(link, "to-") {
				continue
			}
			if err := ns.Run("ethtool", "-K", link, "tso", "off", "gso", "off", "gro", "off"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *place) close() {
	for _, ns := range []*lab.Namespace{p.client, p.proxy, p.broker} {
		if ns != nil {
			ns.Close()
		}
	}
}

// dial connects as a client.
func (p *place) dial(ctx context.Context, address string) (net.Conn, error) {
	return p.client.Dial(ctx, "tcp", address)
}
