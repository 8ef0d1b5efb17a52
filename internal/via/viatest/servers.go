// Package viatest has the proxies that tests go through to a far side: SOCKS5, HTTP
// CONNECT and SSH servers on loopback that can be stopped and restarted, and a command
// for exec. Names resolve at their far side alone.
package viatest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"kproxy/internal/portlab"
	"kproxy/internal/wait"
)

// The far side's names. They do not resolve here: if a dial works, the proxy has resolved
// the name.
const (
	FarName   = "broker-1.far.invalid" // with Far's prefix: where the test's brokers are
	Forbidden = "forbidden.far.invalid"
	User      = "kafka"
	Password  = "s3cret-of-the-proxy"
)

// Gate is a server that can be stopped with all its connections, and restarted at the
// same address.
type Gate struct {
	t       testing.TB
	Address string
	handle  func(conn net.Conn)

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	accepted int
	running  sync.WaitGroup
}

// NewGate starts a server at an address of its own: no other test listens there while it is cut.
func NewGate(tb testing.TB, handle func(conn net.Conn)) *Gate {
	tb.Helper()
	g := &Gate{t: tb, Address: portlab.Host(tb) + ":0", handle: handle}
	g.Open()
	tb.Cleanup(g.Cut)
	return g
}

// Open starts the server, again at the same address.
func (g *Gate) Open() {
	g.t.Helper()
	l, err := net.Listen("tcp", g.Address)
	// Meanwhile the kernel may have given the port to an outgoing connection of another test.
	for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); {
		wait.Sleep(g.t.Context(), 10*time.Millisecond)
		l, err = net.Listen("tcp", g.Address)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listener, g.Address, g.conns = l, l.Addr().String(), make(map[net.Conn]bool)
	g.running.Go(func() { g.accept(l) })
}

func (g *Gate) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		g.mu.Lock()
		if g.listener != l {
			g.mu.Unlock()
			conn.Close()
			return
		}
		g.conns[conn] = true
		g.accepted++
		g.mu.Unlock()
		g.running.Go(func() {
			defer conn.Close()
			g.handle(conn)
		})
	}
}

// Cut drops the listener and all connections, and waits for their handlers.
func (g *Gate) Cut() {
	g.mu.Lock()
	if g.listener != nil {
		g.listener.Close()
		g.listener = nil
	}
	for conn := range g.conns {
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	clear(g.conns)
	g.mu.Unlock()
	g.running.Wait()
}

// Count is how many connections were accepted.
func (g *Gate) Count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.accepted
}

// Port is the port of the address.
func (g *Gate) Port() int {
	_, port, _ := net.SplitHostPort(g.Address)
	n, _ := strconv.Atoi(port)
	return n
}

// Dial connects to the gate whatever the address is, as a via's DialProxy for another name.
func (g *Gate) Dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, g.Address)
}

// Far is the gate's address as the far side knows it: a name below FarName that has the IP
// address, with dashes.
func (g *Gate) Far() string {
	host, port, _ := net.SplitHostPort(g.Address)
	return strings.ReplaceAll(host, ".", "-") + "." + FarName + ":" + port
}

// Broker echoes its input, and ends its side after the input's end.
func Broker(tb testing.TB) *Gate {
	tb.Helper()
	return NewGate(tb, func(conn net.Conn) {
		_, _ = io.Copy(conn, conn)
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	})
}

var errForbidden = errors.New("forbidden")

// reach is the far side's own dial: only names as Far's resolve.
func reach(host string, port int) (net.Conn, error) {
	ip, far := strings.CutSuffix(host, "."+FarName)
	switch {
	case far:
		return net.Dial("tcp", net.JoinHostPort(strings.ReplaceAll(ip, "-", "."), strconv.Itoa(port)))
	case host == Forbidden:
		return nil, errForbidden
	default:
		return nil, fmt.Errorf("no such host %q", host)
	}
}

// relay copies both ways, each end on its own.
func relay(client io.ReadWriter, endClient func() error, broker net.Conn) {
	defer broker.Close()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(broker, client)
		_ = broker.(*net.TCPConn).CloseWrite()
	})
	both.Go(func() {
		_, _ = io.Copy(client, broker)
		_ = endClient()
	})
	both.Wait()
}

// SOCKS5 is a strict SOCKS5 server: CONNECT to a name, with a password or
// without.
func SOCKS5(tb testing.TB, login bool) *Gate {
	tb.Helper()
	return NewGate(tb, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		read := func(n int) []byte {
			b := make([]byte, n)
			if _, err := io.ReadFull(r, b); err != nil {
				return make([]byte, n)
			}
			return b
		}
		hello := read(2)
		methods := read(int(hello[1]))
		want := byte(0)
		if login {
			want = 2
		}
		if hello[0] != 5 || !bytes.Contains(methods, []byte{want}) {
			_, _ = conn.Write([]byte{5, 0xff})
			return
		}
		_, _ = conn.Write([]byte{5, want})
		if login {
			name := read(int(read(2)[1]))
			secret := read(int(read(1)[0]))
			if string(name) != User || string(secret) != Password {
				_, _ = conn.Write([]byte{1, 1})
				return
			}
			_, _ = conn.Write([]byte{1, 0})
		}
		request := read(4)
		if !bytes.Equal(request, []byte{5, 1, 0, 3}) {
			_, _ = conn.Write([]byte{5, 8, 0, 1, 0, 0, 0, 0, 0, 0})
			return
		}
		host := string(read(int(read(1)[0])))
		target, err := reach(host, int(binary.BigEndian.Uint16(read(2))))
		reply := byte(0)
		switch {
		case errors.Is(err, errForbidden):
			reply = 2
		case err != nil:
			reply = 5
		}
		_, _ = conn.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})
		if err == nil {
			relay(struct {
				io.Reader
				io.Writer
			}{r, conn}, conn.(*net.TCPConn).CloseWrite, target)
		}
	})
}

// Connect is an HTTP proxy that knows CONNECT.
func Connect(tb testing.TB, login bool) *Gate {
	tb.Helper()
	return NewGate(tb, func(conn net.Conn) { ServeConnect(conn, conn.(*net.TCPConn).CloseWrite, login) })
}

// ServeConnect serves one connection of an HTTP proxy; end ends its sending side.
func ServeConnect(conn net.Conn, end func() error, login bool) {
	r := bufio.NewReader(conn)
	request, err := http.ReadRequest(r)
	if err != nil || request.Method != http.MethodConnect {
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		return
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(User+":"+Password))
	if login && request.Header.Get("Proxy-Authorization") != want {
		dump, _ := httputil.DumpRequest(request, false)
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: %d\r\n\r\n%s", len(dump), dump)
		return
	}
	host, port, _ := net.SplitHostPort(request.Host)
	n, _ := strconv.Atoi(port)
	target, err := reach(host, n)
	switch {
	case errors.Is(err, errForbidden):
		_, _ = io.WriteString(conn, "HTTP/1.1 403 Forbidden by the rules\r\nContent-Length: 0\r\n\r\n")
	case err != nil:
		_, _ = io.WriteString(conn, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
	default:
		_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
		relay(struct {
			io.Reader
			io.Writer
		}{r, conn}, end, target)
	}
}

// SSH is an SSH server that forwards. answers reports whether it responds to keep-alives
// and opens; nil: always.
func SSH(tb testing.TB, host ssh.Signer, accept ssh.PublicKey) *Gate {
	tb.Helper()
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if meta.User() == User && accept != nil && bytes.Equal(key.Marshal(), accept.Marshal()) {
				return nil, nil
			}
			return nil, errors.New("unknown key")
		},
		PasswordCallback: func(meta ssh.ConnMetadata, given []byte) (*ssh.Permissions, error) {
			if meta.User() == User && string(given) == Password {
				return nil, nil
			}
			return nil, errors.New("wrong password")
		},
	}
	config.AddHostKey(host)
	return NewGate(tb, func(conn net.Conn) {
		server, channels, requests, err := ssh.NewServerConn(conn, config)
		if err != nil {
			return
		}
		var running sync.WaitGroup
		defer running.Wait()
		defer server.Close()
		running.Go(func() { ssh.DiscardRequests(requests) })
		for offer := range channels {
			running.Go(func() { forward(offer) })
		}
	})
}

func forward(offer ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		Originator string
		OriginPort uint32
	}
	if offer.ChannelType() != "direct-tcpip" || ssh.Unmarshal(offer.ExtraData(), &to) != nil {
		_ = offer.Reject(ssh.UnknownChannelType, "only direct-tcpip")
		return
	}
	target, err := reach(to.Host, int(to.Port))
	switch {
	case errors.Is(err, errForbidden):
		_ = offer.Reject(ssh.Prohibited, "open failed")
		return
	case err != nil:
		_ = offer.Reject(ssh.ConnectionFailed, "Connection refused")
		return
	}
	channel, requests, err := offer.Accept()
	if err != nil {
		target.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	relay(channel, channel.CloseWrite, target)
	channel.Close()
}

// Command is the command that exec starts: this test's own binary, which its environment
// selects.
func Command(args []string) int {
	if len(args) < 3 {
		_, _ = fmt.Fprintln(stderr, "helper MODE HOST PORT")
		return 2
	}
	port, _ := strconv.Atoi(args[2])
	switch mode := args[0]; mode {
	case "relay":
		target, err := reach(args[1], port)
		if err != nil {
			_, _ = fmt.Fprintf(stderr, "first line\ncannot reach %s: %s\n", args[1], strings.ReplaceAll(err.Error(), "\n", " "))
			return 1
		}
		relay(stdio{}, stdout.Close, target)
	case "silent": // for ever, whatever its input is
		ignoreSignals()
		select {}
	case "cat":
		_, _ = io.Copy(stdout, stdin)
	}
	return 0
}
