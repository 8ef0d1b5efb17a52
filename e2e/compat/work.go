//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"kproxy/e2e/lab"
)

// work is a kind of work for clients. It is passed when run returns nil.
type work struct {
	name  string // of the column
	since string // the first release whose brokers can do it
	run   func(ctx context.Context, t *trial) error
	// compare looks at the responses of the two runs where more than counts must agree.
	compare func(direct, proxied *trial) error
	// networks is work that goes through the story's places, without the
	// program of a client.
	networks func(ctx context.Context, r *releaseRun) error
	// change changes the cluster while all clients produce and consume at once, on these
	// topics. It may go on until loaded is closed.
	change func(ctx context.Context, r *releaseRun, topics []string, loaded <-chan struct{}) error
	// brief is a change that lasts as long as the load, however short that is.
	brief bool
}

func (w *work) offeredBy(version string) bool { return w.since == "" || lab.AtLeast(version, w.since) }

// records is how many of them one step of a work has.
const records = 200

// works are the columns.
var works = []*work{
	{name: "acks 0, 1, all", run: func(ctx context.Context, t *trial) error {
		return t.roundTrip(ctx, [][]string{{"--acks", "0"}, {"--acks", "1"}, {"--acks", "all"}})
	}},
	{name: "compression", run: func(ctx context.Context, t *trial) error {
		return t.roundTrip(ctx, [][]string{
			{"--compression", "gzip"}, {"--compression", "snappy"}, {"--compression", "lz4"}, {"--compression", "zstd"},
		})
	}},
	{name: "idempotent", run: func(ctx context.Context, t *trial) error {
		return t.roundTrip(ctx, [][]string{{"--idempotent", "--acks", "all"}})
	}},
	{name: "transactions", run: transactions},
	{name: "classic group", run: func(ctx context.Context, t *trial) error {
		return t.roundTrip(ctx, [][]string{{"--rate", "100"}}, "--members", "3", "--churn", "--protocol", "classic")
	}},
	{name: "KIP-848 group", since: "4.0", run: func(ctx context.Context, t *trial) error {
		return t.roundTrip(ctx, [][]string{{"--rate", "100"}}, "--members", "3", "--churn", "--protocol", "consumer")
	}},
	{name: "share group", since: "4.2", run: shareGroup},
	{name: "admin", run: admin, compare: sameDetails},
	{name: "rack", since: "2.4", run: func(ctx context.Context, t *trial) error {
		return t.roundTrip(ctx, [][]string{nil}, "--rack", rack(2))
	}},
	{name: "10 MB records", run: bigRecords},
	{name: "read-only, consume", run: readOnlyConsume},
	{name: "read-only, produce is refused", run: readOnlyProduce()},
	{name: "read-only, idempotent is refused", run: readOnlyProduce("--idempotent", "--acks", "all")},
	{name: "SASL PLAIN", run: login("PLAIN")},
	{name: "SASL SCRAM-SHA-256", run: login("SCRAM-SHA-256")},
	{name: "SASL SCRAM-SHA-512", run: login("SCRAM-SHA-512")},
	{name: "SASL OAUTHBEARER", run: login("OAUTHBEARER")},
	{name: "SASL handshake v0", run: login("PLAIN", "--handshake-v0")},
	{name: "SASL wrong password", run: wrongPassword, compare: sameError},
	{name: "SASL re-authentication", run: reauthentication},
	{name: "SASL delegation tokens", run: tokens},
	{name: "three networks", networks: threeNetworks},
	{name: "the cloud story", networks: cloudStory},
	{name: "telemetry push", since: telemetrySince, networks: telemetryPush},
	{name: "follower fetching", since: "2.4", networks: followerFetching},
	{name: "leader moves, long names", since: "3.7", networks: longNames},
	{name: "leader moves", change: moveLeaders, brief: true},
	{name: "rolling restart", change: rollingRestart},
	{name: "brokers come and go", change: comeAndGo},
}

// on is the address that the client connects to: the brokers' plaintext listener, or
// kproxy's for it.
func (t *trial) on() []string { return []string{"--bootstrap", t.plain, "--topic", t.name} }

// onSASL is the same for the listener with a login.
func (t *trial) onSASL(mechanism string) []string {
	return []string{
		"--bootstrap", t.sasl, "--topic", t.name, "--security", "SASL_PLAINTEXT",
		"--mechanism", mechanism, "--username", username, "--password", password,
	}
}

// newTopic makes the trial's topic.
func (t *trial) newTopic(ctx context.Context, partitions int32, configs map[string]*string) error {
	return t.cluster.NewTopic(ctx, partitions, configs, t.name)
}

// produceEach produces records in each of several ways that the client offers, and
// returns how many there are to read. An error of type notOfferedError says that it
// offers none.
func (t *trial) produceEach(ctx context.Context, on []string, ways [][]string) (int, error) {
	sent, left := 0, notOfferedError("")
	for i, way := range ways {
		args := slices.Concat(on, []string{"--prefix", t.name, "--count", fmt.Sprint(records), "--first", fmt.Sprint(i * records)}, way)
		a, err := t.run(ctx, "produce", args...)
		if errors.As(err, &left) {
			t.note("not offered: %s", strings.Join(way, " "))
			continue
		}
		if err != nil {
			return 0, err
		}
		if a.Acked != records {
			return 0, fmt.Errorf("produce %v: %d of %d acknowledged", way, a.Acked, records)
		}
		sent += records
	}
	if sent == 0 {
		return 0, left
	}
	return sent, nil
}

// roundTrip produces in each way and reads all of it in a group.
func (t *trial) roundTrip(ctx context.Context, ways [][]string, consume ...string) error {
	if err := t.newTopic(ctx, 6, nil); err != nil {
		return err
	}
	return t.roundTripOn(ctx, t.on(), ways, consume...)
}

func (t *trial) roundTripOn(ctx context.Context, on []string, ways [][]string, consume ...string) error {
	sent, err := t.produceEach(ctx, on, ways)
	if err != nil {
		return err
	}
	return t.consume(ctx, on, sent, consume...)
}

// consume reads records of the trial's own in a group, and wants just so many.
func (t *trial) consume(ctx context.Context, on []string, want int, args ...string) error {
	return t.consumeOf(ctx, t.name, on, want, args...)
}

// consumeOf is consume for the records of another client.
func (t *trial) consumeOf(ctx context.Context, prefix string, on []string, want int, args ...string) error {
	a, err := t.run(ctx, "consume", slices.Concat(on, []string{
		"--group", t.name, "--count", fmt.Sprint(want), "--prefix", prefix,
	}, args)...)
	if err != nil {
		return err
	}
	if a.Distinct != want {
		return fmt.Errorf("consume %v: %d records of %d", args, a.Distinct, want)
	}
	if a.Duplicates > 0 {
		t.note("%d read twice", a.Duplicates)
	}
	return nil
}

// transactions commits some and aborts some; then it copies the committed records, with
// their offsets in the group, in transactions too.
func transactions(ctx context.Context, t *trial) error {
	if err := t.newTopic(ctx, 3, nil); err != nil {
		return err
	}
	on := append(t.on(), "--prefix", t.name)
	a, err := t.run(ctx, "transaction", append(on, "--count", "90")...)
	if err != nil {
		return err
	}
	if a.Acked == 0 || a.Acked == a.Sent {
		return fmt.Errorf("transactions: %d of %d committed; some of each were wanted", a.Acked, a.Sent)
	}
	return t.consume(ctx, t.on(), a.Acked, "--isolation", "committed")
}

// shareGroup reads in a group that locks records, not partitions.
func shareGroup(ctx context.Context, t *trial) error {
	if err := t.newTopic(ctx, 3, nil); err != nil {
		return err
	}
	sent, err := t.produceEach(ctx, t.on(), [][]string{nil})
	if err != nil {
		return err
	}
	return t.consume(ctx, t.on(), sent, "--members", "2", "--protocol", "share")
}

// admin goes through the life of a topic.
func admin(ctx context.Context, t *trial) error {
	a, err := t.run(ctx, "admin", append(t.on(), "--replication", strconv.Itoa(len(t.cluster.Brokers)))...)
	if err != nil {
		return err
	}
	for _, step := range slices.Sorted(maps.Keys(a.Details)) {
		if strings.HasPrefix(fmt.Sprint(a.Details[step]), "not offered") {
			t.note("%s: not offered", step)
		}
	}
	return nil
}

// sameDetails wants the two runs of admin to have the same details.
func sameDetails(direct, proxied *trial) error {
	d, p := direct.last().Details, proxied.last().Details
	kind := func(outcome any) string { k, _, _ := strings.Cut(fmt.Sprint(outcome), ":"); return k }
	for step, outcome := range p {
		if kind(outcome) != kind(d[step]) {
			return fmt.Errorf("%s: %v, directly %v", step, outcome, d[step])
		}
	}
	return nil
}

// bigRecords are 10 MB each, and fetched 60 MB at a time.
func bigRecords(ctx context.Context, t *trial) error {
	limit := fmt.Sprint(biggestRecord)
	if err := t.newTopic(ctx, 1, map[string]*string{"max.message.bytes": &limit}); err != nil {
		return err
	}
	const count = 8
	a, err := t.run(ctx, "produce", append(t.on(), "--count", fmt.Sprint(count), "--prefix", t.name, "--size", "10000000")...)
	if err != nil {
		return err
	}
	if a.Acked != count {
		return fmt.Errorf("%d of %d acknowledged", a.Acked, count)
	}
	return t.consume(ctx, t.on(), count, "--max-bytes", "60000000")
}

// login produces and consumes as a user.
func login(mechanism string, args ...string) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		if err := t.newTopic(ctx, 3, nil); err != nil {
			return err
		}
		return t.roundTripOn(ctx, append(t.onSASL(mechanism), args...), [][]string{nil})
	}
}

// wrongPassword must fail, and soon.
func wrongPassword(ctx context.Context, t *trial) error {
	if err := t.newTopic(ctx, 1, nil); err != nil {
		return err
	}
	on := t.onSASL("PLAIN")
	on[slices.Index(on, password)] = "wrong"
	a, err := t.run(ctx, "produce", append(on, "--count", "1", "--prefix", t.name, "--timeout", "15")...)
	switch {
	case err == nil:
		return errors.New("it was let in")
	case errors.As(err, new(notOfferedError)), a.Error == "":
		return err
	}
	return nil
}

// sameError wants the client to show the broker's own error through kproxy if it does so
// without.
func sameError(direct, proxied *trial) error {
	const words = "nvalid username or password"
	d, p := direct.last().Error, proxied.last().Error
	if strings.Contains(d, words) != strings.Contains(p, words) {
		return fmt.Errorf("the client says %q, directly %q", p, d)
	}
	return nil
}

// reauthentication works for three lifetimes of a login.
func reauthentication(ctx context.Context, t *trial) error {
	if err := t.newTopic(ctx, 1, nil); err != nil {
		return err
	}
	_, err := t.run(ctx, "session", append(t.onSASL("SCRAM-SHA-256"), "--group", t.name, "--prefix", t.name,
		"--duration", fmt.Sprint(3*reauthMillis/1000))...)
	return err
}

func tokens(ctx context.Context, t *trial) error {
	_, err := t.run(ctx, "token", t.onSASL("SCRAM-SHA-256")...)
	return err
}
