package proxy_test

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// newcomer starts the brokers 0 and 3 of a cluster that tells the proxy nothing
// of itself, as one that wants a login does, and a proxy in front.
func (l *lab) newcomer(t *testing.T) (bootstrap, third *broker) {
	t.Helper()
	bootstrap, third = l.startBroker(t, 0), l.startBroker(t, 3)
	l.start(t, l.config())
	l.log.has(t, "level=INFO", "brokers are not known yet")
	return bootstrap, third
}

// After a restart clients come back to the endpoint of a node that the proxy does not know
// yet. A bootstrap broker serves the requests of a login and Metadata. The proxy learns from
// the responses, and the next connection reaches the node.
func TestUnknownNodeIsLearned(t *testing.T) {
	t.Parallel()
	var l lab
	bootstrap, third := l.newcomer(t)
	c := l.dial(t, "bob.test:9103")
	authenticate := of(2, kmsg.NewPtrSASLAuthenticateRequest())
	coordinator := of(3, kmsg.NewPtrFindCoordinatorRequest())
	c.write(requestFrames(1,
		of(3, kmsg.NewPtrApiVersionsRequest()), handshakeRequest(1, "PLAIN"), authenticate,
		metadataRequest(12), of(0, kmsg.NewPtrDescribeClusterRequest()), coordinator,
		of(12, kmsg.NewPtrFetchRequest()), heartbeat()))
	s := bootstrap.take()
	named := answerTo(3, kmsg.NewPtrFindCoordinatorResponse())
	named.NodeID = 3
	named.Host, named.Port = brokerAddress(3)
	answers := []kmsg.Response{
		answerTo(3, kmsg.NewPtrApiVersionsResponse()), handshakeAnswer(1, 0), answerTo(2, kmsg.NewPtrSASLAuthenticateResponse()),
		metadataAnswer(12, 0, 3), answerTo(0, kmsg.NewPtrDescribeClusterResponse()), named,
	}
	for i, resp := range answers {
		s.request(kmsg.Key(resp.Key()), int32(i+1))
	}
	for i, resp := range answers {
		s.silent() // neither the fetch nor an end, before everything owed is delivered
		s.answer(int32(i+1), resp)
		c.receive(int32(i+1), resp)
	}
	endedByProxy(c, s)
	l.ended(t, proxy.Relearn)
	l.log.has(t, "level=INFO", "reason=relearn")
	l.learned(t, 0, 3)

	c = l.dial(t, "bob.test:9103")
	c.send(1, of(12, kmsg.NewPtrFetchRequest()))
	s = third.take()
	s.request(kmsg.Fetch, 1)
	s.answer(1, fetchAnswer(12, []byte("records")))
	c.receive(1, answerTo(12, kmsg.NewPtrFetchResponse()))
	finish(t, &l, c, s)
	if n := bootstrap.sessions(); n != 1 {
		t.Errorf("the bootstrap broker was dialled %d times, want 1", n)
	}
}

// Every other request may be meant for the node alone.
func TestUnknownNodeServesNothingElse(t *testing.T) {
	t.Parallel()
	allowed := map[kmsg.Key]bool{
		kmsg.ApiVersions: true, kmsg.SASLHandshake: true, kmsg.SASLAuthenticate: true,
		kmsg.Metadata: true, kmsg.DescribeCluster: true, kmsg.FindCoordinator: true,
	}
	var l lab
	bootstrap, _ := l.newcomer(t)
	for key := range kmsg.Key(kmsg.MaxKey + 1) {
		req := kmsg.RequestForKey(key.Int16())
		if req == nil || allowed[key] {
			continue
		}
		if key == kmsg.ControlledShutdown {
			req.SetVersion(1) // the header of v0 has no client id, and kmsg does not write it right
		}
		c := l.dial(t, "bob.test:9105")
		c.send(1, req)
		s := bootstrap.take()
		s.eof()
		s.close()
		if _, err := c.ended(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the client's connection ended by %v, want a reset: it has heard nothing", key.Name(), err)
		}
		c.close()
		if e := l.ends.next(t); e.Reason != proxy.Relearn {
			t.Errorf("%s: the session ended as %s (%v)", key.Name(), e.Reason, e.Err)
		}
	}
}

// The client may be gone while its outstanding responses do not arrive.
func TestRelearnDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		bootstrap, _ := l.newcomer(t)
		c := l.dial(t, "bob.test:9103")
		c.write(requestFrames(1, metadataRequest(12), heartbeat()))
		s := bootstrap.take()
		s.request(kmsg.Metadata, 1)
		start := time.Now()
		c.close()
		endsAfter(t, s.peer, start, time.Minute)
		l.ended(t, proxy.Relearn)
	})
}
