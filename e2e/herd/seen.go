//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"kproxy/e2e/lab"
)

// The measurement of new connections while kproxy is looked at.
const (
	seenClients = 9000 // each is two of kproxy's descriptors
	seenCrowds  = 2    // processes that have them
	seenRounds  = 12   // how often it is measured, each way
	seenFor     = 4 * time.Second
	visitEach   = 10 * time.Millisecond
	comeAtOnce  = 64 // clients of a crowd that connect at one time
	pageEach    = 2 * time.Second
	scrapeEach  = time.Second
)

const (
	crowdRole  = "crowd"
	visitsRole = "visits"
	viewerRole = "viewer"
)

// crowdJob has a process keep clients that have asked once.
type crowdJob struct {
	Address string
	Clients int
}

// serveCrowd connects its clients, and keeps them until its input ends.
func serveCrowd(in *json.Decoder, out *json.Encoder) error {
	var job crowdJob
	if err := in.Decode(&job); err != nil {
		return err
	}
	conns := make([]net.Conn, job.Clients)
	var all errgroup.Group
	all.SetLimit(comeAtOnce)
	for i := range conns {
		all.Go(func() (err error) {
			conns[i], err = door{Address: job.Address}.visit(context.Background())
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	err := waitForEnd(in, out.Encode(struct{}{}))
	runtime.KeepAlive(conns) // a connection without a reference is closed
	return err
}

func waitForEnd(in *json.Decoder, err error) error {
	if err != nil {
		return err
	}
	if err := in.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// visitsJob has a process connect every visitEach, ask once, and leave.
type visitsJob struct {
	Address string
	For     time.Duration
}

// visits are the times from when a connect was due until its response was there.
type visits struct {
	N             int64
	P50, P99, Max int64 // microseconds
}

// serveVisits measures once for each command.
func serveVisits(in *json.Decoder, out *json.Encoder) error {
	for {
		var job visitsJob
		if err := in.Decode(&job); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		v, err := job.measure()
		if err == nil {
			err = out.Encode(v)
		}
		if err != nil {
			return err
		}
	}
}

// measure starts each visit when it is due, whether those before have ended or not.
func (job *visitsJob) measure() (visits, error) {
	var mu sync.Mutex
	times := hdrhistogram.New(lowest, highest, digits)
	var all errgroup.Group
	due := time.Now()
	for end := due.Add(job.For); due.Before(end); due = due.Add(visitEach) {
		nap := unix.NsecToTimespec(int64(max(0, time.Until(due))))
		_ = unix.Nanosleep(&nap, nil) // woken early, it is a little early
		wanted := due
		all.Go(func() error {
			conn, err := door{Address: job.Address}.visit(context.Background())
			if err != nil {
				return err
			}
			took := time.Since(wanted)
			reset(conn) // it leaves no port in TIME_WAIT
			mu.Lock()
			defer mu.Unlock()
			return times.RecordValue(max(lowest, took.Microseconds()))
		})
	}
	err := all.Wait()
	return visits{times.TotalCount(), times.ValueAtQuantile(50), times.ValueAtQuantile(99), times.Max()}, err
}

// viewerJob has a process look at an admin server, until its input ends: the status page as a browser
// has it open, and a scrape each second.
type viewerJob struct{ Admin string }

func serveViewer(in *json.Decoder, out *json.Encoder) error {
	var job viewerJob
	if err := in.Decode(&job); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	news := make(chan struct{}, 1)
	stream, err := followEvents(ctx, job.Admin, news)
	if err != nil {
		return err
	}
	var looking errgroup.Group
	looking.Go(func() error { return stream(ctx) })
	looking.Go(func() error { return lookEach(ctx, job.Admin, "/metrics", scrapeEach, nil) })
	looking.Go(func() error { return lookEach(ctx, job.Admin, "/", pageEach, news) })
	err = waitForEnd(in, out.Encode(struct{}{}))
	stop()
	return errors.Join(err, looking.Wait())
}

// followEvents opens the stream of events, as the page's script does. stream reads it until ctx ends.
func followEvents(ctx context.Context, admin string, news chan<- struct{}) (stream func(context.Context) error, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/api/v1/events", http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		defer resp.Body.Close()
		for in := bufio.NewReader(resp.Body); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				return unlessOver(ctx, fmt.Errorf("the stream of events: %w", err))
			}
			if strings.HasPrefix(line, "data:") {
				select {
				case news <- struct{}{}:
				default:
				}
			}
		}
	}, nil
}

// lookEach asks for a path after each span, or, if there are events, after each span with one.
func lookEach(ctx context.Context, admin, path string, each time.Duration, news <-chan struct{}) error {
	for ctx.Err() == nil {
		if _, err := lab.Get(ctx, admin, path); err != nil {
			return unlessOver(ctx, err)
		}
		pause(ctx, each)
		if news != nil {
			select {
			case <-news:
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// unlessOver returns err, unless ctx has ended, which causes it.
func unlessOver(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

// seenTable measures new connections among many, with and without a viewer, and past kproxy. It prints a table.
func (s *site) seenTable(ctx context.Context, out io.Writer) (err error) {
	k, err := s.startKproxy(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.proc.Stop(time.Minute)) }()
	s.say("%d clients connect", seenClients)
	for range seenCrowds {
		c, err := startChild(ctx, crowdRole)
		if err != nil {
			return err
		}
		defer func() { _ = c.close() }() // its connections end with it
		if err := c.ask(crowdJob{k.plain.Address, seenClients / seenCrowds}, &struct{}{}); err != nil {
			return fmt.Errorf("the clients do not connect: %w", err)
		}
	}
	before, err := k.settle(ctx, seenClients)
	if err != nil {
		return err
	}
	visitor, err := startChild(ctx, visitsRole)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, visitor.close()) }()
	fmt.Fprintf(out, "%d open connections, %d files, %d MiB resident; a new one each %v, %d times %v each way\n\n",
		before.Active, before.Files, before.RSS>>20, visitEach, seenRounds, seenFor)
	ways := []*way{
		{name: "past kproxy, to the broker", address: s.behind},
		{name: "not viewed", address: k.plain.Address},
		{name: "page open, a scrape each second", address: k.plain.Address, viewed: true},
	}
	for i := range seenRounds {
		for _, w := range ways {
			v, err := k.visit(ctx, visitor, w.address, w.viewed)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			w.rounds = append(w.rounds, v)
			s.say("%d/%d  %s: %+v", i+1, seenRounds, w.name, v)
		}
	}
	return printWays(out, ways)
}

// way is one way of a new connection.
type way struct {
	name, address string
	viewed        bool
	rounds        []visits
}

// printWays prints the median of the rounds, because each of them may meet other work of the machine.
func printWays(out io.Writer, ways []*way) error {
	fmt.Fprint(out, "| | connections | p50 ms | p99 ms | p99 of the turns | max ms |\n|---|--:|--:|--:|--:|--:|\n")
	of := func(w *way, f func(visits) int64) []int64 {
		var all []int64
		for _, v := range w.rounds {
			all = append(all, f(v))
		}
		slices.Sort(all)
		return all
	}
	ms := func(us int64) string { return fmt.Sprintf("%.2f", float64(us)/1e3) }
	for _, w := range ways {
		p99 := of(w, func(v visits) int64 { return v.P99 })
		last := len(p99) - 1
		fmt.Fprintf(out, "| %s | %d | %s | %s | %s to %s | %s |\n", w.name, w.rounds[0].N*int64(len(p99)),
			ms(of(w, func(v visits) int64 { return v.P50 })[last/2]), ms(p99[last/2]), ms(p99[0]), ms(p99[last]), ms(of(w, func(v visits) int64 { return v.Max })[last]))
	}
	viewed, not := ways[len(ways)-1], ways[len(ways)-2]
	var later []int64
	for i := range viewed.rounds {
		later = append(later, viewed.rounds[i].P99-not.rounds[i].P99)
	}
	slices.Sort(later)
	_, err := fmt.Fprintf(out, "\nThe page and the scrape delay the 99th percentile by %s ms (median of the turns; %s to %s).\n",
		ms(later[(len(later)-1)/2]), ms(later[0]), ms(later[len(later)-1]))
	return err
}

// visit measures once.
func (k *kproxy) visit(ctx context.Context, visitor *child, address string, viewed bool) (v visits, err error) {
	if viewed {
		viewer, err := startChild(ctx, viewerRole)
		if err != nil {
			return v, err
		}
		if err := viewer.ask(viewerJob{k.admin}, &struct{}{}); err != nil {
			return v, errors.Join(err, viewer.close())
		}
		defer func() { err = errors.Join(err, viewer.close()) }()
	}
	err = visitor.ask(visitsJob{address, seenFor}, &v)
	return v, err
}
