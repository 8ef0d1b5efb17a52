//go:build e2e

package login

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
	"kproxy/internal/auth"
)

const (
	// lifetimes is how many lifetimes of a login clients work.
	lifetimes = 3.5
	// attempts are the windows in which a client may show the expected behaviour.
	attempts = 4
	// apart is the time between the starts of clients, so that they do not log in at the
	// same time.
	apart = 100 * time.Millisecond
	// stall is how late a broker may respond before a window shows nothing: sarama logs
	// in again 250 ms before its login expires, and a request that waits for longer than
	// that in front of a broker arrives too late, with kproxy and without.
	stall = 150 * time.Millisecond
)

// load is a client that works while logins expire.
type load struct {
	*trip
	every time.Duration // between two records
	sent  []string
	ready chan struct{} // closed when the topic has a record, or will have none
}

// size is that of a record: kcat reads its input in pieces of 1 KiB.
const size = 1023

func (s *site) load(w way, by string, every time.Duration, suffix string) *load {
	l := &load{trip: s.trip(w, by, s.clients()[by], suffix), every: every, ready: make(chan struct{})}
	for _, r := range records(int(lifetimes * float64(reauth) / float64(every))) {
		l.sent = append(l.sent, r+strings.Repeat(".", size-len(r)))
	}
	return l
}

// loads are clients whose logins expire: their own, or kproxy's. Java is first, which
// takes two cores for seconds to start.
func (s *site) loads() []*load {
	const steady, fast = 100 * time.Millisecond, 5 * time.Millisecond
	var all []*load
	add := func(security string, mode mode, mechanism, by string, every time.Duration) {
		all = append(all, s.load(way{security, mode, mechanism}, by, every, "-expiring"))
	}
	add("SASL_PLAINTEXT", passed, auth.OAuthBearer, "java", steady)
	add("SASL_SSL", passed, auth.ScramSHA512, "java", steady)
	for mechanism := range mechanisms {
		add("SASL_PLAINTEXT", passed, mechanism, "sarama", steady)
		add("SASL_SSL", passed, mechanism, "franz-go", steady)
		add("SASL_SSL", byKproxy, mechanism, "sarama", steady)
	}
	add("SASL_PLAINTEXT", passed, auth.ScramSHA256, "franz-go", steady)
	add("SASL_SSL", passed, auth.Plain, "sarama", steady)
	for _, security := range []string{"SASL_PLAINTEXT", "SASL_SSL"} {
		add(security, byKproxy, auth.ScramSHA512, "franz-go", fast)
		add(security, atKproxy, auth.ScramSHA512, "franz-go", steady)
		add(security, passed, auth.Plain, "kcat", steady)
		add(security, byKproxy, auth.Plain, "kcat", steady)
	}
	return all
}

// expiry makes clients work for three and a half lifetimes of a login. No request fails, no record
// is lost or duplicated, and no connection ends, except those of a client that does not log in
// again.
func (s *site) expiry(t *testing.T) {
	loads := s.loads()
	for attempt := 1; len(loads) > 0; attempt++ {
		slowest := s.window(t, loads, attempt == 1)
		var again []*load
		for _, l := range loads {
			problems := s.problems(t, l)
			if len(problems) > 0 && slowest > stall && attempt < attempts {
				t.Logf("%s: %v; the broker was up to %v late, so it shows nothing", l.id, problems, slowest)
				s.excuse(l.id)
				again = append(again, s.load(l.way, l.by, l.every, fmt.Sprint("-expiring-", attempt+1)))
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", l.way, l.by), func(t *testing.T) {
				l.checkStray(t)
				s.checkDoor(t, l.trip)
				for _, problem := range problems {
					t.Error(problem)
				}
			})
		}
		loads = again
	}
}

// window runs all loads at once, and returns the broker's longest response time to a
// client that asked it directly.
func (s *site) window(t *testing.T, loads []*load, first bool) (slowest time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	var working, watching sync.WaitGroup
	for _, l := range loads {
		if err := s.kafka.NewTopic(ctx, 3, nil, l.id); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	watching.Go(func() { slowest = s.slowest(ctx, stop) })
	for i, l := range loads {
		working.Go(func() { s.work(ctx, l) })
		<-time.After(apart)
		if l.by == "java" && (i+1 == len(loads) || loads[i+1].by != "java") {
			for _, java := range loads[:i+1] {
				<-java.ready
			}
		}
	}
	if first {
		t.Run("held JoinGroup", s.heldJoinGroup)
	}
	working.Wait()
	close(stop)
	watching.Wait()
	t.Logf("%d clients; the broker took up to %v to respond", len(loads), slowest.Round(time.Millisecond))
	return slowest
}

// slowest asks the broker again and again until it is stopped, and returns the longest
// response time. It asks without kproxy, at the same listener: logins keep each
// listener's own threads busy.
func (s *site) slowest(ctx context.Context, stop <-chan struct{}) time.Duration {
	var asking sync.WaitGroup
	var slowest atomic.Int64
	for _, security := range []string{"SASL_PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL", "SASL_SSL"} { // two threads each
		direct := s.access(way{security, passed, auth.Plain}, "watch")
		direct.address = s.broker[security]
		asking.Go(func() {
			client, err := kgo.NewClient((franz{}).options(direct)...)
			if err != nil {
				return // the options are those of other clients
			}
			defer client.Close()
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				began := time.Now()
				_, _ = client.SeedBrokers()[0].Request(ctx, kmsg.NewPtrApiVersionsRequest()) // only the time matters
				if ctx.Err() != nil {
					return // the window has ended, and not the broker failed
				}
				for took := int64(time.Since(began)); ; {
					if old := slowest.Load(); took <= old || slowest.CompareAndSwap(old, took) {
						break
					}
				}
			}
		})
	}
	asking.Wait()
	return time.Duration(slowest.Load())
}

// work sends and reads.
func (s *site) work(ctx context.Context, l *load) {
	var both sync.WaitGroup
	var consumed error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	both.Go(func() { l.got, consumed = l.client.consume(ctx, l.access, l.id, len(l.sent)) })
	values := make(chan string)
	both.Go(func() { s.feed(ctx, l, values) })
	produced := l.client.produce(ctx, l.access, l.id, values)
	if produced != nil {
		produced = fmt.Errorf("produce: %w", produced)
		cancel()           // the consumer would wait for records that do not come
		for range values { // they are not received any more
		}
	}
	both.Wait()
	if consumed != nil {
		consumed = fmt.Errorf("consume: %w", consumed)
	}
	l.err = errors.Join(produced, consumed)
}

// feed gives one record to a client, and the others, one at a time, when it is stored:
// the client works by then.
func (s *site) feed(ctx context.Context, l *load, values chan<- string) {
	defer close(values)
	values <- l.sent[0]
	_ = lab.Poll(ctx, toolTimeout, func() error {
		n, err := s.stored(ctx, l.id)
		if err == nil && n == 0 {
			err = errors.New("nothing is stored")
		}
		return err
	})
	close(l.ready)
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	for _, v := range l.sent[1:] {
		<-tick.C
		values <- v
	}
}

// problems lists a client's failures.
func (s *site) problems(t *testing.T, l *load) (problems []string) {
	t.Helper()
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var sessions []entry
	var longest time.Duration
	_ = lab.Poll(t.Context(), 3*time.Second, func() error { // the last ends may still be logged
		sessions = s.sessions(t, l.id)
		for _, e := range sessions {
			longest = max(longest, e.Duration)
		}
		if longest < 3*reauth && !l.loses() {
			return errors.New("too short")
		}
		return nil
	})
	expired, ended := 0, map[string]int{}
	for _, e := range sessions {
		ended[e.Reason]++
		if e.Reason == "broker_closed" && e.Duration >= reauth {
			expired++
		}
	}
	t.Logf("%s: %d records; the longest of %d sessions took %v; they ended as %v", l.id, len(l.got), len(sessions), longest.Round(time.Millisecond), ended)
	if l.loses() {
		// The end of these sessions shows that logins do expire, also for the others.
		s.excuse(l.id)
		if expired == 0 {
			add("no session of a client that does not log in again was ended by the broker")
		}
		return problems
	}
	problems = append(problems, s.unread(t, l.trip, l.sent)...)
	if longest < 3*reauth {
		add("no session has lasted for three lives of a login")
	}
	for reason, n := range ended {
		if reason != "client_closed" {
			add("%d sessions ended for %s", n, reason)
		}
	}
	return problems
}

// heldJoinGroup makes a member of a group wait for another one, for longer than a login
// lasts.
func (s *site) heldJoinGroup(t *testing.T) {
	const held = 2 * reauth
	group := topicName(t.Name())
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	join := func(client *kgo.Client, member string) *kmsg.JoinGroupResponse {
		t.Helper()
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.MemberID, req.ProtocolType = group, member, "consumer"
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 30_000, int32(held.Milliseconds())
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0}}}
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			t.Fatal(err)
		}
		if resp.ErrorCode == kerr.MemberIDRequired.Code {
			req.MemberID = resp.MemberID
			if resp, err = req.RequestWith(ctx, client); err != nil {
				t.Fatal(err)
			}
		}
		return resp
	}
	a := s.access(way{"SASL_SSL", byKproxy, auth.Plain}, group)
	first, second := franzClient(t, a), franzClient(t, a)
	if got := join(first, ""); got.ErrorCode != 0 {
		t.Fatal(kerr.ErrorForCode(got.ErrorCode))
	}
	began := time.Now()
	got := join(second, "") // until the first member, which does not return, is removed
	if took := time.Since(began); got.ErrorCode != 0 || took < reauth {
		t.Errorf("JoinGroup was held for %v and answered %v, want longer than a login lasts", took, kerr.ErrorForCode(got.ErrorCode))
	}
	beat := kmsg.NewPtrHeartbeatRequest() // on the same connection
	beat.Group, beat.MemberID, beat.Generation = group, got.MemberID, got.Generation
	if _, err := beat.RequestWith(ctx, second); err != nil {
		t.Error(err)
	}
	second.Close()
	var sessions []entry
	if err := lab.Poll(ctx, 10*time.Second, func() error {
		sessions = s.sessions(t, group)
		if !slices.ContainsFunc(sessions, func(e entry) bool { return e.Duration > reauth }) {
			return errors.New("kproxy's log tells of no session that has outlived a login")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	for _, e := range sessions {
		if e.Reason != "client_closed" {
			t.Errorf("a session has ended for %s", e.Reason)
		}
	}
}
