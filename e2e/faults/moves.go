//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"kproxy/e2e/lab"
)

const (
	seats     = 5  // three for the brokers that are always there, two for those that move
	mostNodes = 20 // ids that a campaign uses, with those of brokers that replace others

	mechanism = "SCRAM-SHA-512"
	username  = "frank"
	password  = "never-gonna-let-you-down"
)

const javaLogin = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=" + mechanism + "\n" +
	"sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\"" + username + "\" password=\"" + password + "\";\n"

// movement is a fault in which brokers move. Its client is one producer, and nothing else
// uses kproxy, unless group is set.
type movement struct {
	client   client
	login    login
	replaced bool // not swapped
	group    bool // a member of a group reads, too
	idle     bool // the client is stopped meanwhile
	restart  bool // kproxy, too
}

type client string

const (
	franz client = "franz-go"
	java  client = "Java"
	kcat  client = "kcat"
)

// login is the source of the login at the brokers.
type login string

const (
	noLogin  login = ""
	byKproxy login = "kproxy"
	byClient login = "client"
)

func (m *movement) name() string {
	name := "brokers swapped"
	if m.replaced {
		name = "broker replaced"
	}
	switch {
	case m.restart:
		name += " while kproxy is down"
	case m.idle:
		name += " while no client runs"
	}
	if name += ": " + string(m.client); m.group {
		name += " with a group"
	}
	switch m.login {
	case byKproxy:
		name += ": `sasl`"
	case byClient:
		name += ": client's login"
	case noLogin:
	}
	return name
}

func (m *movement) done() string {
	done := "two brokers, which lead all partitions, are stopped, swap their addresses, and are started; then they lead again"
	if m.replaced {
		done = "one of the two brokers that lead all partitions is stopped for good; one with a new id starts at its address, gets its partitions, and leads"
	}
	switch {
	case m.restart:
		done += ". Meanwhile neither the client nor kproxy runs; kproxy has its state file"
	case m.idle:
		done += ". Meanwhile the client does not run; kproxy does"
	}
	return done
}

// asDirect is equal for movements that do not differ without kproxy.
func (m *movement) asDirect() string {
	return fmt.Sprint(m.client, m.login == byClient, m.replaced, m.group, m.idle)
}

// clientPort is the port of the listener that the client uses without kproxy.
func (m *movement) clientPort() int {
	if m.login == byClient {
		return saslPort
	}
	return port
}

func (m *movement) setup() setup {
	how := setup{Seeds: firstSeats(seats, port), Nodes: mostNodes, LogsIn: m.login == byKproxy}
	if m.login != noLogin {
		how.Seeds = firstSeats(seats, saslPort)
	}
	return how
}

// movements are the faults in which brokers move.
func movements() []fault {
	var all []fault
	for _, m := range []movement{
		{client: franz, group: true},
		{client: java},
		{client: kcat},
		{client: franz, login: byKproxy, group: true},
		{client: franz, login: byClient},
		{client: java, login: byClient},
		{client: kcat, login: byClient},
		{client: franz, idle: true, login: byClient},
		{client: java, idle: true, login: byKproxy},
		{client: franz, idle: true, restart: true, login: byClient},
		{client: kcat, idle: true, restart: true},
		{client: franz, replaced: true},
		{client: java, replaced: true, login: byKproxy},
		{client: kcat, replaced: true, login: byClient},
		{client: java, replaced: true, idle: true, restart: true, login: byClient},
	} {
		all = append(all, fault{Name: m.name(), Done: m.done(), Moves: &m})
	}
	return all
}

// moves is the run of a movement.
func (r *run) moves(ctx context.Context, m *movement, g *gate) (*outcome, error) {
	running, cancel := context.WithCancel(ctx)
	defer cancel() // kills the processes that still run
	if r.kproxy != nil && m.client != franz {
		if err := r.fence(); err != nil {
			return nil, err
		}
		defer func() { _ = r.near.Run("nft", "delete table inet faults") }()
	}
	if err := r.leadByPair(ctx); err != nil {
		return nil, err
	}
	o := &outcome{FromStart: m.idle, Refused: map[string]int{}}
	acked := map[string]bool{}
	around := r.aroundBusy
	if m.idle {
		around = r.aroundIdle
	}
	if err := around(ctx, running, m, g, o, acked); err != nil {
		return nil, err
	}
	o.Acked = len(acked)
	if err := r.tally(ctx, o, acked); err != nil {
		return nil, err
	}
	o.Others = g.others
	if m.client == franz {
		if err := r.lookAtCopies(ctx); err != nil {
			r.fail("%v", err)
		}
	} else if r.kproxy != nil {
		if err := r.countFenced(o); err != nil {
			return nil, err
		}
	}
	o.Notes, o.Wrong = r.notes, r.wrong
	return o, nil
}

// aroundBusy moves the brokers while the client produces.
func (r *run) aroundBusy(ctx, running context.Context, m *movement, g *gate, o *outcome, acked map[string]bool) error {
	s, err := r.startSender(running, m, g, "1")
	if err != nil {
		return err
	}
	if err := s.flows(ctx, warm); err != nil {
		return fmt.Errorf("before the fault: %w", err)
	}
	s.mark()
	if err := r.moveBrokers(ctx, m); err != nil {
		return err
	}
	if err := s.flows(ctx, 2*warm); err != nil {
		r.fail("records do not flow again: %v", err)
	}
	d, err := r.end(ctx, s, o, acked)
	o.Pause = d.pause
	return err
}

// aroundIdle moves the brokers while no client runs.
func (r *run) aroundIdle(ctx, running context.Context, m *movement, g *gate, o *outcome, acked map[string]bool) error {
	before, err := r.startSender(running, m, g, "1")
	if err != nil {
		return err
	}
	if err := before.flows(ctx, warm); err != nil {
		return fmt.Errorf("before the fault: %w", err)
	}
	if _, err := r.end(ctx, before, o, acked); err != nil {
		return err
	}
	down := m.restart && r.kproxy != nil
	if down {
		if err := r.kproxy.Stop(); err != nil {
			return err
		}
	}
	if err := r.moveBrokers(ctx, m); err != nil {
		return err
	}
	if down {
		if err := errors.Join(r.kproxy.Start(ctx), r.kproxy.says("brokers remembered")); err != nil {
			return err
		}
	}
	began := time.Now()
	after, err := r.startSender(running, m, g, "2")
	if err != nil {
		return err
	}
	if err := after.flows(ctx, warm); err != nil {
		r.fail("records do not flow again: %v", err)
	}
	d, err := r.end(ctx, after, o, acked)
	if d.first.IsZero() {
		r.fail("no record was acknowledged")
		return err
	}
	o.Pause = d.first.Sub(began)
	return err
}

// end ends a sender and adds its result.
func (r *run) end(ctx context.Context, s sender, o *outcome, acked map[string]bool) (delivered, error) {
	s.finish(ctx)
	d, err := s.outcome(ctx)
	for name := range d.acked {
		acked[name] = true
	}
	for refusal, n := range d.refused {
		o.Refused[refusal] += n
	}
	if l, ok := s.(franzSender); ok && l.consumer != nil {
		_, o.Read = l.counts()
		o.ReadPause, o.Unread = l.readTimes.gap(), l.unread()
	}
	if l, ok := s.(franzSender); ok {
		l.Close()
	}
	return d, err
}

// grow adds the two brokers that move, and the user. The groups' topic is made before, so
// that it stays with the brokers that are always there.
func (s *site) grow(ctx context.Context) error {
	if s.pair[0] != 0 {
		return nil
	}
	if err := lab.Poll(ctx, time.Minute, func() error {
		return s.cluster.Admin.FindGroupCoordinators(ctx, "any")["any"].Err
	}); err != nil {
		return err
	}
	altered, err := s.cluster.Admin.AlterUserSCRAMs(ctx, nil,
		[]kadm.UpsertSCRAM{{User: username, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password}})
	if err == nil {
		err = altered.Error()
	}
	if err != nil {
		return err
	}
	for i := range s.pair {
		b, err := s.cluster.Grow(ctx)
		if err != nil {
			return err
		}
		s.pair[i] = b.ID
	}
	return nil
}

// leadByPair makes the brokers that move lead the run's topic, and waits until they do.
// Without these two there are still enough replicas for acks=all.
func (r *run) leadByPair(ctx context.Context) error {
	a, b := r.pair[0], r.pair[1]
	replicas := map[int32][]int32{}
	for p := range int32(partitions) {
		if replicas[p] = []int32{a, b, 1, 2}; p%2 == 1 {
			replicas[p] = []int32{b, a, 2, 1}
		}
	}
	return errors.Join(r.cluster.LeadBy(ctx, r.topic, replicas), r.cluster.WaitWhole(ctx))
}

// moveBrokers moves the brokers.
func (r *run) moveBrokers(ctx context.Context, m *movement) error {
	move := r.swap
	if m.replaced {
		move = r.replace
	}
	began := time.Now()
	if err := move(ctx); err != nil {
		return err
	}
	err := r.leadByPair(ctx)
	r.progress("the brokers have moved, in %s", seconds(time.Since(began)))
	return err
}

// swap exchanges the seats of the two brokers.
func (r *run) swap(ctx context.Context) error {
	both := []*lab.Broker{r.cluster.Broker(r.pair[0]), r.cluster.Broker(r.pair[1])}
	errs := make([]error, len(both))
	var stopping sync.WaitGroup
	for i, b := range both {
		stopping.Go(func() { errs[i] = b.Stop() })
	}
	stopping.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	a, b := int(r.pair[0]), int(r.pair[1])
	r.seat[a], r.seat[b] = r.seatOf(b), r.seatOf(a)
	for _, b := range both {
		if err := errors.Join(b.Configure(), b.Start()); err != nil {
			return err
		}
	}
	return r.cluster.WaitWhole(ctx)
}

// replace puts a new broker at the seat of one of the two.
func (r *run) replace(ctx context.Context) error {
	old := r.pair[1]
	r.seat[r.cluster.Next()] = r.seatOf(int(old))
	b, err := r.cluster.Replace(ctx, r.cluster.Broker(old))
	if err != nil {
		return err
	}
	r.pair[1] = b.ID
	return nil
}
