//go:build e2e

package e2e

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// reader is a franz-go consumer that counts its records.
type reader struct {
	t      *testing.T
	client *kgo.Client
	own    *seen                                           // the records that it has read
	all    *seen                                           // the records that it and others have read
	polled func(context.Context, *kgo.Client, kgo.Fetches) // called after each poll; may be nil

	done   sync.WaitGroup
	cancel context.CancelFunc
}

// startReader reads through l until the test or Leave ends it. Its records are
// counted in all, too.
func startReader(t *testing.T, l listener, all *seen, opts ...kgo.Opt) *reader {
	t.Helper()
	return startReaderThat(t, nil, l, all, opts...)
}

// startReaderThat starts a reader that calls polled after each poll.
func startReaderThat(t *testing.T, polled func(context.Context, *kgo.Client, kgo.Fetches), l listener,
	all *seen, opts ...kgo.Opt,
) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &reader{
		t: t,
		client: newClient(t, l, append([]kgo.Opt{
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			// A drain delivers the response to a long poll even if no client waits for
			// it, so each test ends as late as its last poll.
			kgo.FetchMaxWait(500 * time.Millisecond),
		}, opts...)...),
		own:    newSeen(l.Name),
		all:    all,
		polled: polled,
		cancel: cancel,
	}
	r.done.Go(func() { r.read(ctx) })
	t.Cleanup(r.halt)
	return r
}

// read ends with its context.
func (r *reader) read(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := r.client.PollFetches(ctx)
		fetches.EachError(func(topic string, partition int32, err error) {
			if !isPassing(err) && ctx.Err() == nil {
				r.t.Errorf("consume %s/%d: %v", topic, partition, err)
			}
		})
		fetches.EachRecord(func(rec *kgo.Record) {
			r.own.Add(string(rec.Value))
			r.all.Add(string(rec.Value))
		})
		if r.polled != nil {
			r.polled(ctx, r.client, fetches)
		}
	}
}

// isPassing reports whether franz-go reports an error and retries by itself. It reports a
// connection that ends in order before its first response, as on relearn and in a drain;
// it does not report one that cannot be dialled, or is reset.
func isPassing(err error) bool {
	_, down := errors.AsType[*kgo.ErrFirstReadEOF](err)
	_, coordinatorDown := errors.AsType[*kgo.ErrGroupSession](err)
	return down || coordinatorDown
}

func (r *reader) halt() {
	r.cancel()
	r.done.Wait()
}

// Leave ends the reader as a clean shutdown does: it leaves its group.
func (r *reader) Leave() {
	r.halt()
	r.client.CloseAllowingRebalance()
}

// ReadMore waits until r has read n more records.
func (r *reader) ReadMore(t *testing.T, n int) {
	t.Helper()
	r.own.WaitFor(t, 30*time.Second, r.own.Distinct()+n)
}
