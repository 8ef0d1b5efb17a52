//go:build linux

package lab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are handed out below the range that Linux gives to outgoing
// connections (32768 and up), so that no connection of the tests' own takes a
// port between the check that it is free and its use.
const (
	firstPort = 20000
	lastPort  = 32000
	// PortBlock aligns every range at a decimal digit: node n then has port
	// base+n, and its last digit reads as the node's id, in logs and in a
	// dial rule such as "127.0.0.1:2345{1}".
	PortBlock = 10
)

// Ports hands out blocks of consecutive loopback ports, never one twice.
type Ports struct {
	mu   sync.Mutex
	next int
}

// NewPorts starts at a random block, so that two runs on one machine seldom conflict.
func NewPorts() *Ports {
	return &Ports{next: firstPort + PortBlock*rand.IntN((lastPort-firstPort)/PortBlock)}
}

// Block returns the first of PortBlock consecutive ports that are free on host.
func (p *Ports) Block(ctx context.Context, host string) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range (lastPort - firstPort) / PortBlock {
		base := p.next
		p.next += PortBlock
		if p.next >= lastPort {
			p.next = firstPort
		}
		if allFree(ctx, host, base) {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no %d consecutive free ports on %s between %d and %d", PortBlock, host, firstPort, lastPort)
}

func allFree(ctx context.Context, host string, base int) bool {
	var lc net.ListenConfig
	for port := base; port < base+PortBlock; port++ {
		l, err := lc.Listen(ctx, "tcp", HostPort(host, port))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// HostPort is net.JoinHostPort for a port that is a number.
func HostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
