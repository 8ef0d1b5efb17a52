package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pires/go-proxyproto"

	"kproxy/internal/cluster"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/internal/wire"
)

// readProxyHeader takes the header of a load balancer off the front of the
// client's bytes, if one is there, and counts the connection by the client that
// the header names. Without a header, or with one that names no client, the peer
// itself is the client: being in proxy_protocol.from lets a peer name clients, and
// does not let it past allow, deny and max_per_source. The header is read through
// the pipe, so that the connection stays a plain one.
func (a *arrival) readProxyHeader() error {
	s := a.s
	header, err := a.takeProxyHeader()
	if err != nil {
		return err
	}
	if header != nil {
		source, destination, ok := header.TCPAddrs()
		if ok && !header.Command.IsLocal() {
			s.client.from = source.String()
			s.client.mu.Lock()
			s.client.addrs = cluster.Client{Addr: hostport.Unmapped(source.AddrPort()), Local: hostport.Unmapped(destination.AddrPort())}
			s.client.mu.Unlock()
		} else if _, err := s.up.Peek(1); err != nil {
			// LOCAL or UNKNOWN and nothing behind it is a load balancer's health
			// check, which allow does not have to admit.
			return err
		}
	}
	if refused := s.entry.gate.Claim(s.client.addrs.Addr.Addr()); refused != "" {
		return end(CloseReason(refused), nil)
	}
	s.client.source = s.client.addrs.Addr.Addr()
	return nil
}

// takeProxyHeader reads the header and drops it from the pipe. It returns nil if
// there is none and none is required.
func (a *arrival) takeProxyHeader() (*proxyproto.Header, error) {
	s := a.s
	b, err := s.up.Peek(wire.SizeLen)
	if err != nil {
		return nil, err
	}
	if f := wire.Recognize(b); f != wire.ProxyV1 && f != wire.ProxyV2 {
		if s.entry.gate.Balancers().MustName() {
			return nil, badProxyHeader(errors.New("there is none"))
		}
		return nil, nil
	}
	size := 0
	for n := len(b); n > 0; {
		if b, err = s.up.Peek(n); err != nil {
			return nil, err
		}
		size, err = wire.ProxyHeaderLen(b)
		switch {
		case errors.Is(err, wire.ErrShort): // at most once for each byte; it looks at the first 107
			n = len(b) + 1
		case err != nil:
			return nil, badProxyHeader(err)
		default:
			n = 0
		}
	}
	header, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(b[:size])))
	if err != nil {
		return nil, badProxyHeader(err)
	}
	tlvs, err := header.TLVs()
	if err != nil {
		return nil, badProxyHeader(err)
	}
	s.client.tlvs = describeTLVs(tlvs)
	return header, s.up.Drop(size)
}

func badProxyHeader(err error) error {
	return &ended{
		reason: BadProxyHeader,
		err:    fmt.Errorf("PROXY protocol: %w", err),
		fix:    "switch the PROXY protocol on in the load balancer, or write proxy_protocol: {mode: optional}",
	}
}

// describeTLVs returns the fields of a header beyond the addresses, for the log. A type
// without a text appears as its number and its bytes.
func describeTLVs(tlvs []proxyproto.TLV) string {
	const most = 1024 // characters of a log line
	var all []string
	for _, tlv := range tlvs {
		switch tlv.Type {
		case proxyproto.PP2_TYPE_AUTHORITY:
			all = append(all, fmt.Sprintf("authority=%q", tlv.Value))
		case proxyproto.PP2_TYPE_ALPN:
			all = append(all, fmt.Sprintf("alpn=%q", tlv.Value))
		case proxyproto.PP2_TYPE_NETNS:
			all = append(all, fmt.Sprintf("netns=%q", tlv.Value))
		case proxyproto.PP2_TYPE_NOOP, proxyproto.PP2_TYPE_CRC32C:
		default:
			all = append(all, fmt.Sprintf("0x%02x=%x", byte(tlv.Type), tlv.Value))
		}
	}
	return foreign.LineOf(strings.Join(all, " "), most)
}
