//go:build e2e

package login

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"kproxy/e2e/lab"
)

const (
	// roundTripRecords are sent and read in each round trip.
	roundTripRecords = 500
	// atOnce is how many round trips are on their way: each waits a good deal.
	atOnce = 3
)

// trip is one client's, one way.
type trip struct {
	way
	by     string
	client client
	*access

	took time.Duration
	got  []string
	err  error

	refusal, directly string // the error of a broken login, and that without kproxy
}

// trips are those of each client by each way.
func (s *site) trips() []*trip {
	var all []*trip
	clients := s.clients()
	for _, name := range []string{"java", "kcat", "sarama", "franz-go"} { // the longest first
		for _, w := range ways() {
			all = append(all, s.trip(w, name, clients[name], ""))
		}
	}
	return all
}

func (s *site) trip(w way, name string, client client, suffix string) *trip {
	return &trip{way: w, by: name, client: client, access: s.access(w, topicName(fmt.Sprintf("%s-%s%s", w, name, suffix)))}
}

// refused reports whether the login is one that neither Kafka 4 nor kproxy accepts:
// Debian's kcat has librdkafka 2.0.2, whose SCRAM is broken (librdkafka#4895, mended in
// 2.6.1).
func (r *trip) refused() bool {
	return r.by == "kcat" && strings.HasPrefix(r.access.mechanism, "SCRAM-")
}

// loses reports whether the client loses its connections when its login expires:
// librdkafka 2.0.2 does not log in again.
func (r *trip) loses() bool { return r.by == "kcat" && r.mode == passed }

// roundTrips makes each client send records and read them, in each way.
func (s *site) roundTrips(t *testing.T) {
	all := s.trips()
	var running errgroup.Group
	running.SetLimit(atOnce)
	for i := range all {
		running.Go(func() error {
			all[i] = s.run(t.Context(), all[i])
			return nil
		})
	}
	_ = running.Wait() // each keeps its own error
	done := map[string]int{}
	for _, r := range all {
		t.Run(fmt.Sprintf("%s/%s", r.way, r.by), func(t *testing.T) { s.checkTrip(t, r) })
		done[r.by+" "+string(r.mode)]++
	}
	t.Logf("%d round trips: %v", len(all), done)
	if len(done) != len(s.clients())*3 {
		t.Errorf("there are %d kinds of round trips, want each client in each mode", len(done))
	}
}

// run makes the trip, and returns it. A trip that has outlived a login which its client
// does not renew shows nothing, and is repeated.
func (s *site) run(ctx context.Context, r *trip) *trip {
	for attempt := 1; ; attempt++ {
		began := time.Now()
		s.travel(ctx, r)
		r.took = time.Since(began)
		if r.err == nil || !r.loses() || r.took < reauth || attempt == attempts {
			return r
		}
		s.excuse(r.id)
		r = s.trip(r.way, r.by, r.client, fmt.Sprint("-", attempt+1))
	}
}

// travel is the trip itself.
func (s *site) travel(ctx context.Context, r *trip) {
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	if r.refused() {
		s.runRefused(ctx, r)
		return
	}
	if r.err = s.kafka.NewTopic(ctx, 3, nil, r.id); r.err != nil {
		return
	}
	if err := r.client.produce(ctx, r.access, r.id, all(records(roundTripRecords))); err != nil {
		r.err = fmt.Errorf("produce: %w", err)
		return
	}
	if r.got, r.err = r.client.consume(ctx, r.access, r.id, roundTripRecords); r.err != nil {
		r.err = fmt.Errorf("consume: %w", r.err)
	}
}

// runRefused runs kcat, and also without kproxy if the broker refuses it.
func (s *site) runRefused(ctx context.Context, r *trip) {
	if r.mode == passed {
		s.excuse(r.id)
	}
	if r.refusal, r.err = (kcat{s}).refusal(ctx, r.access); r.err != nil || r.mode != passed {
		return
	}
	direct := s.access(r.way, r.id)
	direct.address = s.broker[r.security]
	r.directly, r.err = kcat{s}.refusal(ctx, direct)
}

// checkTrip fails the test if the records read differ from those sent, or came another
// way.
func (s *site) checkTrip(t *testing.T, r *trip) {
	t.Helper()
	t.Logf("in %v", r.took.Round(time.Millisecond))
	r.checkStray(t)
	if r.refused() {
		checkRefused(t, r)
	} else {
		for _, problem := range s.unread(t, r, records(roundTripRecords)) {
			t.Error(problem)
		}
	}
	s.checkDoor(t, r)
}

// unread reports whether a record is not in the topic exactly once, or was not read.
func (s *site) unread(t *testing.T, r *trip, want []string) (problems []string) {
	t.Helper()
	slices.Sort(r.got)
	if r.err != nil || !slices.Equal(r.got, want) {
		problems = append(problems, fmt.Sprintf("read %d records, want the %d that were sent: %v", len(r.got), len(want), r.err))
	}
	if n, err := s.stored(t.Context(), r.id); err != nil || n != int64(len(want)) {
		problems = append(problems, fmt.Sprintf("the topic has %d records, want %d: %v", n, len(want), err))
	}
	return problems
}

// checkDoor fails the test if kproxy did not see the client at the right listener, as the
// right user.
func (s *site) checkDoor(t *testing.T, r *trip) {
	t.Helper()
	var sessions []entry
	if err := lab.Poll(t.Context(), 10*time.Second, func() error {
		if sessions = s.sessions(t, r.id); len(sessions) == 0 {
			return fmt.Errorf("kproxy's log tells of no session of %s", r.id)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	user := ""
	if r.mode == atKproxy && !r.refused() {
		user = alice
	}
	cluster, listener := r.door()
	seen := map[string]bool{}
	for _, e := range sessions {
		if e.Cluster != cluster || e.Listener != listener {
			t.Errorf("a session of %s was at %s/%s", r.id, e.Cluster, e.Listener)
		}
		seen[e.User] = true
	}
	if !seen[user] || r.mode != atKproxy && len(seen) > 1 {
		t.Errorf("%s came as %q, want %q", r.id, slices.Collect(maps.Keys(seen)), user)
	}
}

// checkRefused fails the test if kcat was admitted, or is refused in another way than
// without kproxy.
func checkRefused(t *testing.T, r *trip) {
	t.Helper()
	want := "Authentication failed during authentication due to invalid credentials with SASL mechanism " + r.access.mechanism
	if r.err != nil || r.refusal != want {
		t.Errorf("kcat gets %q, want %q: %v", r.refusal, want, r.err)
	}
	if r.mode == passed && r.directly != r.refusal {
		t.Errorf("without kproxy kcat gets %q, with it %q", r.directly, r.refusal)
	}
}

// stored is how many records a topic has.
func (s *site) stored(ctx context.Context, topic string) (n int64, err error) {
	ends, err := s.kafka.Admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	for _, partitions := range ends {
		for _, p := range partitions {
			n += p.Offset
		}
	}
	return n, err
}
