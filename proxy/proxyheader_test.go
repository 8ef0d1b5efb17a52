package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/pires/go-proxyproto"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// header is what a load balancer says of a client.
func header(t *testing.T, version byte, client string, tlvs ...proxyproto.TLV) []byte {
	t.Helper()
	from, err := net.ResolveTCPAddr("tcp", client)
	if err != nil {
		t.Fatal(err)
	}
	to := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 9), Port: 9092}
	if from.IP.To4() == nil {
		to.IP = net.ParseIP("2001:db8::9")
	}
	h := proxyproto.HeaderProxyFromAddrs(version, from, to)
	if err := h.SetTLVs(tlvs); err != nil {
		t.Fatal(err)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// balanced starts a proxy whose listener bob takes headers from loopback.
func balanced(t *testing.T, l *lab, edit func(bob *config.Listener)) *broker {
	t.Helper()
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	bob := &conf.Clusters[0].Listeners[0]
	bob.ProxyProtocol.From = []string{"127.0.0.0/8"}
	edit(bob)
	l.start(t, conf)
	return b
}

// heartbeatThrough has a client that sent a header ask something.
func heartbeatThrough(t *testing.T, l *lab, b *broker, c client) {
	t.Helper()
	c.send(0, heartbeat())
	s := b.take()
	s.request(kmsg.Heartbeat, 0)
	s.answer(0, heartbeatAnswer())
	c.receive(0, heartbeatAnswer())
	finish(t, l, c, s)
}

func TestProxyHeaderNamesTheClient(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	tls := proxyproto.TLV{Type: 0xea, Value: []byte{1, 0xab}}
	for name, h := range map[string]struct {
		bytes []byte
		logs  []string
	}{
		"v1":             {header(t, 1, "203.0.113.7:4711"), []string{"client=203.0.113.7:4711"}},
		"v1, IPv6":       {header(t, 1, "[2001:db8::7]:4711"), []string{"client=[2001:db8::7]:4711"}},
		"v2":             {header(t, 2, "203.0.113.7:4711"), []string{"client=203.0.113.7:4711"}},
		"v2 with TLVs":   {header(t, 2, "203.0.113.7:4711", proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte("kafka")}, tls), []string{"client=203.0.113.7:4711", `authority=\"kafka\" 0xea=01ab`}},
		"v1 for nobody":  {headerUnknown, []string{"client=127.0.0.1:"}},
		"v2, a question": {headerLocal, []string{"client=127.0.0.1:"}},
	} {
		for _, byByte := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var l lab
				b := balanced(t, &l, func(*config.Listener) {})
				c := l.dial(t, "bob.test:9092")
				if byByte {
					if err := c.tryWriteBytes(h.bytes); err != nil {
						t.Fatal(err)
					}
				} else {
					c.write(h.bytes)
				}
				heartbeatThrough(t, &l, b, c)
				l.log.has(t, append(h.logs, "session closed", "reason=client_closed")...)
			})
		}
	}
}

// What the header says counts for limits and networks; what the load balancer
// itself is, for neither.
func TestProxyHeaderIsWhatLimitsCount(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	b := balanced(t, &l, func(bob *config.Listener) {
		bob.Limits.MaxPerSource = 1
		bob.Deny = []string{"203.0.113.66"}
	})
	open := func(client string) client {
		c := l.dial(t, "bob.test:9092")
		c.write(header(t, 2, client))
		return c
	}
	first := open("203.0.113.7:1")
	first.send(0, heartbeat())
	s := b.take()
	s.request(kmsg.Heartbeat, 0)
	open("203.0.113.7:2")
	l.ended(t, proxy.TooManyFromSource)
	open("203.0.113.66:1")
	l.ended(t, proxy.NotAllowed)
	heartbeatThrough(t, &l, b, open("203.0.113.8:1"))
	s.answer(0, heartbeatAnswer())
	first.receive(0, heartbeatAnswer())
	finish(t, &l, first, s)
	heartbeatThrough(t, &l, b, open("203.0.113.7:3")) // its place is free again
}

func TestProxyHeaderIsWrong(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	for name, c := range map[string]struct {
		bytes  []byte
		reason proxy.CloseReason
	}{
		"none":                 {requestFrame(0, heartbeat()), proxy.BadProxyHeader},
		"v1 without an end":    {[]byte("PROXY " + strings.Repeat("x", 200)), proxy.BadProxyHeader},
		"v1 with no addresses": {[]byte("PROXY TCP4 here there 1 2\r\n"), proxy.BadProxyHeader},
		"v2 of 64 KB":          {[]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff"), proxy.BadProxyHeader},
		"v2 with a cut TLV":    {append(bytes.Clone([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0e")), make([]byte, 14)...), proxy.BadProxyHeader},
		"v2 of version 3":      {[]byte("\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x00"), proxy.BadProxyHeader},
		"TLS behind it":        {append(header(t, 1, "203.0.113.7:4711"), 0x16, 3, 1, 2), proxy.ForeignProtocol},
		"and then nothing":     {header(t, 2, "203.0.113.7:4711"), proxy.NoRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l lab
			balanced(t, &l, func(*config.Listener) {})
			conn := l.dial(t, "bob.test:9092")
			conn.write(c.bytes)
			_ = conn.conn.(interface{ CloseWrite() error }).CloseWrite()
			l.ended(t, c.reason)
		})
	}
}

// With optional, clients may come by themselves; nobody but the load balancers
// may say who somebody else is.
func TestProxyHeaderOptional(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	b := balanced(t, &l, func(bob *config.Listener) { bob.ProxyProtocol.Mode = config.HeaderOptional })
	heartbeatThrough(t, &l, b, l.dial(t, "bob.test:9092"))
	c := l.dial(t, "bob.test:9092")
	c.write(header(t, 1, "203.0.113.7:4711"))
	heartbeatThrough(t, &l, b, c)
}

// What a load balancer sends that names no client.
var (
	headerUnknown = []byte("PROXY UNKNOWN\r\n")
	headerLocal   = []byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00")
	// A v2 header for the addresses of two Unix sockets, which are no clients of ours.
	headerUnix = append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8"), make([]byte, 216)...)
)

// A peer that names no client is the client itself. That it may name clients does
// not take it past allow, deny and max_per_source.
func TestPeerWithoutProxyHeaderIsTheClient(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	for name, c := range map[string]struct {
		header []byte
		mode   config.HeaderMode
	}{
		"none":                     {nil, config.HeaderOptional},
		"v1 UNKNOWN":               {headerUnknown, config.HeaderOptional},
		"v2 LOCAL":                 {headerLocal, config.HeaderOptional},
		"v2 Unix":                  {headerUnix, config.HeaderOptional},
		"v1 UNKNOWN of a balancer": {headerUnknown, config.HeaderRequired},
		"v2 LOCAL of a balancer":   {headerLocal, config.HeaderRequired},
	} {
		t.Run(name+" "+string(c.mode), func(t *testing.T) {
			t.Parallel()
			request := append(bytes.Clone(c.header), requestFrame(0, heartbeat())...)
			t.Run("deny", func(t *testing.T) {
				var l lab
				balanced(t, &l, func(bob *config.Listener) {
					bob.ProxyProtocol.Mode, bob.Deny = c.mode, []string{"127.0.0.1"}
				})
				_ = l.dial(t, "bob.test:9092").tryWrite(request)
				l.ended(t, proxy.NotAllowed)
			})
			t.Run("allow", func(t *testing.T) {
				var l lab
				balanced(t, &l, func(bob *config.Listener) {
					bob.ProxyProtocol.Mode, bob.Allow = c.mode, []string{"203.0.113.0/24"}
				})
				_ = l.dial(t, "bob.test:9092").tryWrite(request)
				l.ended(t, proxy.NotAllowed)
			})
			t.Run("max_per_source", func(t *testing.T) {
				var l lab
				b := balanced(t, &l, func(bob *config.Listener) {
					bob.ProxyProtocol.Mode, bob.Limits.MaxPerSource = c.mode, 1
				})
				first := l.dial(t, "bob.test:9092")
				first.write(request)
				s := b.take()
				s.request(kmsg.Heartbeat, 0)
				_ = l.dial(t, "bob.test:9092").tryWrite(request)
				l.ended(t, proxy.TooManyFromSource)
				s.answer(0, heartbeatAnswer())
				first.receive(0, heartbeatAnswer())
				finish(t, &l, first, s)
			})
		})
	}
}

// A load balancer's health check does not have to be among a listener's clients.
func TestProxyHeaderOfHealthChecks(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	for _, header := range [][]byte{headerUnknown, headerLocal} {
		var l lab
		balanced(t, &l, func(bob *config.Listener) { bob.Deny = []string{"127.0.0.0/8"} })
		c := l.dial(t, "bob.test:9092")
		c.write(header)
		_ = c.conn.(interface{ CloseWrite() error }).CloseWrite()
		l.ended(t, proxy.NoRequest)
	}
}

// Where listeners share a socket, the one that is asked for by name decides.
func TestPeerWithoutProxyHeaderAtSharedAddress(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	l := newSNILab(t)
	for i := range l.conf.Clusters {
		edge := &l.conf.Clusters[i].Listeners[0]
		edge.ProxyProtocol = config.LoadBalancers{From: []string{"127.0.0.0/8"}, Mode: config.HeaderOptional}
	}
	l.conf.Clusters[1].Listeners[0].Deny = []string{"127.0.0.1"}
	b := l.startBroker(t, 0, 0)
	l.startBroker(t, 10, 10)
	l.start(t, l.conf)
	heartbeatThrough(t, &l.lab, b, l.ask(t, "orders", "orders.test"))
	denied := l.ask(t, "audit", "audit.test")
	_ = denied.tryWrite(requestFrame(0, heartbeat()))
	l.ended(t, proxy.NotAllowed)
}

func TestProxyHeaderOfSomebodyElse(t *testing.T) {
	t.Parallel()
	for mode, want := range map[config.HeaderMode]proxy.CloseReason{
		config.HeaderRequired: proxy.NotAllowed, config.HeaderOptional: proxy.ForeignProtocol,
	} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			var l lab
			balanced(t, &l, func(bob *config.Listener) {
				bob.ProxyProtocol = config.LoadBalancers{From: []string{"10.0.0.0/8"}, Mode: mode}
			})
			conn, err := l.outside.Dial(t.Context(), "tcp", "bob.test:9092")
			if err == nil { // or it was reset before Dial had seen the connection
				_ = newPeer(t, conn).tryWrite(header(t, 2, "203.0.113.7:4711"))
				defer func() { _ = conn.Close() }()
			}
			l.ended(t, want)
		})
	}
}

// firstWrite keeps what is written first, and does not send it.
type firstWrite struct {
	net.Conn
	once  sync.Once
	wrote func([]byte)
}

func (c *firstWrite) Write(b []byte) (int, error) {
	first := false
	c.once.Do(func() { first = true })
	if first {
		c.wrote(bytes.Clone(b))
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *firstWrite) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// The broker's side hears who the client is; of the proxy's own questions, that
// they are its own.
func TestProxyHeaderToBrokers(t *testing.T) {
	t.Parallel()
	for _, version := range []config.HeaderVersion{config.HeaderV1, config.HeaderV2} {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			var l lab
			b := l.startBroker(t, 0, 0)
			conf := l.config()
			conf.Clusters[0].ProxyProtocol = version
			dial := conf.Dial
			headers := make(chan []byte, 10)
			conf.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dial(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return &firstWrite{Conn: conn, wrote: func(b []byte) { headers <- b }}, nil
			}
			l.start(t, conf)
			l.learned(t, 0)
			own, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(<-headers)))
			if err != nil || !own.Command.IsLocal() && own.TransportProtocol != proxyproto.UNSPEC {
				t.Errorf("of the proxy's own question: got %+v, %v", own, err)
			}
			c := l.dial(t, "bob.test:9092")
			heartbeatThrough(t, &l, b, c)
			got, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(<-headers)))
			if err != nil {
				t.Fatal(err)
			}
			source, destination, ok := got.TCPAddrs()
			if !ok || source.String() != c.conn.LocalAddr().String() || destination.String() != c.conn.RemoteAddr().String() {
				t.Errorf("got %v to %v, want %v to %v", source, destination, c.conn.LocalAddr(), c.conn.RemoteAddr())
			}
		})
	}
}
