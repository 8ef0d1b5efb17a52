package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// request10001 is a request of an API that is a vendor's own.
func request10001(correlationID int32) []byte {
	frame := requestFrame(correlationID, heartbeat())
	frame[4], frame[5] = byte(10001>>8), byte(10001&0xff)
	return frame
}

func TestUnknownAPIIsRefused(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	promptly(t, func() {
		c.write(request10001(1))
		_, _ = c.ended()
		s.eof()
	})
	l.ended(t, proxy.UnknownAPI)
	l.log.has(t, "level=WARN", "reason=unknown_api", "api key 10001", "unknown_apis: pass")
}

// A request of an unknown API has its size, key and correlation id at the same positions as
// every request.
func TestUnknownAPIPasses(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	conf.Clusters[0].UnknownAPIs = config.PassUnknownAPIs
	l.start(t, conf)
	c, s := l.session(t, b)
	frames := request10001(1)
	frames = append(frames, requestFrame(2, metadataRequest(12))...)
	frames = append(frames, request10001(3)...)
	c.write(frames)
	s.wants("the requests", frames)
	answer := append(wire.AppendResponsePrefix(nil, 1, 5), "bytes"...)
	s.write(answer)
	c.wants("the answer", answer)
	s.answer(2, metadataAnswer(12, 0))
	c.receive(2, answerTo(12, kmsg.NewPtrMetadataResponse()))
	answer = append(wire.AppendResponsePrefix(nil, 3, 4), "more"...)
	s.write(answer)
	c.wants("the other answer", answer)
	finish(t, &l, c, s)
}

// A client that goes by no ApiVersions may use a version whose responses hold
// addresses where this build does not look.
func TestVersionsThatAreTooNew(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		key     kmsg.Key
		version int16
	}{
		{kmsg.Metadata, 14},
		{kmsg.Fetch, 19},
		{kmsg.Produce, 14},
		{kmsg.FindCoordinator, 7},
		{kmsg.DescribeCluster, 3},
		{kmsg.ShareFetch, 3},
		{kmsg.ShareAcknowledge, 3},
		{kmsg.Metadata, -1},
	} {
		t.Run(fmt.Sprint(tt.key.Name(), " v", tt.version), func(t *testing.T) {
			t.Parallel()
			var l lab
			c, s := l.open(t)
			frame := requestFrame(1, heartbeat())
			frame[4], frame[5] = byte(tt.key>>8), byte(tt.key)
			frame[6], frame[7] = byte(tt.version>>8), byte(tt.version)
			promptly(t, func() {
				c.write(frame)
				_, _ = c.ended()
				s.eof()
			})
			e := l.ended(t, proxy.UnsupportedVersion)
			if want := fmt.Sprintf("%s v%d", tt.key.Name(), tt.version); !strings.Contains(e.Err.Error(), want) {
				t.Errorf("the session ended with %v, want %s", e.Err, want)
			}
			l.log.has(t, "level=WARN", "reason=unsupported_version", "newer kproxy")
		})
	}
}

// An API without addresses is forwarded in any version.
func TestNewVersionOfHarmlessAPIPasses(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	frame := requestFrame(1, heartbeat())
	frame[7] = 99
	c.write(frame)
	s.wants("the request", frame)
	s.answer(1, heartbeatAnswer())
	c.receive(1, heartbeatAnswer())
	finish(t, &l, c, s)
}
