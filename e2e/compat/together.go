//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kproxy/e2e/lab"
)

// followerFetching makes each client with a rack read from the replica in that rack, and
// counts the bytes that each broker sends, because a client which reads from the leader
// would get the same records. Nothing else runs meanwhile.
func followerFetching(ctx context.Context, r *releaseRun) error {
	const (
		leader, replica = 1, 2
		count, size     = 200, 10_000
		topic           = "follower-fetching"
	)
	if err := r.fill(ctx, topic, 1, count, size); err != nil {
		return err
	}
	if err := r.cluster.Lead(ctx, []int32{leader, replica, 3}, topic); err != nil {
		return err
	}
	if err := r.places.countBrokers(); err != nil {
		return err
	}
	defer r.places.forgetBrokers()
	near := func(t *trial) (bool, error) {
		before, err := r.places.brokerBytes(ctx)
		if err != nil {
			return false, err
		}
		if err := t.readAll(ctx, topic, count, "--rack", rack(replica)); err != nil {
			return false, err
		}
		after, err := r.places.brokerBytes(ctx)
		return after[replica]-before[replica] >= count*size && after[leader]-before[leader] < count*size/2, err
	}
	var errs []error
	for _, c := range r.clients {
		direct, proxied := r.trials(&cell{client: c, work: &work{name: "near"}})
		directly, err := near(direct)
		if errors.As(err, new(notOfferedError)) {
			continue
		}
		through, throughErr := near(proxied)
		if directly && !through {
			errs = append(errs, fmt.Errorf("%s reads from the near replica directly, and not through kproxy", c.name))
		}
		errs = append(errs, err, throughErr)
		r.note("%s: near replica %s directly, %s through kproxy", c.name, readOrNot[directly], readOrNot[through])
	}
	_, gone := r.cluster.Admin.DeleteTopics(ctx, topic)
	return errors.Join(append(errs, gone)...)
}

var readOrNot = map[bool]string{true: "read", false: "not read"}

// longNames has every client read responses that are larger than kproxy holds, while leaders
// move twice a second in bursts, by a listener whose name is longer than the brokers' own: the leader
// hints at the end of a response are then removed (KIP-951).
func longNames(ctx context.Context, r *releaseRun) error {
	const (
		partitions, count, size = 6, 3000, 10_000
		rounds                  = 3
		topic                   = "long-names"
	)
	if err := r.fill(ctx, topic, partitions, count, size); err != nil {
		return err
	}
	before, err := r.places.hints(ctx)
	if err != nil {
		return err
	}
	moving, stop := context.WithCancel(ctx)
	moved := make(chan error, 1)
	go func() { moved <- r.moveFast(moving, topic, partitions) }()

	var wg sync.WaitGroup
	errs := make([]error, len(r.clients))
	for i, c := range r.clients {
		wg.Go(func() {
			for round := range rounds {
				direct, proxied := r.trials(&cell{client: c, work: &work{name: fmt.Sprint("long names ", round)}})
				proxied.plain = aliceLong
				var both sync.WaitGroup
				var directly, through error
				both.Go(func() { directly = direct.readAll(ctx, topic, count) })
				both.Go(func() { through = proxied.readAll(ctx, topic, count) })
				both.Wait()
				if through != nil && directly == nil {
					errs[i] = errors.Join(errs[i], fmt.Errorf("%s: %w", proxied.name, through))
				}
			}
		})
	}
	wg.Wait()
	stop()
	if err := <-moved; err != nil {
		errs = append(errs, err)
	}
	after, err := r.places.hints(ctx)
	for _, kind := range []string{"rewritten", "neutralised"} {
		r.note("%d leader hints %s", after[kind]-before[kind], kind)
	}
	_, gone := r.cluster.Admin.DeleteTopics(ctx, topic)
	return errors.Join(append(errs, err, gone)...)
}

// readAll reads a topic that others read too.
func (t *trial) readAll(ctx context.Context, topic string, count int, args ...string) error {
	return t.consumeOf(ctx, topic, []string{"--bootstrap", t.plain, "--topic", topic}, count, append(args, "--timeout", "150")...)
}

// moveFast moves half of a topic's leaders twice a second until ctx ends, with a rest of ten
// seconds after each twenty: aiokafka asks the leader of up to a second ago for offsets, and would
// need luck without the rest.
func (r *releaseRun) moveFast(ctx context.Context, topic string, partitions int32) error {
	const period, burst, whole = 500 * time.Millisecond, 40, 60
	tick := time.NewTicker(period)
	defer tick.Stop()
	for n := int32(0); ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if n%whole >= burst {
			continue
		}
		order := make(map[int32][]int32)
		for p := n % 2; p < partitions; p += 2 {
			first := n/2 + p
			order[p] = []int32{1 + first%clusterSize, 1 + (first+1)%clusterSize, 1 + (first+2)%clusterSize}
		}
		if _, err := r.cluster.Assign(ctx, topic, order); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// fill makes a topic with records whose prefix is its name.
func (r *releaseRun) fill(ctx context.Context, topic string, partitions int32, count, size int) error {
	writer := &trial{
		client: r.build.goClient("franz"), place: r.places.vpc, version: r.cluster.Release.Version, cluster: r.cluster,
		plain: lab.HostPort(brokerName(1), plainPort), name: topic,
	}
	if err := writer.newTopic(ctx, partitions, nil); err != nil {
		return err
	}
	a, err := writer.run(ctx, "produce", append(writer.on(), "--prefix", topic, "--count", fmt.Sprint(count), "--size", fmt.Sprint(size))...)
	if err == nil && a.Acked != count {
		err = fmt.Errorf("%d of %d acknowledged", a.Acked, count)
	}
	return err
}

func brokerCounter(id int) string { return fmt.Sprintf("broker-%d", id) }

// countBrokers counts the bytes that each broker sends to clients.
func (p *places) countBrokers() error {
	errs := []error{
		p.vpc.Run("nft", "add table inet followers"),
		p.vpc.Run("nft", "add chain inet followers out { type filter hook output priority 0; }"),
	}
	for id := 1; id <= clusterSize; id++ {
		errs = append(errs,
			p.vpc.Run("nft", "add counter inet followers "+brokerCounter(id)),
			p.vpc.Run("nft", fmt.Sprintf("add rule inet followers out ip saddr %s tcp sport { %d, %d } counter name %s",
				brokerAddress(id), plainPort, tapPort, brokerCounter(id))))
	}
	return errors.Join(errs...)
}

// forgetBrokers ends the counting.
func (p *places) forgetBrokers() { _ = p.vpc.Run("nft", "delete table inet followers") }

// brokerBytes are the bytes that each broker has sent.
func (p *places) brokerBytes(ctx context.Context) (map[int]int, error) {
	sent := make(map[int]int)
	for id := 1; id <= clusterSize; id++ {
		c, err := counter(ctx, p.vpc, "followers", brokerCounter(id))
		if err != nil {
			return nil, err
		}
		sent[id] = c.Bytes
	}
	return sent, nil
}

// hints is how many leader hints kproxy has seen in the responses to Fetch, by outcome.
func (p *places) hints(ctx context.Context) (map[string]int, error) {
	metrics, err := p.vpc.Get(ctx, adminAddress, "/metrics")
	if err != nil {
		return nil, err
	}
	return lab.Counts(metrics, "kproxy_addresses_total", "kind", map[string]string{"api": "Fetch"})
}
