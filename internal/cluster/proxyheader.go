package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"

	"kproxy/internal/wait"
	"kproxy/proxy/config"
)

// Client is the client that needs a connection to a broker, and the local address that the
// client connected to. The zero Client is kproxy itself.
type Client struct{ Addr, Local netip.AddrPort }

// sendProxyHeader sends a PROXY protocol header that names the client, if the cluster's
// configuration has proxy_protocol.
func (w *Way) sendProxyHeader(ctx context.Context, conn net.Conn, who Client) error {
	if w.conf.ProxyProtocol == "" {
		return nil
	}
	header := &proxyproto.Header{Version: headerVersion(w.conf.ProxyProtocol), Command: proxyproto.LOCAL}
	if who.Addr.IsValid() && who.Local.IsValid() && who.Addr.Addr().Is4() == who.Local.Addr().Is4() {
		header.Command = proxyproto.PROXY
		header.TransportProtocol = proxyproto.TCPv4
		if who.Addr.Addr().Is6() {
			header.TransportProtocol = proxyproto.TCPv6
		}
		header.SourceAddr, header.DestinationAddr = net.TCPAddrFromAddrPort(who.Addr), net.TCPAddrFromAddrPort(who.Local)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(wait.Past) })
	_, err := header.WriteTo(conn)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("PROXY protocol header: %w", err)
	}
	return nil
}

// headerVersion returns the number of a version.
func headerVersion(v config.HeaderVersion) byte {
	if v == config.HeaderV1 {
		return 1
	}
	return 2
}
