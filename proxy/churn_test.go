package proxy_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Sessions that are opened, used and left at any point, by either side, leave
// nothing behind.
func TestChurnLeavesNothingBehind(t *testing.T) {
	needsPlainTCP(t)
	const sessions = 200
	before := measure()
	t.Run("sessions", func(t *testing.T) {
		var l lab
		l.startKfake(t, 3, kfake.SeedTopics(3, "t"))
		l.start(t, l.config())
		l.learned(t, 0, 1, 2)
		churnAll(t, &l, sessions)
	})
	before.settled(t)
}

// churnAll has clients come to all listeners, 50 at one time, until so many have left.
func churnAll(t *testing.T, l *lab, sessions int) {
	t.Helper()
	addresses := []string{"bob.test:9092", "bob.test:9100", "bob.test:9102", "localhost:39092", "localhost:39101"}
	var running sync.WaitGroup
	limit := make(chan struct{}, 50)
	for i := range sessions {
		limit <- struct{}{}
		running.Go(func() {
			defer func() { <-limit }()
			random := rand.New(rand.NewPCG(uint64(i), 0))
			c := l.dial(t, addresses[i%len(addresses)])
			defer c.close()
			churn(c, random)
		})
	}
	running.Wait()
}

// churn uses a connection for a while, and leaves at some point or other.
func churn(c client, random *rand.Rand) {
	requests := requestFrames(0,
		of(3, kmsg.NewPtrApiVersionsRequest()), metadataRequest(12), of(3, kmsg.NewPtrFindCoordinatorRequest()),
		of(0, kmsg.NewPtrDescribeClusterRequest()), heartbeat(), metadataRequest(1))
	answers := random.IntN(7)
	if random.IntN(4) == 0 { // leave inside a request
		requests = requests[:random.IntN(len(requests))]
		answers = 0
	}
	if c.tryWrite(requests) != nil {
		return
	}
	switch random.IntN(3) {
	case 0: // all responses are owed
		_ = c.conn.(interface{ CloseWrite() error }).CloseWrite() // kproxy may have ended it
		_, _ = c.ended()
	case 1:
		for range answers {
			if _, err := c.tryFrame(); err != nil {
				return
			}
		}
	case 2:
		c.reset()
	}
}
