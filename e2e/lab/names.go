//go:build linux

package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer is the name server of a network with Hosts, for names that its file does not
// have.
const nameServer = "127.0.0.1:53"

// Names is a name server whose names change while it serves. Its responses must not be
// cached: the time to live is 0.
type Names struct {
	mu        sync.Mutex
	addresses map[string]netip.Addr // by lower-case name with its last dot
}

// Set sets the names. Others do not exist.
func (n *Names) Set(addresses map[string]string) {
	parsed := map[string]netip.Addr{}
	for name, address := range addresses {
		parsed[strings.ToLower(name)+"."] = netip.MustParseAddr(address)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addresses = parsed
}

// Serve serves names in a network, until the socket that it returns is closed.
func (n *Names) Serve(ctx context.Context, at *Namespace) (net.PacketConn, error) {
	var conn net.PacketConn
	err := at.Inside(func() (err error) {
		var lc net.ListenConfig
		conn, err = lc.ListenPacket(ctx, "udp", nameServer)
		return err
	})
	if err != nil {
		return nil, err
	}
	go n.serve(conn)
	return conn, nil
}

// serve ends with the socket.
func (n *Names) serve(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		size, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		var query dnsmessage.Message
		if err != nil || query.Unpack(buf[:size]) != nil || len(query.Questions) != 1 {
			continue
		}
		if response, err := n.response(&query); err == nil {
			_, _ = conn.WriteTo(response, from)
		}
	}
}

func (n *Names) response(query *dnsmessage.Message) ([]byte, error) {
	question := query.Questions[0]
	n.mu.Lock()
	address, known := n.addresses[strings.ToLower(question.Name.String())]
	n.mu.Unlock()
	m := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: query.ID, Response: true, Authoritative: true,
			RecursionDesired: query.RecursionDesired, RecursionAvailable: true,
		},
		Questions: query.Questions,
	}
	switch {
	case !known:
		m.RCode = dnsmessage.RCodeNameError
	case question.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.AResource{A: address.As4()},
		}}
	}
	return m.Pack()
}

// Resolver asks a network's name server only.
func Resolver(at *Namespace) *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return at.Dial(ctx, "udp", nameServer)
		},
	}
}
