package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/singleflight"

	"kproxy/internal/endpoints"
	"kproxy/internal/upstream"
	"kproxy/internal/wait"
	"kproxy/internal/wire"
)

// offers is the brokers' response to ApiVersions, for clients that have to log in at the
// proxy first. They ask before their login, most of them only then, and before a login no
// byte of theirs goes to a broker. So the proxy asks by itself, now and then, and gives
// every client that response.
type offers struct {
	asking singleflight.Group

	mu    sync.Mutex // guards heard
	heard map[offerKey]offer
}

// offerKey is a question: to a node, or to any, in a version of ApiVersions.
type offerKey struct {
	node    int32 // upstream.NoNode: any
	version int16
}

type offer struct {
	payload []byte
	err     error
	until   time.Time
}

const (
	// offerLife is how long an answer is told to further clients: brokers learn
	// new versions when they are restarted.
	offerLife = time.Minute
	// offerPause is how long it is told that there is none.
	offerPause = time.Second
)

// APIVersions returns the payload of a broker's ApiVersions response in a version. node is
// the broker; nil: any. The response is at most offerLife old. One question runs at a time,
// however many clients wait for it.
func (c *Cluster) APIVersions(ctx context.Context, node *endpoints.Broker, version int16) ([]byte, error) {
	key := offerKey{upstream.NoNode, version}
	if node != nil {
		key.node = node.Node
	}
	o := &c.offers
	o.mu.Lock()
	last, ok := o.heard[key]
	o.mu.Unlock()
	if ok && time.Now().Before(last.until) {
		return last.payload, last.err
	}
	heard, _, _ := o.asking.Do(fmt.Sprint(key), func() (any, error) {
		payload, err := c.askOffer(ctx, key, node)
		now := offer{payload, err, time.Now().Add(offerLife)}
		if err != nil {
			now.until = time.Now().Add(offerPause)
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.heard == nil {
			o.heard = map[offerKey]offer{}
		}
		o.heard[key] = now
		return now, nil
	})
	now := heard.(offer) //nolint:forcetypeassert // it is what the function above returns
	return now.payload, now.err
}

// askOffer asks a broker over a connection of the proxy's own.
func (c *Cluster) askOffer(ctx context.Context, key offerKey, node *endpoints.Broker) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	dial := func() (Link, error) { return c.DialAny(ctx, Client{}) }
	if node != nil {
		dial = func() (Link, error) { return c.DialNode(ctx, *node, Client{}) }
	}
	to, err := dial()
	if err != nil {
		return nil, err
	}
	defer func() { _ = to.Conn.Close() }()
	defer wait.Bound(ctx, to.Conn)()
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version = key.version
	req.ClientSoftwareName, req.ClientSoftwareVersion = "kproxy", "1"
	payload, err := c.exchange(to, req)
	if err != nil {
		return nil, fmt.Errorf("ask for API versions: %w", err)
	}
	r := wire.NewReader(payload)
	if code := r.Int16(); code != 0 && code != kerr.UnsupportedVersion.Code {
		return nil, fmt.Errorf("ask for API versions: %w", kerr.ErrorForCode(code))
	}
	return payload, r.Err()
}
