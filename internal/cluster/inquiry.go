package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/hostport"
	"kproxy/internal/upstream"
	"kproxy/internal/wait"
	"kproxy/internal/wire"
)

// Inquiry is a connection to a broker for the caller's own questions. It is made as those of
// clients' sessions are: by the dial rules, via, tls and sasl of its cluster. It is
// for one goroutine.
type Inquiry struct {
	cluster *Cluster
	to      Link
}

// Inquire connects to a broker: to a configured address, host:port, with upstream.NoNode, or to a
// node at the address that it advertises, which the rules for learned addresses must admit.
func (c *Cluster) Inquire(ctx context.Context, node int32, address string) (*Inquiry, error) {
	host, port, err := hostport.Parse(address)
	if err != nil {
		return nil, err
	}
	to, err := c.dialTarget(ctx, upstream.Target{Node: node, Host: host, Port: port, Configured: node == upstream.NoNode}, Client{})
	if err != nil {
		return nil, err
	}
	return &Inquiry{cluster: c, to: to}, nil
}

// Ask sends a request and reads its answer into one of its kind. The version that
// the request has must be one whose answer has no tagged fields in its header; that
// of ApiVersions never has. The error of an answer's own is not looked at, unless it
// is one to ApiVersions. The end of ctx ends it, and the Inquiry with it.
func (i *Inquiry) Ask(ctx context.Context, req kmsg.Request, into kmsg.Response) error {
	defer wait.Bound(ctx, i.to.Conn)()
	err := i.cluster.question(i.to, req, into)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Brokers asks who the brokers are, and learns it. The error wraps ErrNeedsLogin if
// the cluster tells only those who have logged in.
func (i *Inquiry) Brokers(ctx context.Context) (*kmsg.MetadataResponse, error) {
	defer wait.Bound(ctx, i.to.Conn)()
	answer, err := i.cluster.askMetadata(i.to)
	if errors.Is(err, errOutvoted) {
		err = nil
	}
	return answer, err
}

// Conn is the connection itself, in TLS if the cluster has TLS, for what is not a request. Its
// deadlines are the caller's.
func (i *Inquiry) Conn() net.Conn { return i.to.Conn }

// Close ends the connection.
func (i *Inquiry) Close() { _ = i.to.Conn.Close() }

// ErrNeedsLogin means that the cluster answers ApiVersions and nothing more.
var ErrNeedsLogin = errors.New("the cluster wants its clients to log in; it teaches the proxy when the first one asks for metadata")

// NotKafkaError is an answer that no Kafka broker gives. Prefix is its beginning: at least a
// byte, at most a few hundred.
type NotKafkaError struct{ Prefix []byte }

// Error shows the first bytes.
func (e *NotKafkaError) Error() string {
	return fmt.Sprintf("not a Kafka answer: % x", e.Prefix[:min(len(e.Prefix), wire.ResponsePrefixLen)])
}

// IsTLS reports whether the answer is what a TLS server says to plaintext.
func (e *NotKafkaError) IsTLS() bool {
	const alert, handshake = 0x15, 0x16
	return len(e.Prefix) > 1 && (e.Prefix[0] == alert || e.Prefix[0] == handshake) && e.Prefix[1] == 0x03
}
