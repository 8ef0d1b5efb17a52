//go:build e2e && linux

package kubernetes

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/history"
	"kproxy/e2e/lab"
)

const (
	crowdSize  = 500
	crowdTopic = "crowd"
	// crowdEach is the time between an acknowledgement and the next record of a client.
	crowdEach = time.Second
)

// crowd are many clients over TLS. Each has a partition of its own. It sends a record, waits for the
// acknowledgement, and so on, and reads the partition meanwhile.
type crowd struct {
	recorder   *history.Recorder
	tls        *tls.Config
	advertised *regexp.Regexp // the only addresses that are dialled
	members    []*member

	waiting                          context.Context // for acknowledgements
	stopSending, giveUp, stopReading context.CancelFunc
	sending, reading                 sync.WaitGroup

	mu         sync.Mutex // guards the following
	number     int64
	handshakes []time.Duration
	strange    []string
	phase      string
	failures   map[string][]error // by phase
}

// member is a client of a crowd.
type member struct {
	crowd     *crowd
	name      string
	partition int32
	client    *kgo.Client

	mu    sync.Mutex              // guards the following
	sent  map[int64]time.Duration // by number, until the record is read
	acked int64                   // offset of the last acknowledged record
	read  int64                   // offset of the last record that was read
	waits []wait                  // for acknowledgements
	lags  []wait                  // from sending to reading
}

// wait is a record's: when it was sent, and how long it took.
type wait struct{ from, took time.Duration }

// startCrowd starts the clients, which end with the test.
func startCrowd(t *testing.T, config *tls.Config) *crowd {
	t.Helper()
	c := &crowd{recorder: history.NewRecorder(1 << 23), tls: config, advertised: advertised(publicName), failures: map[string][]error{}}
	sending, stopSending := context.WithCancel(t.Context())
	reading, stopReading := context.WithCancel(t.Context())
	c.waiting, c.giveUp = context.WithCancel(t.Context())
	c.stopSending, c.stopReading = stopSending, stopReading
	t.Cleanup(c.halt)
	for i := range crowdSize {
		m := &member{crowd: c, name: fmt.Sprintf("client-%d", i), partition: int32(i), sent: map[int64]time.Duration{}, acked: -1, read: -1}
		if err := m.connect(); err != nil {
			t.Fatal(err)
		}
		c.members = append(c.members, m)
	}
	for i, m := range c.members {
		c.sending.Go(func() { m.send(sending, crowdEach*time.Duration(i)/crowdSize) })
		c.reading.Go(func() { m.poll(reading) })
	}
	return c
}

// stop ends the sending. A record that has no acknowledgement after a minute is given up.
func (c *crowd) stop() {
	c.stopSending()
	late := time.AfterFunc(time.Minute, c.giveUp)
	defer late.Stop()
	c.sending.Wait()
}

// halt ends all clients.
func (c *crowd) halt() {
	c.stop()
	c.giveUp()
	c.stopReading()
	c.reading.Wait()
	for _, m := range c.members {
		m.client.Close()
	}
}

// advertised matches the addresses that a kproxy with this name advertises.
func advertised(name string) *regexp.Regexp {
	return regexp.MustCompile(`^(b\d+\.)?` + regexp.QuoteMeta(name) + `:443$`)
}

// dial does the TLS handshake with an advertised name, and remembers other addresses.
func (c *crowd) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !c.advertised.MatchString(address) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.strange = append(c.strange, address)
		return nil, errors.New("not an address of kproxy: " + address)
	}
	dialer := &tls.Dialer{Config: c.tls, NetDialer: &net.Dialer{Timeout: 10 * time.Second, Resolver: &net.Resolver{PreferGo: true, Dial: toNameServer}}}
	conn, err := dialer.DialContext(ctx, network, address)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.handshakes = append(c.handshakes, c.recorder.Now())
	}
	return conn, err
}

// toNameServer connects to dnsmasq.
func toNameServer(ctx context.Context, network, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, node+":53")
}

func (c *crowd) client(name string, opts ...kgo.Opt) (*kgo.Client, error) {
	c.recorder.Add(history.Event{Type: history.Join, Client: name, Guarantee: history.Idempotent})
	return kgo.NewClient(append(opts, kgo.ClientID(name), kgo.SeedBrokers(publicName+":443"), kgo.Dialer(c.dial), kgo.MetadataMinAge(250*time.Millisecond))...)
}

func (m *member) connect() (err error) {
	m.client, err = m.crowd.client(m.name, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{crowdTopic: {m.partition: kgo.NewOffset().At(0)}}))
	m.crowd.recorder.Add(history.Event{Type: history.Seek, Client: m.name, Partition: m.partition})
	return err
}

// send sends one record after the other.
func (m *member) send(ctx context.Context, first time.Duration) {
	next := time.NewTimer(first)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		m.produce()
		next.Reset(crowdEach)
	}
}

func (m *member) produce() {
	c := m.crowd
	c.mu.Lock()
	c.number++
	number := c.number
	c.mu.Unlock()
	r := &kgo.Record{Topic: crowdTopic, Partition: m.partition, Value: history.Value(number, 100)}
	c.recorder.Add(history.Event{Type: history.Send, Client: m.name, Number: number, Partition: r.Partition, Sum: history.Sum(r.Value)})
	from := c.recorder.Now()
	m.mu.Lock()
	m.sent[number] = from
	m.mu.Unlock()
	err := m.client.ProduceSync(c.waiting, r).FirstErr()
	e := history.Event{Type: history.Sent, Client: m.name, Number: number, Outcome: history.OK, Partition: r.Partition, Offset: r.Offset}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waits = append(m.waits, wait{from, c.recorder.Now() - from})
	if err == nil {
		m.acked = r.Offset
	} else {
		e.Outcome, e.Partition, e.Offset, e.Error = history.Unknown, 0, 0, err.Error()
		c.failed(fmt.Errorf("%s: %w", m.name, err))
	}
	c.recorder.Add(e)
}

// failed takes in the error of a record.
func (c *crowd) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures[c.phase] = append(c.failures[c.phase], err)
}

// poll reads the partition.
func (m *member) poll(ctx context.Context) {
	for ctx.Err() == nil {
		m.client.PollFetches(ctx).EachPartition(func(p kgo.FetchTopicPartition) {
			e := polled(m.name, p)
			if len(e.Offsets) == 0 {
				return
			}
			m.crowd.recorder.Add(e)
			now := m.crowd.recorder.Now()
			m.mu.Lock()
			defer m.mu.Unlock()
			m.read = e.Offsets[len(e.Offsets)-1]
			for _, number := range e.Numbers {
				m.lags = append(m.lags, wait{m.sent[number], now - m.sent[number]})
				delete(m.sent, number)
			}
		})
	}
}

// polled is the event of a poll.
func polled(name string, p kgo.FetchTopicPartition) history.Event {
	e := history.Event{Type: history.Poll, Client: name, Partition: p.Partition}
	for _, r := range p.Records {
		e.Offsets = append(e.Offsets, r.Offset)
		e.Numbers = append(e.Numbers, history.NumberOf(r.Value))
		e.Sums = append(e.Sums, history.Sum(r.Value))
	}
	return e
}

// flows waits until each client has sent and read n more records.
func (c *crowd) flows(ctx context.Context, n int) error {
	began := c.recorder.Now()
	return lab.Poll(ctx, 2*time.Minute, func() error {
		for _, m := range c.members {
			m.mu.Lock()
			sent, read := since(m.waits, began), since(m.lags, began)
			m.mu.Unlock()
			if sent < n || read < n {
				return fmt.Errorf("%s has sent %d and read %d records, want %d", m.name, sent, read, n)
			}
		}
		return nil
	})
}

// since is the number of records that were sent after a time.
func since(waits []wait, began time.Duration) int {
	n := 0
	for i := len(waits) - 1; i >= 0 && waits[i].from > began; i-- {
		n++
	}
	return n
}

// check ends the load, reads all partitions once more, and judges the history.
func (c *crowd) check(t *testing.T) {
	t.Helper()
	c.stop()
	if err := lab.Poll(t.Context(), time.Minute, c.lag); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.final(ctx); err != nil {
		t.Error(err)
	}
	c.halt()
	c.judge(t, crowdSize)
	for phase, errs := range c.failures {
		t.Logf("%s: %d records were not acknowledged: %v", phase, len(errs), errs[0])
		if phase != phaseKill {
			t.Errorf("%s: records were not acknowledged", phase)
		}
	}
}

// judge gives the history to the checker.
func (c *crowd) judge(t *testing.T, least int) {
	t.Helper()
	report := history.Check(c.recorder.History())
	t.Log("\n" + report.String())
	if len(report.Findings) > 0 || report.Counts.Acked < least {
		t.Errorf("%d findings, %d records are acknowledged", len(report.Findings), report.Counts.Acked)
	}
	if len(c.strange) > 0 {
		t.Errorf("clients got %q", slices.Compact(slices.Sorted(slices.Values(c.strange))))
	}
}

// lag is an error while a client has not read all of its records.
func (c *crowd) lag() error {
	for _, m := range c.members {
		m.mu.Lock()
		acked, read := m.acked, m.read
		m.mu.Unlock()
		if read < acked {
			return fmt.Errorf("%s has read until offset %d, want %d", m.name, read, acked)
		}
	}
	return nil
}

// final reads all partitions from their beginnings to their ends, by another client.
func (c *crowd) final(ctx context.Context) error {
	const name = "final"
	from := map[int32]kgo.Offset{}
	for p := range int32(crowdSize) {
		from[p] = kgo.NewOffset().At(0)
		c.recorder.Add(history.Event{Type: history.Seek, Client: name, Partition: p})
	}
	client, err := c.client(name, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{crowdTopic: from}))
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, crowdTopic)
	if err = errors.Join(err, ends.Error()); err != nil {
		return err
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) { left[o.Partition] = o.Offset })
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("%d partitions were not read to their ends: %w", len(left), context.Cause(ctx))
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			e := polled(name, p)
			if len(e.Offsets) == 0 {
				return
			}
			c.recorder.Add(e)
			if end, ok := left[p.Partition]; ok && e.Offsets[len(e.Offsets)-1]+1 >= end {
				delete(left, p.Partition)
				c.recorder.Add(history.Event{Type: history.Final, Client: name, Partition: p.Partition, Offset: end})
			}
		})
	}
	return nil
}
