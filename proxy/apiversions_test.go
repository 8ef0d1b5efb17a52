package proxy_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// apiVersions is a request as future clients write it: no library knows its body,
// but the header is that of a flexible version.
func apiVersions(correlationID int32, version int16) []byte {
	frame := requestFrame(correlationID, of(5, kmsg.NewPtrApiVersionsRequest()))
	frame[6], frame[7] = byte(version>>8), byte(version)
	return frame
}

// offerOf is a response of version 0 with these APIs: key, oldest and newest version.
func offerOf(apis [][3]int16) *kmsg.ApiVersionsResponse {
	offer := answerTo(0, kmsg.NewPtrApiVersionsResponse())
	for _, api := range apis {
		e := kmsg.NewApiVersionsResponseApiKey()
		e.ApiKey, e.MinVersion, e.MaxVersion = api[0], api[1], api[2]
		offer.ApiKeys = append(offer.ApiKeys, e)
	}
	return offer
}

// wantUnsupported reads the response that says which versions of ApiVersions there
// are: in the layout of v0, with one entry (KIP-511).
func (c client) wantUnsupported(correlationID int32) {
	c.t.Helper()
	resp := answerTo(0, kmsg.NewPtrApiVersionsResponse())
	c.receive(correlationID, resp)
	if resp.ErrorCode != kerr.UnsupportedVersion.Code || len(resp.ApiKeys) != 1 {
		c.t.Fatalf("got %+v", resp)
	}
	if e := resp.ApiKeys[0]; e.ApiKey != kmsg.ApiVersions.Int16() || e.MinVersion != 0 || e.MaxVersion != 5 {
		c.t.Errorf("got versions %d-%d of key %d, want 0-5 of 18", e.MinVersion, e.MaxVersion, e.ApiKey)
	}
}

// A client of the future first sends ApiVersions in a version that kproxy does not know. The
// broker never receives it: before a login it would treat the second attempt as an attack.
func TestFutureAPIVersionsComesFirst(t *testing.T) {
	t.Parallel()
	for _, version := range []int16{6, 100} {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			t.Parallel()
			var l lab
			b := l.startBroker(t, 0, 0)
			l.start(t, l.config())
			c := l.dial(t, "bob.test:9092")
			c.write(apiVersions(1, version))
			c.wantUnsupported(1)
			c.send(2, of(5, kmsg.NewPtrApiVersionsRequest()))
			s := b.take()
			s.request(kmsg.ApiVersions, 2)
			s.answer(2, answerTo(5, kmsg.NewPtrApiVersionsResponse()))
			c.receive(2, answerTo(5, kmsg.NewPtrApiVersionsResponse()))
			finish(t, &l, c, s)
		})
	}
}

// Between other requests the response waits for its turn, however slow the others'
// are, and any number of them in a row.
func TestFutureAPIVersionsKeepsItsPlace(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	frames := requestFrame(1, heartbeat())
	frames = append(frames, apiVersions(2, 6)...)
	frames = append(frames, apiVersions(3, 7)...)
	frames = append(frames, requestFrame(4, heartbeat())...)
	frames = append(frames, apiVersions(5, 8)...)
	c.write(frames)
	s.request(kmsg.Heartbeat, 1)
	s.request(kmsg.Heartbeat, 4)
	c.silent()
	s.answer(1, heartbeatAnswer())
	c.receive(1, heartbeatAnswer())
	c.wantUnsupported(2)
	c.wantUnsupported(3)
	c.silent()
	s.answer(4, heartbeatAnswer())
	c.receive(4, heartbeatAnswer())
	c.wantUnsupported(5)
	finish(t, &l, c, s)
}

// The broker has answered everything in one go, also what stands behind the
// proxy's own responses.
func TestFutureAPIVersionsAmongAnswersThatCameTogether(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	const rounds = 500
	var frames, answers []byte
	for i := range int32(rounds) {
		frames = append(frames, requestFrame(2*i, heartbeat())...)
		frames = append(frames, apiVersions(2*i+1, 6)...)
		answers = append(answers, answerFrame(2*i, heartbeatAnswer())...)
	}
	go func() { _ = c.tryWrite(frames) }()
	for i := range int32(rounds) {
		s.request(kmsg.Heartbeat, 2*i)
	}
	s.write(answers)
	for i := range int32(rounds) {
		c.receive(2*i, heartbeatAnswer())
		c.wantUnsupported(2*i + 1)
	}
	finish(t, &l, c, s)
}

// Nor does it wait for the response behind it, of which some bytes have come.
func TestFutureAPIVersionsInFrontOfHalfAnAnswer(t *testing.T) {
	t.Parallel()
	var l lab
	l.inMemory() // where each write is a read
	c, s := l.open(t)
	half := answerFrame(3, heartbeatAnswer())
	for n := range half {
		requests := append(requestFrame(1, heartbeat()), apiVersions(2, 6)...)
		requests = append(requests, requestFrame(3, heartbeat())...)
		c.write(requests)
		s.request(kmsg.Heartbeat, 1)
		s.request(kmsg.Heartbeat, 3)
		go func() { _ = s.tryWrite(append(answerFrame(1, heartbeatAnswer()), half[:n]...)) }()
		c.receive(1, heartbeatAnswer())
		c.wantUnsupported(2)
		go func() { _ = s.tryWrite(half[n:]) }()
		c.receive(3, heartbeatAnswer())
	}
	finish(t, &l, c, s)
}

// A half-closed client gets the proxy's own responses too.
func TestFutureAPIVersionsThenHalfClose(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	c.write(append(requestFrame(1, heartbeat()), apiVersions(2, 6)...))
	c.closeWrite()
	s.request(kmsg.Heartbeat, 1)
	s.silent()
	s.answer(1, heartbeatAnswer())
	c.receive(1, heartbeatAnswer())
	c.wantUnsupported(2)
	s.eof()
	s.close()
	c.eof()
	l.ended(t, proxy.ClientClosed)
}

// Kafka 2.2 answers v3 with an error and nothing else, in the layout of v0. The client asks
// again, and then receives the versions that the proxy understands.
func TestAPIVersionsOfAnOldBroker(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	c.send(1, of(3, kmsg.NewPtrApiVersionsRequest()))
	s.request(kmsg.ApiVersions, 1)
	refusal := answerTo(0, kmsg.NewPtrApiVersionsResponse())
	refusal.ErrorCode = kerr.UnsupportedVersion.Code
	s.answer(1, refusal)
	c.wants("the refusal as it is", answerFrame(1, refusal))

	c.send(2, of(0, kmsg.NewPtrApiVersionsRequest()))
	s.request(kmsg.ApiVersions, 2)
	offer := offerOf([][3]int16{{0, 0, 99}, {1, 4, 99}, {3, 0, 9}, {18, 0, 4}, {12, 0, 99}, {10001, 0, 0}})
	s.answer(2, offer)
	resp := answerTo(0, kmsg.NewPtrApiVersionsResponse())
	c.receive(2, resp)
	var got [][3]int16
	for _, e := range resp.ApiKeys {
		got = append(got, [3]int16{e.ApiKey, e.MinVersion, e.MaxVersion})
	}
	want := [][3]int16{{0, 0, 13}, {1, 4, 18}, {3, 0, 9}, {18, 0, 4}, {12, 0, 99}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	finish(t, &l, c, s)
}

// If the brokers have only newer versions of an API, the API is hidden, and Health names it.
func TestAPIOfNewerBrokersIsHidden(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	if got := l.proxy.Health().Clusters[0].Hidden; len(got) != 0 {
		t.Errorf("before any answer: got %v, want none hidden", got)
	}
	c.send(1, of(0, kmsg.NewPtrApiVersionsRequest()))
	s.request(kmsg.ApiVersions, 1)
	offer := offerOf([][3]int16{{0, 0, 13}, {1, 50, 60}, {10001, 0, 0}})
	s.answer(1, offer)
	resp := answerTo(0, kmsg.NewPtrApiVersionsResponse())
	c.receive(1, resp)
	if len(resp.ApiKeys) != 1 {
		t.Errorf("APIs shown: got %d, want 1", len(resp.ApiKeys))
	}
	if got := l.proxy.Health().Clusters[0].Hidden; fmt.Sprint(got) != "[Fetch]" {
		t.Errorf("hidden: got %v, want [Fetch]", got)
	}
	finish(t, &l, c, s)
}
