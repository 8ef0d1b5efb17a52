package proxy_test

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// openFiltered opens a session at a listener with apis.
func (l *lab) openFiltered(t *testing.T, apis proxy.APIs, unknown proxy.UnknownAPIs) (client, brokerConn) {
	t.Helper()
	l.first = l.startBroker(t, 0, 0)
	conf := l.config()
	conf.Clusters[0].UnknownAPIs = unknown
	conf.Clusters[0].Listeners[0].APIs = apis
	l.start(t, conf)
	return l.session(t, l.first)
}

// A producer at a read-only listener is told so for its topics, and nothing of it
// reaches a broker; consumers are served.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openFiltered(t, proxy.APIs{Preset: proxy.ReadOnly}, "")
	c.send(1, produceRequest(9, -1, "", make([]byte, 1<<20)))
	resp := answerTo(9, kmsg.NewPtrProduceResponse())
	c.receive(1, resp)
	if len(resp.Topics) != 1 || resp.Topics[0].Partitions[0].ErrorCode != kerr.TopicAuthorizationFailed.Code {
		t.Errorf("got %+v", resp.Topics)
	}
	init := of(4, kmsg.NewPtrInitProducerIDRequest())
	c.send(2, init)
	refused := answerTo(4, kmsg.NewPtrInitProducerIDResponse())
	c.receive(2, refused)
	if refused.ErrorCode != kerr.ClusterAuthorizationFailed.Code {
		t.Errorf("got %+v", refused)
	}
	commit := of(8, kmsg.NewPtrOffsetCommitRequest())
	c.send(3, commit)
	s.request(kmsg.OffsetCommit, 3)
	s.answer(3, answerTo(8, kmsg.NewPtrOffsetCommitResponse()))
	c.receive(3, answerTo(8, kmsg.NewPtrOffsetCommitResponse()))
	framesAgain(c, s, 4)
	finish(t, &l, c, s)
}

// A refusal comes in its turn.
func TestRefusalsInOrder(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openFiltered(t, proxy.APIs{Deny: []string{"DeleteGroups"}}, "")
	groups := of(2, kmsg.NewPtrDeleteGroupsRequest())
	groups.Groups = []string{"g"}
	c.write(requestFrames(1, heartbeat(), groups, heartbeat()))
	s.request(kmsg.Heartbeat, 1)
	s.request(kmsg.Heartbeat, 3)
	c.silent()
	s.answer(1, heartbeatAnswer())
	c.receive(1, heartbeatAnswer())
	resp := answerTo(2, kmsg.NewPtrDeleteGroupsResponse())
	c.receive(2, resp)
	if len(resp.Groups) != 1 || resp.Groups[0].Group != "g" || resp.Groups[0].ErrorCode != kerr.GroupAuthorizationFailed.Code {
		t.Errorf("got %+v", resp.Groups)
	}
	s.answer(3, heartbeatAnswer())
	c.receive(3, heartbeatAnswer())
	finish(t, &l, c, s)
}

// What cannot be refused by an answer, or looked into, ends the session.
func TestNoWayRoundTheFilter(t *testing.T) {
	t.Parallel()
	readOnly := proxy.APIs{Preset: proxy.ReadOnly}
	large := of(0, kmsg.NewPtrCreateTopicsRequest())
	for range 300 {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic = strings.Repeat("t", 1000)
		large.Topics = append(large.Topics, topic)
	}
	for name, tt := range map[string]struct {
		frame []byte
		want  proxy.CloseReason
	}{
		"acks=0":              {requestFrame(1, produceRequest(9, 0, "", []byte("r"))), proxy.APIRefused},
		"more than is read":   {requestFrame(1, large), proxy.APIRefused},
		"an unknown api":      {[]byte{0, 0, 0, 10, 0x27, 0x10, 0, 0, 0, 0, 0, 1, 0, 0}, proxy.UnknownAPI},
		"a produce of lies":   {[]byte{0, 0, 0, 18, 0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0, 0, 9}, proxy.BadRequest},
		"a version to come":   {[]byte{0, 0, 0, 11, 0, 19, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 0}, proxy.APIRefused},
		"a negative version":  {[]byte{0, 0, 0, 10, 0, 19, 0xff, 0xff, 0, 0, 0, 1, 0xff, 0xff}, proxy.APIRefused},
		"what has no refusal": {requestFrame(1, of(0, kmsg.NewPtrElectLeadersRequest())), proxy.APIRefused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l lab
			c, s := l.openFiltered(t, readOnly, proxy.PassUnknownAPIs)
			go func() { _ = c.tryWrite(tt.frame) }()
			s.eof()
			s.close()
			if rest, _ := c.ended(); len(rest) > 0 {
				t.Errorf("the client got %d bytes", len(rest))
			}
			c.close()
			l.ended(t, tt.want)
		})
	}
}

// In an envelope is another request; raw tokens are frames that nobody looks
// into.
func TestEnvelopesAndRawTokensAreRefused(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openFiltered(t, proxy.APIs{Deny: []string{"Produce"}}, "")
	envelope := kmsg.NewPtrEnvelopeRequest()
	envelope.RequestData = requestFrame(1, produceRequest(9, 1, "", []byte("r")))
	c.write(requestFrames(1, envelope, handshakeRequest(0, "PLAIN"), heartbeat()))
	resp := kmsg.NewPtrEnvelopeResponse()
	c.receive(1, resp)
	if resp.ErrorCode != kerr.ClusterAuthorizationFailed.Code {
		t.Errorf("got %+v", resp)
	}
	shaken := answerTo(0, kmsg.NewPtrSASLHandshakeResponse())
	c.receive(2, shaken)
	if shaken.ErrorCode != kerr.UnsupportedVersion.Code {
		t.Errorf("got %+v", shaken)
	}
	s.request(kmsg.Heartbeat, 3)
	s.answer(3, heartbeatAnswer())
	c.receive(3, heartbeatAnswer())
	finish(t, &l, c, s)
}

// allow makes exceptions, of the preset and of what a cluster with sasl keeps to
// itself.
func TestAllowedAllTheSame(t *testing.T) {
	t.Parallel()
	var l lab
	l.door = newDoor()
	l.first = l.startBroker(t, 0, 0)
	conf := l.door.logsIn(l.config())
	conf.Clusters[0].Listeners[0].APIs = proxy.APIs{Preset: proxy.ReadOnly, Allow: []string{"createtopics", "DescribeUserScramCredentials"}}
	l.start(t, conf)
	c, s := l.session(t, l.first)
	c.send(1, of(7, kmsg.NewPtrCreateTopicsRequest()))
	s.request(kmsg.CreateTopics, 1)
	s.answer(1, answerTo(7, kmsg.NewPtrCreateTopicsResponse()))
	c.receive(1, answerTo(7, kmsg.NewPtrCreateTopicsResponse()))
	c.send(2, kmsg.NewPtrDescribeUserSCRAMCredentialsRequest())
	s.request(kmsg.DescribeUserSCRAMCredentials, 2)
	s.answer(2, kmsg.NewPtrDescribeUserSCRAMCredentialsResponse())
	c.receive(2, kmsg.NewPtrDescribeUserSCRAMCredentialsResponse())
	finish(t, &l, c, s)
}
