package speaks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// Patience is how long Ask waits for a greeting before it sends anything. Servers that
// speak first do it at once.
const Patience = 600 * time.Millisecond

// hearing bounds the wait for a reaction to one thing that was sent.
const hearing = 1500 * time.Millisecond

// Question describes a port whose protocol is not known.
type Question struct {
	// Dial opens a connection without TLS and without a login.
	Dial func(ctx context.Context) (net.Conn, error)
	// ServerName is the name to ask for in TLS; "": none.
	ServerName string
	// AfterTLS says that the port has refused TLS: Ask speaks Kafka, and not TLS again.
	AfterTLS bool
	// Closed says that the port has closed a connection without a byte.
	Closed bool
}

// Ask listens to a port, and then speaks to it. It sends nothing secret, and ends by ctx. If
// the port closes without a byte, Ask also looks for services that do so: proxies that want a
// PROXY header first, and ZooKeeper.
func Ask(ctx context.Context, q Question) Peer {
	var first, header, zookeeper Peer
	var asking sync.WaitGroup
	asking.Go(func() { first = q.over(ctx, q.listen) })
	if q.Closed {
		asking.Go(func() { header = q.over(ctx, q.afterHeader) })
		asking.Go(func() { zookeeper = q.over(ctx, q.srvr) })
	}
	asking.Wait()
	switch {
	case first.Kind != Closes && first.Kind != Silent:
		return first
	case zookeeper.Kind == ZooKeeper:
		return zookeeper
	case header.Kind == Kafka || header.Kind == TLS:
		header.Kind = ProxyWanted
		return header
	default:
		return first
	}
}

// over runs a conversation on a connection of its own.
func (q Question) over(ctx context.Context, talk func(ctx context.Context, c *heard) Peer) Peer {
	conn, err := q.Dial(ctx)
	if err != nil {
		return Peer{Kind: Unreachable}
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	return talk(ctx, &heard{Conn: conn})
}

// heard is a connection that keeps the first bytes that came over it.
type heard struct {
	net.Conn
	bytes []byte
}

func (c *heard) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if room := MaxBytes - len(c.bytes); room > 0 {
		c.bytes = append(c.bytes, p[:min(n, room)]...)
	}
	return n, err
}

// hear reads until nothing more comes for a while, or there is enough. ended says that the
// other side has closed its connection.
func (c *heard) hear(patience time.Duration) (ended bool) {
	buf := make([]byte, MaxBytes)
	for len(c.bytes) < MaxBytes {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(buf); err != nil {
			late, isNet := errors.AsType[net.Error](err)
			return !isNet || !late.Timeout()
		}
		patience = 100 * time.Millisecond // for the rest
	}
	return false
}

// listen waits for a greeting. Without one it sends a hello.
func (q Question) listen(ctx context.Context, c *heard) Peer {
	ended := c.hear(Patience)
	switch {
	case len(c.bytes) > 0:
		return Classify(c.bytes)
	case ended:
		return Peer{Kind: ClosesFirst}
	case q.AfterTLS:
		return inKafka(c, false)
	default:
		return q.inTLS(ctx, c)
	}
}

// inTLS does a TLS handshake without verification, and then sends a Kafka request.
func (q Question) inTLS(ctx context.Context, c *heard) Peer {
	var chain []*x509.Certificate
	var wants bool
	secure := tls.Client(c, &tls.Config{
		ServerName:         q.ServerName,
		InsecureSkipVerify: true, //nolint:gosec // nothing is trusted by it: the certificate is only shown
		MinVersion:         tls.VersionTLS12,
		VerifyConnection: func(s tls.ConnectionState) error {
			chain = s.PeerCertificates
			return nil
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			wants = true
			return &tls.Certificate{}, nil
		},
	})
	_ = c.SetDeadline(time.Now().Add(hearing))
	ctx, cancel := context.WithTimeout(ctx, hearing)
	defer cancel()
	err := secure.HandshakeContext(ctx)
	if err == nil {
		inside := &heard{Conn: secure}
		p := inKafka(inside, true)
		if p.Kind == Silent {
			_ = c.SetDeadline(time.Now().Add(Patience)) // a read that an earlier timeout has stopped
			p = ping(inside)
			p.Secure = true
		}
		if p.Kind == Unknown || p.Kind == Cut || p.Kind == Silent || p.Kind == Closes {
			p = Peer{Kind: TLS, Secure: true}
		}
		p.Cert, p.Wants = CertificateOf(chain), wants
		return p
	}
	switch {
	case len(chain) > 0 || isTLSRecord(c.bytes): // it speaks TLS, and this handshake has failed
		return Peer{Kind: TLS, Secure: true, Cert: CertificateOf(chain), Wants: wants}
	case len(c.bytes) > 0:
		c.hear(100 * time.Millisecond)
		return Classify(c.bytes)
	}
	if late, isNet := errors.AsType[net.Error](err); isNet && late.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return ping(c)
	}
	return Peer{Kind: Closes}
}

// ping ends the line for text protocols that may still wait for its end, such as Redis.
func ping(c *heard) Peer {
	_ = c.SetWriteDeadline(time.Now().Add(Patience))
	if _, err := c.Write([]byte("\r\nPING\r\n")); err == nil {
		c.hear(Patience)
	}
	return Classify(c.bytes)
}

// clientID is that of the requests here.
const clientID = "kproxy-doctor"

// inKafka asks for API versions.
func inKafka(c *heard, secure bool) Peer {
	const correlationID = 1
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID))
	_ = c.SetWriteDeadline(time.Now().Add(hearing))
	if _, err := c.Write(formatter.AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), correlationID)); err != nil {
		return Peer{Kind: Closes, Secure: secure}
	}
	_ = c.SetReadDeadline(time.Now().Add(hearing))
	var prefix [wire.ResponsePrefixLen]byte
	if _, err := io.ReadFull(c, prefix[:]); err != nil {
		late, isNet := errors.AsType[net.Error](err)
		switch {
		case len(c.bytes) > 0:
			p := Classify(c.bytes)
			p.Secure = secure
			return p
		case isNet && late.Timeout():
			return Peer{Kind: Silent, Secure: secure}
		default:
			return Peer{Kind: Closes, Secure: secure}
		}
	}
	const most = 64 << 10 // the response has six bytes for each API
	size := wire.Size(prefix[:])
	if size < wire.MinResponseSize || size > most || wire.CorrelationID(prefix[:]) != correlationID {
		c.hear(100 * time.Millisecond)
		p := Classify(c.bytes)
		p.Secure = secure
		return p
	}
	payload := make([]byte, size-wire.MinResponseSize)
	if _, err := io.ReadFull(c, payload); err != nil {
		return Peer{Kind: Cut, Secure: secure}
	}
	return Peer{Kind: ClassifyResponse(payload), Secure: secure}
}

// afterHeader sends a Kafka request after an empty PROXY header (version 1).
func (q Question) afterHeader(_ context.Context, c *heard) Peer {
	_ = c.SetWriteDeadline(time.Now().Add(hearing))
	if _, err := c.Write([]byte("PROXY UNKNOWN\r\n")); err != nil {
		return Peer{Kind: Closes}
	}
	return inKafka(c, false)
}

// srvr sends the four-letter word that ZooKeeper accepts by default.
func (q Question) srvr(_ context.Context, c *heard) Peer {
	_ = c.SetWriteDeadline(time.Now().Add(hearing))
	if _, err := c.Write([]byte("srvr")); err != nil {
		return Peer{Kind: Closes}
	}
	ended := c.hear(hearing)
	if len(c.bytes) == 0 && ended {
		return Peer{Kind: Closes}
	}
	return Classify(slices.Clone(c.bytes))
}
