package proxy_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
	"kproxy/proxy"
)

// fetches has one response go to a client.
func fetches(c client, s brokerConn, answer []byte) {
	c.t.Helper()
	c.send(1, of(17, kmsg.NewPtrFetchRequest()))
	s.request(kmsg.Fetch, 1)
	sent := make(chan error, 1)
	go func() { sent <- s.tryWrite(answer) }()
	c.wants("the answer", answer)
	if err := <-sent; err != nil {
		c.t.Fatal(err)
	}
}

// Of large frames the proxy reads only the heads and the tails. The rest stays in the kernel.
func TestRecordsAreSpliced(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	notCopying(t)
	const size = 1 << 20
	var l lab
	c, s := l.open(t)
	answer := answerFrame(1, fetchAnswer(17, noise(size)))
	produce := produceRequest(9, -1, "", noise(size))
	rounds := int64(0)
	mostly := func(before, now proxy.Direction) bool {
		return now.Spliced-before.Spliced > size/2 && now.Copied-before.Copied < size/4
	}
	eventually(t, "most of both frames is spliced", func() bool {
		rounds++
		upBefore, downBefore := l.moved()
		fetches(c, s, answer)
		sent := make(chan error, 1)
		go func() { sent <- c.tryWrite(requestFrame(2, produce)) }()
		if got := s.request(kmsg.Produce, 2).frame; !bytes.Equal(got, requestFrame(2, produce)) {
			t.Fatal("the request changed on its way")
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		s.answer(2, answerTo(9, kmsg.NewPtrProduceResponse()))
		c.receive(2, answerTo(9, kmsg.NewPtrProduceResponse()))
		up, down := l.moved()
		return mostly(upBefore, up) && mostly(downBefore, down)
	})
	finish(t, &l, c, s)
	up, down := l.moved()
	for name, got := range map[string]proxy.Direction{"up": up, "down": down} {
		if all := got.Copied + got.Spliced; all < rounds*size {
			t.Errorf("%s: %d bytes were counted of %d frames of %d", name, all, rounds, size)
		}
	}
}

// After one large response has passed, the proxy reads of the next one only its head, a few
// bytes at most, and its tail.
func TestOnlyStructureIsRead(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	notCopying(t)
	var l lab
	c, s := l.open(t)
	answer := answerFrame(1, fetchAnswer(17, noise(40_000))) // finds room in any socket
	fetches(c, s, answer)
	eventually(t, "all of a large answer but a few bytes is spliced", func() bool {
		_, before := l.moved()
		fetches(c, s, answer)
		_, now := l.moved()
		return now.Copied-before.Copied <= 100 && now.Spliced-before.Spliced >= 40_000
	})
	finish(t, &l, c, s)
}

// However long the listener's name is, beside the broker's.
func TestLeaderHintsOfAnyLength(t *testing.T) {
	t.Parallel()
	hosts := map[string]string{}
	own := len("broker-1.vpc.invalid")
	for n := 6; n <= own+200; n++ {
		if n > own+8 && n%16 > 1 { // all lengths around those of varints, and some of the others
			continue
		}
		host := strings.Repeat("abcdefgh.", n/9+1)[:n-2] + "xy"
		hosts[fmt.Sprint("n", n)] = host
	}
	var l lab
	l.hintsAt(t, hosts)
	h := hintedAnswers["Fetch"]
	for name, host := range hosts {
		t.Run(name, func(t *testing.T) {
			c := l.dial(t, host+":9092")
			s := brokerConn{}
			for _, n := range []int{100_000, 100_000, 100} { // the second one is looked at before it is spliced
				c.send(1, h.req)
				if s.peer == nil {
					s = l.first.take()
				}
				s.request(kmsg.Key(h.req.Key()), 1)
				answerHints(t, h, n, c, s, host)
			}
			finish(t, &l, c, s)
		})
	}
}

// Over TCP too, where the records are spliced, a response may come in any pieces.
func TestSplicedHintsInPieces(t *testing.T) {
	t.Parallel()
	const n = 50_000
	var l lab
	l.hints(t)
	for name, h := range hintedAnswers {
		for _, place := range []string{"shorter by one", "longer"} {
			t.Run(name+"/"+place, func(t *testing.T) {
				host := advertisedHosts[place]
				c := l.dial(t, host+":9092")
				s := brokerConn{}
				frame := answerFrame(1, h.resp(n))
				tick := time.NewTicker(200 * time.Microsecond) // pieces may arrive together all the same
				defer tick.Stop()
				exchange := func(cuts ...int) {
					t.Helper()
					c.send(1, h.req)
					if s.peer == nil {
						s = l.first.take()
					}
					s.request(kmsg.Key(h.req.Key()), 1)
					sent := make(chan error, 1)
					go func() {
						at := 0
						for _, cut := range append(cuts, len(frame)) {
							if err := s.tryWrite(frame[at:cut]); err != nil {
								sent <- err
								return
							}
							at = cut
							<-tick.C
						}
						sent <- nil
					}()
					checkHints(t, h, n, c.frame(), host)
					if err := <-sent; err != nil {
						t.Fatal(err)
					}
				}
				for split := max(1, len(frame)-100); split < len(frame); split++ {
					exchange(split)
				}
				var bytewise []int
				ends := min(120, len(frame)/2)
				for i := 1; i < ends; i++ {
					bytewise = append(bytewise, i)
				}
				for i := len(frame) - ends; i < len(frame); i++ {
					bytewise = append(bytewise, i)
				}
				exchange(bytewise...)
				finish(t, &l, c, s)
			})
		}
	}
}

// Whatever the budget of pipes is, everything arrives.
func TestPipeBudgets(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	for _, pipes := range []int{-1, 1, 2} {
		t.Run(fmt.Sprint(pipes), func(t *testing.T) {
			t.Parallel()
			const clients, rounds = 20, 10
			var l lab
			b := l.startBroker(t, 0, 0)
			conf := l.config()
			if !*copyAll {
				conf.SplicePipes = pipes
			}
			l.start(t, conf)
			var all sync.WaitGroup
			for i := range clients {
				c := l.dial(t, "bob.test:9092")
				c.send(0, heartbeat())
				s := b.take()
				fetch := kmsg.NewPtrFetchRequest()
				fetch.Rack = string(noise(200_000 + i))
				request := requestFrame(1, of(17, fetch))
				answer := answerFrame(1, fetchAnswer(17, noise(300_000+i)))
				all.Go(func() { // each sends large frames to the other
					for range rounds {
						if c.tryWrite(request) != nil {
							return
						}
					}
				})
				all.Go(func() {
					_, _ = s.tryFrame() // the heartbeat
					_ = s.tryWrite(answerFrame(0, heartbeatAnswer()))
					for range rounds {
						if got, err := s.tryFrame(); err != nil || !bytes.Equal(got, request) {
							t.Errorf("a request arrived as %d bytes, %v", len(got), err)
						}
						if s.tryWrite(answer) != nil {
							return
						}
					}
				})
				all.Go(func() {
					_, _ = c.tryFrame()
					for range rounds {
						if got, err := c.tryFrame(); err != nil || !bytes.Equal(got, answer) {
							t.Errorf("an answer arrived as %d bytes, %v", len(got), err)
						}
					}
				})
			}
			all.Wait()
			if _, down := l.moved(); (down.Spliced > 0) != (conf.SplicePipes > 0) {
				t.Errorf("%d bytes were spliced", down.Spliced)
			}
		})
	}
}

// A peer that dies while a frame is half way takes nothing with it but its own
// session: the one pipe that there is serves the next.
func TestPeerDiesInTheMiddleOfAFrame(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	if !*copyAll {
		conf.SplicePipes = 1
	}
	l.start(t, conf)
	answer := answerFrame(1, fetchAnswer(17, noise(8<<20)))
	request := requestFrame(1, produceRequest(9, -1, "", noise(8<<20)))
	half := len(answer) / 2
	for name, die := range map[string]func(t *testing.T, c client, s brokerConn){
		"broker resets": func(t *testing.T, c client, s brokerConn) {
			t.Helper()
			go func() { _ = s.tryWrite(answer[:half]); s.reset() }()
			_, _ = c.ended()
			l.ends.next(t)
		},
		"broker ends": func(t *testing.T, c client, s brokerConn) {
			t.Helper()
			go func() { _ = s.tryWrite(answer[:half]); s.close() }()
			if rest, err := c.ended(); err != nil || !bytes.Equal(rest, answer[:half]) {
				t.Errorf("%d bytes came, and %v", len(rest), err)
			}
			l.ended(t, proxy.BrokerClosed)
		},
		"client resets": func(t *testing.T, c client, s brokerConn) {
			t.Helper()
			go func() { _, _ = c.tryRead(half); c.reset() }()
			_ = s.tryWrite(answer)
			// Either pump may read the reset; the other one reads an
			// end.
			if e := l.ends.next(t); e.Reason != proxy.ClientReset && e.Reason != proxy.ClientClosed {
				t.Errorf("the session ended as %s", e.Reason)
			}
		},
		"client ends inside a request": func(t *testing.T, c client, s brokerConn) {
			t.Helper()
			go func() { _ = c.tryWrite(request[:half]); c.close() }()
			if rest, err := s.ended(); err != nil || !bytes.Equal(rest, request[:half]) {
				t.Errorf("%d bytes came, and %v", len(rest), err)
			}
			s.close()
			l.ends.next(t)
		},
		"broker resets inside a request": func(t *testing.T, c client, s brokerConn) {
			t.Helper()
			go func() { _, _ = s.tryRead(half); s.reset() }()
			_ = c.tryWrite(request)
			l.ends.next(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := l.session(t, b)
			if strings.Contains(name, "request") {
				die(t, c, s)
			} else {
				c.send(1, of(17, kmsg.NewPtrFetchRequest()))
				s.request(kmsg.Fetch, 1)
				die(t, c, s)
			}
			c, s = l.session(t, b)
			fetches(c, s, answer)
			finish(t, &l, c, s)
		})
	}
	if _, down := l.moved(); !*copyAll && down.Spliced == 0 {
		t.Error("nothing was spliced")
	}
}

// Readers that have stopped hold no pipe, and get all that they are owed when
// they go on.
func TestReadersThatStop(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	const readers, size = 10, 64 << 20
	var l lab
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	if !*copyAll {
		conf.SplicePipes = 1
	}
	l.start(t, conf)
	answer := answerFrame(1, fetchAnswer(17, noise(size)))
	var stopped []client
	var writing sync.WaitGroup
	for range readers {
		c, s := l.session(t, b)
		c.send(1, of(17, kmsg.NewPtrFetchRequest()))
		s.request(kmsg.Fetch, 1)
		writing.Go(func() { _ = s.tryWrite(answer) })
		c.wants("the first bytes", answer[:1<<20])
		stopped = append(stopped, c)
	}
	l.still(t)
	c, s := l.session(t, b)
	eventually(t, "most of an answer beside readers that have stopped is spliced", func() bool {
		_, before := l.moved()
		fetches(c, s, answer)
		_, now := l.moved()
		return *copyAll || now.Spliced-before.Spliced > size/2
	})
	finish(t, &l, c, s)
	for _, c := range stopped {
		c.wants("the rest", answer[1<<20:])
	}
	writing.Wait()
}

// still waits until nothing moves any more.
func (l *lab) still(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(2 * moment)
	defer tick.Stop()
	for last := int64(-1); ; {
		up, down := l.moved()
		now := up.Copied + up.Spliced + down.Copied + down.Spliced
		if now == last {
			return
		}
		last = now
		<-tick.C
	}
}

// A response that contradicts itself ends the session, however large it is.
func TestLyingLengthsOfLargeAnswers(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	l.start(t, l.config())
	good := answerFrame(1, fetchAnswer(17, noise(200_000)))
	for name, lie := range map[string]int{"shorter by one": -1, "shorter": -1000, "much shorter": -150_000} {
		for _, second := range []bool{false, true} {
			t.Run(fmt.Sprint(name, "/", second), func(t *testing.T) {
				c, s := l.session(t, b)
				if second {
					fetches(c, s, good)
				}
				bad := bytes.Clone(good)
				binary.BigEndian.PutUint32(bad, uint32(int(wire.Size(good))+lie))
				c.send(1, of(17, kmsg.NewPtrFetchRequest()))
				s.request(kmsg.Fetch, 1)
				go func() { _ = s.tryWrite(bad) }()
				_, _ = c.ended()
				c.close()
				l.ended(t, proxy.BadAnswer)
			})
		}
	}
}
