package main

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"kproxy/internal/hostport"
	"kproxy/proxy/config"
)

// demoListener is one of the story's listeners.
type demoListener struct {
	conf config.Listener
	who  string // its clients
}

// demoListeners returns BOB for the Docker network, FRED for this machine, and ALICE for
// the world outside. They advertise the addresses that work from there. Here they all
// listen on loopback, at the story's ports where those are free.
func demoListeners(ports *demoPorts) ([]demoListener, error) {
	story := []struct {
		name, host, who string
		port, nodes     int
	}{
		{"bob", "kafka0", "containers on the Docker network", 29092, 29100},
		{"fred", "localhost", "programs on this machine", 9092, 9100},
		{"alice", "never-gonna-give-you-up", "clients outside", 29094, 29200},
	}
	var ways []demoListener
	for _, s := range story {
		port, err := ports.free(s.port, 1)
		if err != nil {
			return nil, err
		}
		nodes, err := ports.free(s.nodes, demoBrokers)
		if err != nil {
			return nil, err
		}
		ways = append(ways, demoListener{
			who: s.who,
			conf: config.Listener{
				Name:      s.name,
				Bind:      hostport.Join("127.0.0.1", int32(port)),
				Advertise: hostport.Join(s.host, int32(port)),
				Nodes:     config.Nodes{Ports: config.Range{First: nodes, Last: nodes + demoBrokers - 1}},
			},
		})
	}
	return ways, nil
}

// demoPorts are the ports of one demo. It binds them after all have been chosen.
type demoPorts struct{ taken map[int]bool }

// free returns the first of n free consecutive ports on loopback: first itself if they are free, or one a few
// hundred higher.
func (p *demoPorts) free(first, n int) (int, error) {
	const step = 300
	for at := first; at+n <= 1<<16; at += step {
		if p.areFree(at, n) {
			for port := at; port < at+n; port++ {
				p.taken[port] = true
			}
			return at, nil
		}
	}
	return 0, fmt.Errorf("no %d free ports in a row on 127.0.0.1 from %d up", n, first)
}

func (p *demoPorts) areFree(first, n int) bool {
	for port := first; port < first+n; port++ {
		if p.taken[port] {
			return false
		}
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		_ = l.Close() // it was free, which was to be checked
	}
	return true
}
