package proxy_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/kmsglab"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// openFiltered opens a session at a listener with apis.
func (l *lab) openFiltered(t *testing.T, apis config.APIs, unknown config.UnknownAPIs) (client, brokerConn) {
	t.Helper()
	l.first = l.startBroker(t, 0, 0)
	conf := l.config()
	conf.Clusters[0].UnknownAPIs = unknown
	conf.Clusters[0].Listeners[0].APIs = apis
	l.start(t, conf)
	return l.session(t, l.first)
}

// A producer at a read-only listener gets an error for its topics, and none of its requests
// reaches a broker. Consumers are served.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openFiltered(t, config.APIs{Preset: config.ReadOnly}, "")
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
	if got, want := fmt.Sprint(l.stats(t, "bob").Refused), "[{0 1} {22 1}]"; got != want {
		t.Errorf("refused: got %s, want %s", got, want)
	}
	for _, api := range []string{"Produce", "InitProducerID"} {
		l.log.has(t, "level=WARN", "request refused", "listener=bob", "api_key="+api, "apis.allow")
	}
	finish(t, &l, c, s)
}

// everyRefusedAPI are the names of all APIs that a listener can refuse.
func everyRefusedAPI() (names []string) {
	for key := range kmsglab.Keys() {
		if key != kmsg.ApiVersions.Int16() {
			names = append(names, kmsg.NameForKey(key))
		}
	}
	return names
}

// offered has the broker answer ApiVersions, which the client has sent as request 1, with the
// versions from 0 to 99 of every API. It returns the response that the client receives.
func offered(c client, s brokerConn) []kmsg.ApiVersionsResponseApiKey {
	c.t.Helper()
	s.request(kmsg.ApiVersions, 1)
	offer := answerTo(4, kmsg.NewPtrApiVersionsResponse())
	for key := range kmsglab.Keys() {
		offer.ApiKeys = append(offer.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: key, MaxVersion: 99})
	}
	s.answer(1, offer)
	resp := answerTo(4, kmsg.NewPtrApiVersionsResponse())
	c.receive(1, resp)
	return resp.ApiKeys
}

// anyRequestFrame is requestFrame for ControlledShutdown v0 too, whose header has
// no client id; kmsg writes no size and no body for that.
func anyRequestFrame(correlationID int32, req kmsg.Request) []byte {
	if req.Key() != kmsg.ControlledShutdown.Int16() || req.GetVersion() != 0 {
		return requestFrame(correlationID, req)
	}
	frame := req.AppendTo([]byte{0, 0, 0, 0, 0, 7, 0, 0, byte(correlationID >> 24), byte(correlationID >> 16), byte(correlationID >> 8), byte(correlationID)})
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

// Clients infer the features of a broker from the versions of APIs that they never use, so a
// refused API stays in ApiVersions. A request for it, in every version that is offered, gets
// a response that clients can read, and the session goes on.
func TestEveryRefusedAPIInEveryOfferedVersion(t *testing.T) {
	t.Parallel()
	var l lab
	l.first = l.startBroker(t, 0, 0)
	conf := l.config()
	conf.Clusters[0].Listeners[0].APIs = config.APIs{Deny: everyRefusedAPI()}
	l.start(t, conf)
	c := l.dial(t, "bob.test:9092")
	c.send(1, of(4, kmsg.NewPtrApiVersionsRequest()))
	s := l.first.take()
	apis := offered(c, s)
	if got, want := len(apis), len(everyRefusedAPI())+1; got != want {
		t.Errorf("APIs that are offered: got %d, want %d", got, want)
	}
	id, want := int32(1), int32(1)
	for _, api := range apis {
		if api.ApiKey == kmsg.ApiVersions.Int16() {
			continue
		}
		want += int32(kmsg.RequestForKey(api.ApiKey).MaxVersion()) + 1
		for version := api.MinVersion; version <= api.MaxVersion; version++ {
			id++
			c.write(anyRequestFrame(id, kmsglab.Request(api.ApiKey, version)))
			resp := kmsg.ResponseForKey(api.ApiKey)
			resp.SetVersion(version)
			frame, err := c.tryFrame()
			if err != nil {
				t.Fatalf("%s v%d: %v", kmsg.NameForKey(api.ApiKey), version, err)
			}
			decodeAnswer(t, frame, id, resp)
		}
	}
	if id != want {
		t.Errorf("versions that are offered: got %d, want %d", id-1, want-1)
	}
	finish(t, &l, c, s)
}

// On a cluster where kproxy logs in, the APIs that give out credentials are hidden, except
// for those that the listener allows. APIs that its preset refuses are not hidden.
func TestMintsStayHidden(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		apis   config.APIs
		hidden []int16
	}{
		"nothing said": {config.APIs{}, []int16{38, 39, 40, 41, 50, 51, 58}},
		"read-only":    {config.APIs{Preset: config.ReadOnly}, []int16{38, 39, 40, 41, 50, 51, 58}},
		"one allowed":  {config.APIs{Preset: config.ReadOnly, Allow: []string{"DescribeUserScramCredentials"}}, []int16{38, 39, 40, 41, 51, 58}},
		"denied":       {config.APIs{Deny: []string{"CreateDelegationToken", "Produce"}}, []int16{38, 39, 40, 41, 50, 51, 58}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l lab
			l.door = newDoor()
			l.first = l.startBroker(t, 0, 0)
			conf := l.door.logsIn(l.config())
			conf.Clusters[0].Listeners[0].APIs = tt.apis
			l.start(t, conf)
			c, s := l.session(t, l.first)
			c.send(1, of(4, kmsg.NewPtrApiVersionsRequest()))
			shown := map[int16]bool{}
			for _, api := range offered(c, s) {
				shown[api.ApiKey] = true
			}
			var hidden []int16
			for key := range kmsglab.Keys() {
				if !shown[key] {
					hidden = append(hidden, key)
				}
			}
			if !slices.Equal(hidden, tt.hidden) {
				t.Errorf("hidden: got %v, want %v", hidden, tt.hidden)
			}
			finish(t, &l, c, s)
		})
	}
}

// A refusal comes in its turn.
func TestRefusalsInOrder(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openFiltered(t, config.APIs{Deny: []string{"DeleteGroups"}}, "")
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

// What cannot be refused by a response, or looked into, ends the session.
func TestNoWayRoundTheFilter(t *testing.T) {
	t.Parallel()
	readOnly := config.APIs{Preset: config.ReadOnly}
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
		"acks=0":                       {requestFrame(1, produceRequest(9, 0, "", []byte("r"))), proxy.APIRefused},
		"more than is read":            {requestFrame(1, large), proxy.APIRefused},
		"an unknown api":               {[]byte{0, 0, 0, 10, 0x27, 0x10, 0, 0, 0, 0, 0, 1, 0, 0}, proxy.UnknownAPI},
		"a produce of lies":            {[]byte{0, 0, 0, 18, 0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0, 0, 9}, proxy.BadRequest},
		"a version to come":            {[]byte{0, 0, 0, 11, 0, 19, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 0}, proxy.APIRefused},
		"a negative version":           {[]byte{0, 0, 0, 10, 0, 19, 0xff, 0xff, 0, 0, 0, 1, 0xff, 0xff}, proxy.APIRefused},
		"more items than are answered": {requestFrame(1, &kmsg.DeleteTopicsRequest{Version: 5, TopicNames: make([]string, 10_001)}), proxy.APIRefused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l lab
			c, s := l.openFiltered(t, readOnly, config.PassUnknownAPIs)
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

// An envelope holds another request. Raw tokens are frames that kproxy does not parse.
func TestEnvelopesAndRawTokensAreRefused(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openFiltered(t, config.APIs{Deny: []string{"Produce"}}, "")
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

// allow makes exceptions from the preset, and from the APIs that a cluster with sasl hides.
func TestAllowedAllTheSame(t *testing.T) {
	t.Parallel()
	var l lab
	l.door = newDoor()
	l.first = l.startBroker(t, 0, 0)
	conf := l.door.logsIn(l.config())
	conf.Clusters[0].Listeners[0].APIs = config.APIs{Preset: config.ReadOnly, Allow: []string{"createtopics", "DescribeUserScramCredentials"}}
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

// A client that leaves while kproxy sends it a response of its own ends the session at once.
func TestClientThatLeavesDuringARefusal(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		c, s := l.openFiltered(t, config.APIs{Preset: config.ReadOnly}, "")
		synctest.Wait() // until nothing is owed
		c.send(1, of(4, kmsg.NewPtrInitProducerIDRequest()))
		synctest.Wait() // until kproxy writes: nothing is held between both ends
		start := time.Now()
		c.close()
		promptly(t, func() { _, _ = s.ended() })
		l.ended(t, proxy.ClientReset)
		if took := time.Since(start); took > 0 {
			t.Errorf("it took %v", took)
		}
		s.close()
	})
}
