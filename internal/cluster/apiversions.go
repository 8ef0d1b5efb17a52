package cluster

import (
	"context"
	"fmt"
	"maps"
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
	// maxVersionsBytes bounds a response. Those of Kafka 4.4 have less than 900 bytes. An API
	// takes 7.
	maxVersionsBytes = 16 << 10
	// maxVersions bounds the responses that are kept. A broker decides how many nodes there
	// are. Clients of one release ask in one or two versions.
	maxVersions = 256
)

// get returns the response for a key, if there is one that is young enough.
func (v *versionsCache) get(key versionsKey) (cachedVersions, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	last, ok := v.responses[key]
	return last, ok && time.Now().Before(last.until)
}

// forget removes all responses. One that is on its way is kept when it comes, for versionsLife.
func (v *versionsCache) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.responses)
}

// put keeps a response. If there are maxVersions of others, those that are too old make room,
// or else any one.
func (v *versionsCache) put(key versionsKey, now cachedVersions) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.responses == nil {
		v.responses = map[versionsKey]cachedVersions{}
	}
	if _, replaces := v.responses[key]; !replaces && len(v.responses) >= maxVersions {
		v.makeRoom()
	}
	v.responses[key] = now
}

// makeRoom removes a response at least. The caller has mu.
func (v *versionsCache) makeRoom() {
	at := time.Now()
	maps.DeleteFunc(v.responses, func(_ versionsKey, r cachedVersions) bool { return !at.Before(r.until) })
	if len(v.responses) < maxVersions {
		return
	}
	for key := range v.responses {
		delete(v.responses, key)
		return
	}
}

// APIVersions returns the payload of a broker's ApiVersions response in a version. node is
// the broker; nil: any. The response is at most versionsLife old. One request for each key is
// in flight, however many clients wait for it.
func (c *Cluster) APIVersions(ctx context.Context, node *endpoints.Broker, version int16) ([]byte, error) {
	key := versionsKey{upstream.NoNode, version}
	if node != nil {
		key.node = node.Node
	}
	cache := &c.versions
	if last, ok := cache.get(key); ok {
		return last.payload, last.err
	}
	result, _, _ := cache.asking.Do(fmt.Sprint(key), func() (any, error) {
		payload, err := c.askVersions(ctx, key, node)
		now := cachedVersions{payload, err, time.Now().Add(versionsLife)}
		if err != nil {
			now.until = time.Now().Add(versionsPause)
		}
		cache.put(key, now)
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
	if len(payload) > maxVersionsBytes {
		return nil, fmt.Errorf("ask for API versions: the response has %d bytes, and no broker's has more than %d", len(payload), maxVersionsBytes)
	}
	r := wire.NewReader(payload)
	if code := r.Int16(); code != 0 && code != kerr.UnsupportedVersion.Code {
		return nil, fmt.Errorf("ask for API versions: %w", kerr.ErrorForCode(code))
	}
	return payload, r.Err()
}
