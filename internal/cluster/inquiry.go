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

// Inquiry is a connection to a broker for the caller's own requests. It is opened as the
// connections of clients' sessions are: by the dial rules, via, tls and sasl of its cluster.
// It is not safe for concurrent use.
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

// Ask sends a request and decodes its response into into, which must be of its kind. In the
// version of the request, the response's header must have no tagged fields; ApiVersions
// never has them. Ask checks the error code in a response to ApiVersions only. The end of
// ctx ends Ask, and the Inquiry with it.
func (i *Inquiry) Ask(ctx context.Context, req kmsg.Request, into kmsg.Response) error {
	defer wait.Bound(ctx, i.to.Conn)()
	err := i.cluster.question(i.to, req, into)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Brokers asks for the brokers, and merges the response into the cluster's map, unless another cluster responds. The error
// wraps ErrNeedsLogin if the cluster names its brokers only after a login.
func (i *Inquiry) Brokers(ctx context.Context) (*kmsg.MetadataResponse, error) {
	defer wait.Bound(ctx, i.to.Conn)()
	n, err := i.cluster.metadata(i.to)
	if err != nil {
		return nil, err
	}
	if !i.cluster.isOther(n.brokers.ClusterID) { // the caller sees by itself that it is another cluster
		_ = i.cluster.learnNamed(n) // the map may not follow
	}
	return n.response, nil
}

// Conn returns the connection itself, in TLS if the cluster has TLS, for bytes that are no
// request. The caller sets its deadlines.
func (i *Inquiry) Conn() net.Conn { return i.to.Conn }

// Close ends the connection.
func (i *Inquiry) Close() { i.to.Close() }

// ErrNeedsLogin means that the cluster answers ApiVersions but not Metadata.
var ErrNeedsLogin = errors.New("the cluster wants its clients to log in; the proxy learns its brokers when the first client asks for metadata")

// NotKafkaError means that a peer's bytes are no Kafka response. Prefix has the first ones:
// at least one, at most a few hundred.
type NotKafkaError struct{ Prefix []byte }

// Error shows the first bytes.
func (e *NotKafkaError) Error() string {
	return fmt.Sprintf("not a Kafka response: % x", e.Prefix[:min(len(e.Prefix), wire.ResponsePrefixLen)])
}

// IsTLS reports whether the bytes are a TLS server's response to plaintext.
func (e *NotKafkaError) IsTLS() bool {
	const alert, handshake = 0x15, 0x16
	return len(e.Prefix) > 1 && (e.Prefix[0] == alert || e.Prefix[0] == handshake) && e.Prefix[1] == 0x03
}
