package proxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// heldZero waits until nothing is held.
func (l *lab) heldZero(t *testing.T) {
	t.Helper()
	l.held(t, func(n int64) bool { return n == 0 })
}

// held waits until right returns true for the number of held bytes.
func (l *lab) held(t *testing.T, right func(int64) bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		n := l.proxy.Stats().HeldBytes
		if right(n) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are held", n)
		}
	}
}

// A refused Produce request is answered however long it is, and its records are
// not held.
func TestARefusedProduceIsReadAsAStream(t *testing.T) {
	t.Parallel()
	for _, version := range []int16{3, 7, 9, 12, 13} {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			t.Parallel()
			var l lab
			c, s := l.openFiltered(t, config.APIs{Preset: config.ReadOnly}, "")
			req := produceRequest(version, -1, "txn", bytes.Repeat([]byte("r"), 6<<20))
			req.Topics = append(req.Topics, req.Topics[0])
			req.Topics[1].Topic = "u"
			req.Topics[1].TopicID[3] = 7
			req.UnknownTags.Set(9, []byte("nine"))
			frame := requestFrame(1, req)
			c.write(frame[:len(frame)-1])
			if held := l.proxy.Stats().HeldBytes; held > 600<<10 {
				t.Errorf("%d bytes are held for a request of %d", held, len(frame))
			}
			c.write(append(frame[len(frame)-1:], requestFrame(2, heartbeat())...))
			resp := answerTo(version, kmsg.NewPtrProduceResponse())
			c.receive(1, resp)
			if len(resp.Topics) != 2 || resp.Topics[1].TopicID != req.Topics[1].TopicID && version >= 13 ||
				resp.Topics[1].Topic != "u" && version < 13 {
				t.Fatalf("got %+v", resp.Topics)
			}
			for _, topic := range resp.Topics {
				if topic.Partitions[0].ErrorCode != kerr.TopicAuthorizationFailed.Code {
					t.Errorf("got %+v", topic)
				}
			}
			s.request(kmsg.Heartbeat, 2)
			s.answer(2, heartbeatAnswer())
			c.receive(2, heartbeatAnswer())
			finish(t, &l, c, s)
			l.heldZero(t)
		})
	}
}

// deletion is a refused request of about n bytes.
func deletion(n int) kmsg.Request {
	req := of(1, kmsg.NewPtrDeleteTopicsRequest())
	for range n / 1000 {
		req.TopicNames = append(req.TopicNames, string(bytes.Repeat([]byte("t"), 998)))
	}
	return req
}

// A frame that must be whole before it is parsed must arrive in time.
func TestHeldFramesHaveALimitOfTime(t *testing.T) {
	t.Parallel()
	var l lab
	conf := l.config()
	conf.FirstRequestTimeout = time.Second
	conf.Clusters[0].Listeners[0].APIs.Preset = config.ReadOnly
	b := l.startBroker(t, 0, 0)
	l.start(t, conf)
	c, s := l.session(t, b)
	frame := requestFrame(1, deletion(200_000))
	c.write(frame[:150_000])
	l.held(t, func(n int64) bool { return n > 100_000 })
	s.eof()
	l.ended(t, proxy.HoldTimeout)
	l.heldZero(t)
}

// A frame that has arrived in time ends no session later, although its buffer is still in use
// for the bytes behind it.
func TestAWholeFrameHasNoLimitOfTime(t *testing.T) {
	t.Parallel()
	var l lab
	conf := l.config()
	conf.FirstRequestTimeout = time.Second
	conf.Clusters[0].Listeners[0].APIs.Preset = config.ReadOnly
	b := l.startBroker(t, 0, 0)
	l.start(t, conf)
	c, s := l.session(t, b)
	half := requestFrame(2, heartbeat())
	c.write(append(requestFrame(1, deletion(60_000)), half[:5]...))
	c.receive(1, answerTo(1, kmsg.NewPtrDeleteTopicsResponse()))
	s.silentFor(2 * conf.FirstRequestTimeout)
	c.write(half[5:])
	s.request(kmsg.Heartbeat, 2)
	s.answer(2, heartbeatAnswer())
	c.receive(2, heartbeatAnswer())
	finish(t, &l, c, s)
}

// filling opens sessions that hold about n bytes each of a request that does not
// end, from an address.
func (l *lab) filling(t *testing.T, from string, sessions, n int) []client {
	t.Helper()
	var all []client
	for range sessions {
		conn, err := l.outside.DialFrom(t.Context(), from, "bob.test:9092")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		c := client{newPeer(t, conn)}
		frame := requestFrame(1, deletion(250_000))
		_ = c.tryWrite(frame[:n]) // it may be ended meanwhile
		all = append(all, c)
	}
	return all
}

// readOnly is the lab's configuration with a listener that refuses what changes
// anything, and a budget of held bytes.
func (l *lab) readOnly(budget int64) *proxy.Config {
	conf := l.config()
	conf.MaxHeldBytes = budget
	conf.Clusters[0].Listeners[0].APIs.Preset = config.ReadOnly
	return conf
}

// When the budget is used up, the largest holder of the source that holds most
// ends; a session that holds nothing does not notice.
func TestTheLargestHolderOfASourceEndsFirst(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	conf := l.readOnly(2 << 20)
	b := l.liveBroker(t, 0)
	b.become(0, brokersAt(0))
	l.start(t, conf)
	steady := l.dial(t, "bob.test:9092")
	small := l.filling(t, "127.0.0.3", 1, 40_000)
	l.held(t, func(n int64) bool { return n >= 64<<10 })
	for range 20 {
		l.filling(t, "127.0.0.2", 1, 200_000)
		if n := l.proxy.Stats().HeldBytes; n > conf.MaxHeldBytes+1<<20 {
			t.Fatalf("%d bytes are held", n)
		}
	}
	for id := range int32(20) {
		steady.send(id, heartbeat())
		steady.receive(id, heartbeatAnswer())
	}
	for range 10 { // eight fit: 2 MiB of 256 KiB each, less the small one's
		if e := l.ended(t, proxy.HeldBytes); e.Err == nil {
			t.Error("the end has no error")
		}
	}
	small[0].silent()
	l.log.has(t, "reason=held_bytes", "fix=", "client=127.0.0.2")
	if n := l.log.count("reason=held_bytes", "client=127.0.0.3"); n > 0 {
		t.Error("the small holder of another source has ended")
	}
}

// Responses of kproxy's own that wait behind a long poll are held in a bounded
// amount: the client is not read meanwhile.
func TestRefusalsBehindALongPollAreBounded(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openFiltered(t, config.APIs{Preset: config.ReadOnly}, "")
	c.send(1, of(4, kmsg.NewPtrFetchRequest()))
	s.request(kmsg.Fetch, 1)
	many := requestFrames(2, repeated(200, deletion(20_000))...)
	wrote := make(chan error, 1)
	go func() { wrote <- c.tryWrite(many) }()
	l.held(t, func(n int64) bool { return n > 200<<10 })
	c.silent()
	if n := l.proxy.Stats().HeldBytes; n > 700<<10 {
		t.Errorf("%d bytes are held", n)
	}
	s.answer(1, fetchAnswer(4, []byte("r")))
	c.receive(1, answerTo(4, kmsg.NewPtrFetchResponse()))
	for id := range int32(200) {
		resp := answerTo(1, kmsg.NewPtrDeleteTopicsResponse())
		c.receive(2+id, resp)
		if len(resp.Topics) != 20 || resp.Topics[0].ErrorCode != kerr.TopicAuthorizationFailed.Code {
			t.Fatalf("got %+v", resp)
		}
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	finish(t, &l, c, s)
	l.heldZero(t)
}

// A head of Metadata that does not end is held in a bounded amount, for all
// sessions together, and each for a limited time.
func TestMetadataHeadsThatDoNotEnd(t *testing.T) {
	t.Parallel()
	var l lab
	conf := l.config()
	conf.MaxHeldBytes = 4 << 20
	b := l.startBroker(t, 0, 0)
	l.start(t, conf)
	names := make([]kmsg.MetadataResponseBroker, 9_000)
	for i := range names {
		names[i].NodeID, names[i].Host, names[i].Port = int32(i), string(bytes.Repeat([]byte("h"), 300)), 1
	}
	answer := metadataAnswer(12)
	answer.Brokers = names
	for range 8 {
		c := l.dial(t, "bob.test:9092")
		c.send(1, metadataRequest(12))
		s := b.take()
		s.request(kmsg.Metadata, 1)
		frame := answerFrame(1, answer)
		go func() { _ = s.tryWrite(frame[:2_500_000]) }()
	}
	l.ended(t, proxy.HeldBytes)
	l.held(t, func(n int64) bool { return n <= conf.MaxHeldBytes+1<<20 })
}

// Many that hold little, by queues of requests that are not answered, leave room for
// one that needs more.
func TestManySmallHoldersLeaveRoom(t *testing.T) {
	t.Parallel()
	var l lab
	conf := l.readOnly(1 << 20)
	b := l.startBroker(t, 0, 0)
	l.start(t, conf)
	var all []client
	for range 40 {
		c := l.dial(t, "bob.test:9092")
		c.send(0, heartbeat())
		s := b.take()
		go func() { // reads all, and answers nothing
			for {
				if _, err := s.tryRequest(); err != nil {
					return
				}
			}
		}()
		c.write(requestFrames(1, repeated(1000, heartbeat())...))
		all = append(all, c)
	}
	l.held(t, func(n int64) bool { return n > 300<<10 })
	for range 5 {
		c := l.dial(t, "bob.test:9092")
		c.send(1, deletion(60_000))
		c.receive(1, answerTo(1, kmsg.NewPtrDeleteTopicsResponse()))
		c.close()
	}
	for _, c := range all {
		c.close()
	}
}

// A client whose request is refused because kproxy would have to hold it reads a reset.
func TestAHolderIsReset(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	conf := l.readOnly(1 << 20)
	b := l.liveBroker(t, 0)
	b.become(0, brokersAt(0))
	l.start(t, conf)
	all := l.filling(t, "127.0.0.2", 5, 200_000)
	l.ended(t, proxy.HeldBytes)
	resets := 0
	for _, c := range all {
		_ = c.conn.SetReadDeadline(time.Now().Add(moment))
		if _, err := c.in.Peek(1); errors.Is(err, syscall.ECONNRESET) {
			resets++
		}
	}
	if resets == 0 {
		t.Error("no client read a reset")
	}
}

// A session that holds something while more is held than sessions with a broker may
// fill still forwards requests: nothing more is held for them.
func TestAFullBudgetForwards(t *testing.T) {
	t.Parallel()
	var l lab
	conf := l.readOnly(1 << 20)
	b := l.startBroker(t, 0, 0)
	l.start(t, conf)
	c, s := l.session(t, b)
	c.send(1, of(4, kmsg.NewPtrFetchRequest()))
	s.request(kmsg.Fetch, 1)
	c.send(2, deletion(20_000)) // its response waits behind the Fetch
	l.held(t, func(n int64) bool { return n > 16<<10 })
	header := requestFrame(0, heartbeat())[:12] // of a client id that does not end
	header = append(append(header, 0x7f, 0xff), make([]byte, 31<<10)...)
	header[2], header[3] = 0xff, 0xff
	for range 30 {
		early := l.dial(t, "bob.test:9092")
		early.write(header)
	}
	l.held(t, func(n int64) bool { return n > 800<<10 })
	for id := range int32(50) { // a longer queue would be held
		c.send(3+id, heartbeat())
		s.request(kmsg.Heartbeat, 3+id)
	}
	s.close()
	c.close()
}
