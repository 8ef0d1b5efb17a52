//go:build linux

// Package workload is a load whose history can be checked: producers of every guarantee,
// readers of every kind, and the final reads that package history asks for.
//
//	acks, idempotent ──────┐                 ┌──▶ reader-all        read_uncommitted
//	transactional          ├──▶ one topic ───┼──▶ reader-committed  read_committed
//	  (a third is aborted) │                 └──▶ member-1, member-2.n: a group that
//	java-idempotent ───────┤                       commits and rebalances
//	java-transactional ────┘                 └──▶ java-member: a group in the newer protocol
//
// Others read the groups' committed offsets.
//
// The way to the brokers is the caller's: Config.Client gives each client its seeds and
// its dialer. A test acts on brokers, kproxy and connections meanwhile.
//
//	load.go       the load: start, flow, stop
//	producers.go  the producers
//	readers.go    readers by assignment, and the final ones
//	group.go      the members of the group, and the readers of its commits
//	java.go       the same clients in Java, as one process
package workload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/history"
	"kproxy/e2e/lab"
)

// Config is the configuration of a load.
type Config struct {
	Recorder   *history.Recorder
	Topic      string // which is new, and keeps all records
	Partitions int32
	// Client returns the options of the client with this name: its seeds, dialer and log.
	Client func(name string) []kgo.Opt
	Rate   int // records a second, of each producer; 0: 100
	Size   int // bytes of a record; 0: 100
	// Churn is how long a second member stays in the group; 0: 2 s.
	Churn time.Duration
	// Tamper, if any, changes the records that a reader got before they are recorded, so
	// that a test can plant a fault.
	Tamper func(client string, records []*kgo.Record) []*kgo.Record
}

// Load is a running load.
type Load struct {
	Config
	group string

	producing, reading context.Context
	stopProducing      context.CancelFunc
	stopReading        context.CancelFunc
	producers, readers sync.WaitGroup

	mu     sync.Mutex // guards the following
	number int64
	acked  int
	high   map[int32]int64  // the highest offset that was acknowledged, and not aborted
	read   map[string]*seen // by reader; the group is one
	errs   []error
}

// seen is a reader's progress.
type seen struct {
	records int
	high    map[int32]int64
}

const groupReader = "the group"

// Start starts a load. The end of ctx ends it, and so does Stop, which must be called.
func Start(ctx context.Context, config Config) (*Load, error) {
	config.Rate, config.Size = cmp.Or(config.Rate, 100), cmp.Or(config.Size, 100)
	config.Churn = cmp.Or(config.Churn, 2*time.Second)
	l := &Load{Config: config, group: config.Topic + "-group", high: map[int32]int64{}, read: map[string]*seen{}}
	l.producing, l.stopProducing = context.WithCancel(ctx)
	l.reading, l.stopReading = context.WithCancel(ctx)
	for _, reader := range []string{readerAll, readerCommitted, groupReader} {
		l.read[reader] = &seen{high: map[int32]int64{}}
	}
	if err := errors.Join(l.startReaders(), l.startGroup(), l.startProducers()); err != nil {
		l.halt()
		return nil, err
	}
	return l, nil
}

// halt ends all clients.
func (l *Load) halt() {
	l.stopProducing()
	l.producers.Wait()
	l.stopReading()
	l.readers.Wait()
}

// Flows waits until n more records are acknowledged, and each reader has read n more.
func (l *Load) Flows(ctx context.Context, n int) error {
	before := l.progress()
	return lab.Poll(ctx, time.Minute, func() error {
		for name, count := range l.progress() {
			if got := count - before[name]; got < n {
				return fmt.Errorf("%s: got %d more records, want %d", name, got, n)
			}
		}
		return nil
	})
}

func (l *Load) progress() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := map[string]int{"acknowledged": l.acked}
	for name, s := range l.read {
		counts[name] = s.records
	}
	return counts
}

// Stop ends the producers when they owe nothing, or after a minute, and the readers when they
// have read all acknowledged records. It returns an error if a reader does not get there
// within a minute, or a client could not go on.
func (l *Load) Stop(ctx context.Context) error {
	l.stopProducing()
	l.producers.Wait()
	err := lab.Poll(ctx, time.Minute, l.lag)
	l.halt()
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(append(l.errs, err)...)
}

// lag is an error while a reader has not read all that was acknowledged.
func (l *Load) lag() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(l.read)) {
		for p, want := range l.high {
			if got, ok := l.read[name].high[p]; !ok || got < want {
				return fmt.Errorf("%s has read partition %d until offset %d, want %d", name, p, got, want)
			}
		}
	}
	return nil
}

// next is a number for a new record.
func (l *Load) next() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number++
	return l.number
}

// acknowledged takes in records that are in the log for certain.
func (l *Load) acknowledged(records ...*kgo.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range records {
		l.acked++
		l.high[r.Partition] = max(l.high[r.Partition], r.Offset)
	}
}

// has takes in records that a reader has read.
func (l *Load) has(reader string, records []*kgo.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.read[reader]
	for _, r := range records {
		s.records++
		s.high[r.Partition] = max(s.high[r.Partition], r.Offset)
	}
}

// broken takes in an error after which a client cannot go on.
func (l *Load) broken(client string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, fmt.Errorf("%s: %w", client, err))
}

// client is a franz-go client with a name.
func (l *Load) client(name string, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(slices.Concat([]kgo.Opt{
		kgo.ClientID(name), kgo.MetadataMinAge(250 * time.Millisecond), kgo.FetchMaxWait(500 * time.Millisecond),
	}, l.Client(name), opts)...)
}
