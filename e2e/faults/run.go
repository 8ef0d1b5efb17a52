//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"kproxy/e2e/lab"
)

// place is the place of kproxy in a run.
type place string

const (
	direct place = "direct"
	near   place = "near" // the clients
	far    place = "far"  // near the brokers
)

const (
	partitions = 6
	warm       = 300 // records that flow before a fault
)

// run is one fault at one place.
type run struct {
	*site
	place  place
	topic  string
	group  string
	kproxy *kproxy // nil where direct
	load   *load
	away   time.Duration // how long kproxy was not there
	notes  []string      // other observations
	wrong  []string      // failures
}

// note adds an observation.
func (r *run) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// fail adds a failure, which makes the verdict bad.
func (r *run) fail(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// outcome is the result of a run at its clients.
type outcome struct {
	Acked, Read      int
	Lost             int // acknowledged, and not in the log
	Twice            int // at two places of the log
	Unread           int // acknowledged, and not read by the group
	Findings         int // of the load's history
	Refused          map[string]int
	Pause, ReadPause time.Duration // longest time without an acknowledgement, without a record read
	Away             time.Duration // how long kproxy was not there
	Others           []string      // addresses dialled that are neither kproxy's nor a broker's
	FromStart        bool          // Pause is from the client's start to its first acknowledgement
	Reasons          map[string]int
	Notes, Wrong     []string
}

// row runs one fault at all its places.
func (s *site) row(ctx context.Context, f fault) (row, error) {
	if f.Alone != nil {
		return f.Alone(ctx, s)
	}
	r := row{Fault: f.Name, Done: f.Done, Run: s.run, Machine: s.machine, hashed: s.Sockhash, outcomes: map[place]*outcome{}}
	for _, p := range f.places() {
		if o := s.known(f, p); o != nil {
			r.outcomes[p] = o
			continue
		}
		s.progress("%s: %s", f.Name, p)
		o, err := s.once(ctx, f, p)
		if err != nil {
			return r, fmt.Errorf("%s: %w", p, err)
		}
		s.keep(f, p, o)
		s.progress("%s: %s: %s", f.Name, p, o)
		r.outcomes[p] = o
	}
	r.judge(f)
	return r, nil
}

// known is the outcome of a run that need not be repeated; nil: the run is needed.
func (s *site) known(f fault, p place) *outcome {
	switch {
	case p == direct && f.Moves != nil:
		return s.straight[f.Moves.asDirect()]
	case p == direct && f.own():
		return s.calm
	default:
		return nil
	}
}

func (s *site) keep(f fault, p place, o *outcome) {
	switch {
	case p == direct && f.Moves != nil:
		s.straight[f.Moves.asDirect()] = o
	case p == direct && (f.own() || f.Act == nil):
		s.calm = o
	}
}

// once is one run.
func (s *site) once(ctx context.Context, f fault, p place) (o *outcome, err error) {
	r := &run{site: s, place: p}
	if err := s.mend(ctx); err != nil {
		return nil, err
	}
	if f.Moves != nil {
		if err := s.grow(ctx); err != nil {
			return nil, err
		}
	}
	if r.topic, err = s.newTopic(ctx); err != nil {
		return nil, err
	}
	if err := lab.Poll(ctx, time.Minute, func() error { return r.pickGroup(ctx) }); err != nil {
		return nil, err
	}
	g := &gate{from: s.near, resolver: lab.Resolver(s.near), open: f.seeds()}
	if p != direct {
		at, host := s.near, "127.0.0.1"
		if p == far {
			at, host = s.vpc, kproxyFar
		}
		if r.kproxy, err = s.startKproxy(ctx, at, host, f.setup(s)); err != nil {
			r.kproxy.kill()
			return nil, err
		}
		defer func() {
			if stopErr := r.kproxy.Stop(); err == nil {
				err = stopErr
			}
		}()
		g.open = r.kproxy.endpoints()
	}
	if f.Moves != nil {
		return r.moves(ctx, f.Moves, g)
	}
	if f.Java {
		return r.java(ctx, f)
	}
	return r.franz(ctx, f, g)
}

// franz is the run of franz-go's clients.
func (r *run) franz(ctx context.Context, f fault, g *gate) (*outcome, error) {
	l, err := startLoad(ctx, g, r.dir, r.topic, r.group, "")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	r.load = l
	if err := l.flows(ctx, warm); err != nil {
		return nil, fmt.Errorf("before the fault: %w", err)
	}
	l.ackTimes.reset()
	l.readTimes.reset()
	if f.Act != nil && (r.place != direct || !f.own()) {
		if err := f.Act(ctx, r); err != nil {
			return nil, err
		}
	}
	r.link.Heal()
	if done := r.link.Counts(); done.Reset > 0 {
		r.note("%d connections reset", done.Reset)
	} else if done.Dropped > 0 {
		r.note("%d packets dropped", done.Dropped)
	}
	if err := l.flows(ctx, 200); err != nil {
		r.fail("records do not flow again: %v", err)
	}
	if err := wait(ctx, r.Calm); err != nil {
		return nil, err
	}
	pause, readPause := l.ackTimes.gap(), l.readTimes.gap()
	l.finish(ctx)
	o := &outcome{Away: r.away, Unread: l.unread(), Pause: max(pause, l.ackTimes.gap()), ReadPause: readPause, Others: g.others}
	o.Acked, o.Read = l.counts()
	o.Refused = l.refused
	if err := r.tally(ctx, o, l.acked); err != nil {
		return nil, err
	}
	if err := f.after(ctx, r); err != nil {
		r.fail("%v", err)
	}
	if err := r.lookAtCopies(ctx); err != nil {
		r.fail("%v", err)
	}
	o.Notes, o.Wrong = r.notes, r.wrong
	return o, r.judge(ctx, l.trace, o)
}

// tally fills in the counts of the log and of kproxy.
func (r *run) tally(ctx context.Context, o *outcome, acked map[string]bool) error {
	if err := r.cluster.WaitWhole(ctx); err != nil {
		return err
	}
	places, err := r.audit(ctx, r.topic)
	if err != nil {
		return err
	}
	for name := range acked {
		if places[name] == 0 {
			o.Lost++
		}
	}
	for _, n := range places {
		if n > 1 {
			o.Twice++
		}
	}
	if r.kproxy != nil {
		o.Reasons, err = r.kproxy.reasons(ctx)
	}
	return err
}
