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

// versionsCache has the brokers' responses to ApiVersions, for clients that log in at kproxy
// itself. Clients send ApiVersions before their login, most of them only then, and before a
// login kproxy forwards nothing of theirs to a broker. So kproxy asks a broker itself, and
// gives its response to every client for a while.
type versionsCache struct {
	asking singleflight.Group

	mu        sync.Mutex // guards responses
	responses map[versionsKey]cachedVersions
}

// versionsKey is a request: to one node or to any, in a version of ApiVersions.
type versionsKey struct {
	node    int32 // upstream.NoNode: any
	version int16
}

// cachedVersions is a response, or the error of the attempt to get one.
type cachedVersions struct {
	payload []byte
	err     error
	until   time.Time
}

const (
	// versionsLife is how long a response is used again. Brokers change their versions when
	// they are restarted.
	versionsLife = time.Minute
	// versionsPause is how long an error is used again.
	versionsPause = time.Second
)

// APIVersions returns the payload of a broker's ApiVersions response in a version. node is
// the broker; nil: any. The response is at most versionsLife old. One request for each key is
// in flight, however many clients wait for it.
func (c *Cluster) APIVersions(ctx context.Context, node *endpoints.Broker, version int16) ([]byte, error) {
	key := versionsKey{upstream.NoNode, version}
	if node != nil {
		key.node = node.Node
	}
	cache := &c.versions
	cache.mu.Lock()
	last, ok := cache.responses[key]
	cache.mu.Unlock()
	if ok && time.Now().Before(last.until) {
		return last.payload, last.err
	}
	result, _, _ := cache.asking.Do(fmt.Sprint(key), func() (any, error) {
		payload, err := c.askVersions(ctx, key, node)
		now := cachedVersions{payload, err, time.Now().Add(versionsLife)}
		if err != nil {
			now.until = time.Now().Add(versionsPause)
		}
		cache.mu.Lock()
		defer cache.mu.Unlock()
		if cache.responses == nil {
			cache.responses = map[versionsKey]cachedVersions{}
		}
		cache.responses[key] = now
		return now, nil
	})
	now := result.(cachedVersions) //nolint:forcetypeassert // the function above returns this type
	return now.payload, now.err
}

// askVersions sends ApiVersions to a broker over a connection of its own.
func (c *Cluster) askVersions(ctx context.Context, key versionsKey, node *endpoints.Broker) ([]byte, error) {
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
	defer to.Close()
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
