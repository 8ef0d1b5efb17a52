//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/lab"
)

// kcatLoad is a kcat that produces lines. It does not report acknowledgements: if it ends
// well, every line is acknowledged. The time is in the log (LogAppendTime).
type kcatLoad struct {
	run    *run
	prefix string
	log    *os.File // kcat's output

	stop  context.CancelFunc // of the lines; kcat ends when it owes nothing
	done  sync.WaitGroup
	since time.Time // pauses count from here
	sent  int       // lines; read these after done
	fails []string
	err   error // how kcat ended
}

// startKcat runs it until finish. The end of ctx kills it.
func (r *run) startKcat(ctx context.Context, seeds []string, prefix string, settings ...string) (*kcatLoad, error) {
	kcat, err := lab.Tool("kcat", "the librdkafka client (Debian: apt-get install kcat)")
	if err != nil {
		return nil, err
	}
	args := []string{"-P", "-b", r.servers(seeds), "-t", r.topic}
	for _, setting := range append([]string{"acks=all", "enable.idempotence=true"}, settings...) {
		args = append(args, "-X", setting)
	}
	cmd := r.fencedIn(lab.Command(ctx, kcat, args...))
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	says, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(r.dir, fmt.Sprintf("%s-%s-%s-kcat.log", r.topic, r.place, prefix)))
	if err != nil {
		return nil, err
	}
	if err := lab.Start(cmd); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	l := &kcatLoad{run: r, prefix: prefix, log: log, since: time.Now()}
	feeding, stop := context.WithCancel(ctx)
	l.stop = stop
	l.done.Go(func() { l.feed(feeding, in) })
	l.done.Go(func() { l.listen(cmd, says) })
	return l, nil
}

// feed ends with its context, and kcat's input with it.
func (l *kcatLoad) feed(ctx context.Context, in io.WriteCloser) {
	defer in.Close()
	tick := time.NewTicker(loadTick)
	defer tick.Stop()
	padding := strings.Repeat("s", smallSize)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for range burst {
			if _, err := fmt.Fprintln(in, l.name(l.sent+1), padding); err != nil {
				return
			}
			l.sent++
		}
	}
}

func (l *kcatLoad) name(i int) string { return fmt.Sprintf("k%s%07d", l.prefix, i) }

// listen ends with kcat.
func (l *kcatLoad) listen(cmd *exec.Cmd, says io.Reader) {
	for lines := bufio.NewScanner(io.TeeReader(says, l.log)); lines.Scan(); {
		if strings.Contains(lines.Text(), "Delivery failed") {
			l.fails = append(l.fails, lines.Text())
		}
	}
	l.err = cmd.Wait()
	_ = l.log.Close()
}

// flows waits until n more records are in the log.
func (l *kcatLoad) flows(ctx context.Context, n int) error {
	first := int64(-1)
	return lab.Poll(ctx, 90*time.Second, func() error {
		ends, err := l.run.cluster.Admin.ListEndOffsets(ctx, l.run.topic)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return err
		}
		total := int64(0)
		ends.Each(func(end kadm.ListedOffset) { total += end.Offset })
		if first < 0 {
			first = total
		}
		if total < first+int64(n) {
			return fmt.Errorf("%d more records in the log; want %d", total-first, n)
		}
		return nil
	})
}

func (l *kcatLoad) mark() { l.since = time.Now() }

// finish lets kcat deliver its records.
func (l *kcatLoad) finish(context.Context) {
	l.stop()
	l.done.Wait()
}

// outcome says which of the log's records since mark were acknowledged, and when.
func (l *kcatLoad) outcome(ctx context.Context) (delivered, error) {
	d := delivered{acked: map[string]bool{}, refused: map[string]int{}}
	for _, failure := range l.fails {
		d.refused[failure]++
	}
	if l.err != nil && len(l.fails) == 0 {
		return d, fmt.Errorf("kcat: %w", l.err)
	}
	for i := range l.sent {
		d.acked[l.name(i+1)] = true
	}
	var times []time.Time
	err := l.run.readWhole(ctx, l.run.topic, func(r *kgo.Record) {
		if !r.Timestamp.Before(l.since.Truncate(time.Millisecond)) {
			times = append(times, r.Timestamp)
		}
	})
	slices.SortFunc(times, time.Time.Compare)
	last := l.since
	for _, at := range times {
		d.pause, last = max(d.pause, at.Sub(last)), at
	}
	if len(times) > 0 {
		d.first = times[0]
	}
	return d, err
}
