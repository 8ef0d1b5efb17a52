package simulate

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strconv"

	"github.com/pires/go-proxyproto"
)

// peer is a client's or a broker's end of a connection: maybe of TLS, and maybe behind a PROXY
// header.
//
//	peer ── (TLS) ── socket
type peer struct {
	net.Conn // the outermost

	socket net.Conn
	secure *tls.Conn // nil: plain
	// turn holds an element while a write goes on. TLS has a mutex for that, and in a bubble
	// no time passes while a goroutine waits for one.
	turn chan struct{}
}

func newPeer(socket net.Conn) *peer {
	return &peer{Conn: socket, socket: socket, turn: make(chan struct{}, 1)}
}

func (p *peer) Write(b []byte) (int, error) {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	return p.Conn.Write(b)
}

// offer begins TLS as its server.
func (p *peer) offer(conf *tls.Config) {
	p.secure = tls.Server(p.Conn, conf)
	p.Conn = p.secure
}

// ask begins TLS as its client, and waits for the handshake.
func (p *peer) ask(ctx context.Context, conf *tls.Config) error {
	p.secure = tls.Client(p.Conn, conf)
	p.Conn = p.secure
	return p.secure.HandshakeContext(ctx)
}

// endSide ends this peer's side. It can wait for another write of the peer. A connection that
// fails has ended.
func (p *peer) endSide() {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	if p.secure != nil && p.secure.CloseWrite() == nil {
		return
	}
	_ = p.socket.(interface{ CloseWrite() error }).CloseWrite() // both networks have it
}

// reset closes the connection by a reset.
func (p *peer) reset() {
	_ = p.socket.(interface{ SetLinger(sec int) error }).SetLinger(0) // both networks have it
	_ = p.socket.Close()
}

// takeHeader reads a PROXY header, and returns the client that it names; "": none.
func (p *peer) takeHeader() (client string, err error) {
	var b []byte
	for more := 1; more > 0; more = headerRest(b) {
		b = append(b, make([]byte, more)...)
		if _, err := io.ReadFull(p.socket, b[len(b)-more:]); err != nil {
			return "", err
		}
	}
	header, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(b)))
	if err != nil {
		return "", err
	}
	if source, _, ok := header.TCPAddrs(); ok && !header.Command.IsLocal() {
		client = source.String()
	}
	return client, nil
}

// headerRest is how many bytes of a PROXY header have to be read behind b at least.
func headerRest(b []byte) int {
	const fixed = 16 // of version 2; the last two of them are the length of the rest
	switch {
	case b[0] != '\r': // version 1 is a line
		if bytes.HasSuffix(b, []byte("\n")) {
			return 0
		}
		return 1
	case len(b) < fixed:
		return fixed - len(b)
	default:
		return fixed + int(binary.BigEndian.Uint16(b[fixed-2:])) - len(b)
	}
}

// namedAddress is the address by which a balancer names a client.
func namedAddress(number int) *net.TCPAddr {
	return &net.TCPAddr{IP: net.IPv4(203, 0, 113, byte(2+number%sourceCount)), Port: 10_000 + number}
}

// sourceCount is how many addresses the clients have.
const sourceCount = 3

func sourceOf(number int) string { return "127.0.0." + strconv.Itoa(2+number%sourceCount) }

// sendHeader has the connection begin with a PROXY header, whose version depends on the client.
func (p *peer) sendHeader(number int) error {
	header := &proxyproto.Header{
		Version: byte(1 + number%2), Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
		SourceAddr: namedAddress(number), DestinationAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9092},
	}
	_, err := header.WriteTo(p.socket)
	return err
}
