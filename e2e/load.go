//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// loadTick is how often a load writes a few records, or one, if it has that many.
const loadTick = 10 * time.Millisecond

// load is a franz-go producer that writes numbered records until it is stopped,
// idempotent and with acks=all which are franz-go's defaults. A test acts on the
// cluster meanwhile.
type load struct {
	t      *testing.T
	client *kgo.Client
	prefix string
	size   int // bytes of padding in each record
	tick   time.Duration
	burst  int // records in each tick

	stop     chan struct{}
	stopOnce sync.Once
	done     sync.WaitGroup
	sent     []string // the values of all records; read it after Stop

	mu    sync.Mutex      // guards waits
	waits []time.Duration // from each record's sending to its acknowledgement
}

// startLoad writes perSecond records of about size bytes each, through l.
func startLoad(t *testing.T, l listener, topic, prefix string, perSecond, size int, opts ...kgo.Opt) *load {
	t.Helper()
	p := &load{
		t: t,
		// franz-go's default keeps one partition for 64 KiB: minutes of small records.
		client: newClient(t, l, append([]kgo.Opt{
			kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		}, opts...)...),
		prefix: prefix,
		size:   size,
		tick:   max(loadTick, time.Second/time.Duration(perSecond)),
		burst:  max(1, perSecond/int(time.Second/loadTick)),
		stop:   make(chan struct{}),
	}
	p.done.Go(p.write)
	t.Cleanup(p.halt)
	return p
}

// write ends with Stop or with the test.
func (p *load) write() {
	tick := time.NewTicker(p.tick)
	defer tick.Stop()
	padding := strings.Repeat("x", p.size)
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		for range p.burst {
			id := fmt.Sprintf("%s-%06d", p.prefix, len(p.sent))
			p.sent = append(p.sent, id)
			// Not the test's context: a record that was written counts, so
			// only its delivery or its failure may end it.
			began := time.Now()
			p.client.Produce(context.Background(), kgo.StringRecord(id+" "+padding), func(r *kgo.Record, err error) {
				p.acknowledged(r, err, time.Since(began))
			})
		}
	}
}

func (p *load) acknowledged(r *kgo.Record, err error, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits = append(p.waits, wait)
	if err != nil && p.t.Context().Err() == nil {
		p.t.Errorf("produce %.20s to %s/%d: %v", r.Value, r.Topic, r.Partition, err)
	}
}

func (p *load) halt() {
	p.stopOnce.Do(func() { close(p.stop) })
	p.done.Wait()
}

// Stop waits until every record was acknowledged and returns their names. A
// record that was refused has failed the test.
func (p *load) Stop(t *testing.T) []string {
	t.Helper()
	p.halt()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.client.Flush(ctx); err != nil {
		t.Fatalf("flush %d records: %v", len(p.sent), err)
	}
	return p.sent
}
