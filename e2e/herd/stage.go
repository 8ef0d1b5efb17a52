//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

// scene is something that clients do to kproxy, all at once.
type scene struct {
	Name, Done string
	Limits     string // of kproxy's configuration, as YAML
	Kills      bool   // kproxy: then no client of it stays untouched
	Bare       bool   // the clients come to a bare TLS server
	Resumes    bool   // they resume their TLS sessions
	Hoards     bool   // they make kproxy hold all that it may hold
	// Closed are the reasons that its sessions may end for; Act adds those whose number
	// it knows.
	Closed []string
	// PerClient bounds the memory that one client may cost at most, in bytes.
	PerClient int64
	// Prepare comes before the first look, Act after it.
	Prepare, Act func(ctx context.Context, st *stage) error
}

// stage is a scene while it is played.
type stage struct {
	*site
	*scene
	kproxy *kproxy
	probes probes
	crowd  *crowd
	out    *outcome
}

// outcome is the result of a scene. Everything in Wrong is a defect, whatever the
// machine.
type outcome struct {
	*scene
	Empty, Before, Height, During, After figures
	Clients                              int // at the height
	Newcomers                            map[string][]time.Duration
	Arrivals                             []arrival
	Closed                               map[string]int
	Notes, Wrong                         []string
}

func (st *stage) note(format string, args ...any) {
	st.out.Notes = append(st.out.Notes, fmt.Sprintf(format, args...))
}

func (st *stage) fail(format string, args ...any) {
	st.out.Wrong = append(st.out.Wrong, fmt.Sprintf(format, args...))
}

// untouched is how many of kproxy's clients are not touched.
func (st *stage) untouched() int {
	if st.Kills {
		return 0
	}
	return 2
}

// play plays a scene on a kproxy of its own. An error says that the scene could not be
// played. It is no verdict on kproxy.
func (s *site) play(ctx context.Context, what *scene) (out *outcome, err error) {
	st := &stage{site: s, scene: what, out: &outcome{scene: what, Newcomers: map[string][]time.Duration{}}}
	if st.kproxy, err = s.startKproxy(ctx, strings.TrimPrefix(what.Limits+s.Limits, ", ")); err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, st.probes.close())
		if stopErr := st.kproxy.proc.Stop(patience); stopErr != nil {
			st.fail("%v", stopErr)
		}
	}()
	targets := map[string]string{overTLS: st.kproxy.tls.Address, overPlain: st.kproxy.plain.Address, haproxy: s.haproxyAt, direct: s.behind}
	if what.Kills {
		delete(targets, overTLS)
		delete(targets, overPlain)
	}
	if st.probes, err = startProbes(ctx, probesJob{s.ca.PEM, targets}); err != nil {
		return nil, err
	}
	if err := st.run(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", what.Name, err, st.kproxy.proc.LogTail())
	}
	return st.out, nil
}

func (st *stage) run(ctx context.Context) (err error) {
	o := st.out
	if o.Empty, err = st.kproxy.settle(ctx, st.untouched()); err != nil {
		return err
	}
	if st.Prepare != nil {
		if err := st.Prepare(ctx, st); err != nil {
			return err
		}
	}
	if o.Before, err = st.calm(ctx); err != nil {
		return err
	}
	if err := st.Act(ctx, st); err != nil {
		return err
	}
	if o.During, err = st.lookAtAll(ctx); err != nil {
		return err
	}
	if _, err := st.kproxy.settle(ctx, st.untouched()+st.stay()); err != nil {
		return err
	}
	if o.After, err = st.calm(ctx); err != nil {
		return err
	}
	if st.crowd != nil {
		st.crowd.leave()
	}
	if err := st.ends(ctx); err != nil {
		return err
	}
	st.judge()
	return nil
}

// stay is how many clients stay until the end.
func (st *stage) stay() int {
	if st.crowd == nil {
		return 0
	}
	return len(st.crowd.clients)
}

// calm looks on while nothing happens.
func (st *stage) calm(ctx context.Context) (figures, error) {
	if _, err := st.probes.look(); err != nil {
		return figures{}, err
	}
	pause(ctx, st.Calm)
	f, err := st.lookAtAll(ctx)
	return f, errors.Join(err, st.kproxy.forgetPeak())
}

// lookAtAll looks at kproxy, and at the untouched clients.
func (st *stage) lookAtAll(ctx context.Context) (figures, error) {
	seen, err := st.probes.look()
	if err != nil {
		return figures{}, err
	}
	f, err := st.kproxy.look(ctx)
	f.Probes = seen
	return f, err
}

// atHeight looks at kproxy when all clients have come, and connects new ones.
func (st *stage) atHeight(ctx context.Context, clients int) error {
	st.out.Clients = clients
	err := lab.Poll(ctx, patience, func() (err error) {
		// This counts the opened ones, not the open ones: on a busy machine some have
		// ended by then.
		if st.out.Height, err = st.kproxy.look(ctx); err == nil && st.out.Height.Opened < clients+st.untouched() {
			err = fmt.Errorf("%d sessions were opened, want %d", st.out.Height.Opened, clients+st.untouched())
		}
		return err
	})
	if err != nil {
		return err
	}
	return st.newcomers(ctx)
}

// newcomers connects clients, one after the other, and checks that they are served. Each
// is one session that ends as client_closed.
func (st *stage) newcomers(ctx context.Context) error {
	const each = 20
	for how, d := range map[string]door{overTLS: st.kproxy.tls, overPlain: st.kproxy.plain} {
		for range each {
			began := time.Now()
			conn, err := d.visit(ctx)
			if err != nil {
				st.fail("a new client (%s) was not served: %v", how, err)
				break
			}
			st.out.Newcomers[how] = append(st.out.Newcomers[how], time.Since(began))
			_ = conn.Close()
		}
	}
	return nil
}

// ends waits until kproxy is in its initial state.
func (st *stage) ends(ctx context.Context) error {
	const spare = 20 // descriptors and goroutines: of the admin server, of timers, of the kernel pipes
	var last figures
	err := lab.Poll(ctx, patience, func() (err error) {
		if last, err = st.kproxy.settle(ctx, st.untouched()); err != nil {
			return lab.Permanent(err)
		}
		if last.Files > st.out.Empty.Files+spare || last.Goroutines > st.out.Empty.Goroutines+spare {
			return fmt.Errorf("%d descriptors and %d goroutines are left, want %d and %d as in the beginning",
				last.Files, last.Goroutines, st.out.Empty.Files, st.out.Empty.Goroutines)
		}
		return nil
	})
	if err != nil {
		st.fail("%v", err)
	}
	st.out.Closed = last.Closed
	if closed := total(last.Closed); last.Opened != closed+last.Active {
		st.fail("%d sessions were opened, %d have ended and %d are open", last.Opened, closed, last.Active)
	}
	return nil
}

func total(counts map[string]int) (n int) {
	for count := range maps.Values(counts) {
		n += count
	}
	return n
}

// judge reports defects that no machine excuses.
func (st *stage) judge() {
	o := st.out
	for _, phase := range []figures{o.Before, o.During, o.After} {
		for how, s := range phase.Probes {
			if s.Error != "" || s.Answered == 0 || s.Owed > 0 {
				st.fail("the untouched client (%s) has asked %d times and had %d responses: %s", how, s.Asked, s.Answered, s.Error)
			}
		}
	}
	for reason, n := range o.Closed {
		if reason != "client_closed" && !slices.Contains(st.Closed, reason) {
			st.fail("%d sessions have ended as %s", n, reason)
		}
	}
	if most, got := o.mostMemory(), max(o.During.Peak, o.After.Peak)-o.Empty.RSS; got > most {
		st.fail("%d clients took %d KiB, more than %d KiB", o.Clients, got>>10, most>>10)
	}
}

// spareMemory is the variation of the Go runtime's memory that does not depend on
// clients.
const spareMemory = 24 << 20

func (o *outcome) mostMemory() int64 {
	most := spareMemory + int64(o.Clients)*o.PerClient
	if o.Hoards {
		most += 2 * hoardLimit // Go's heap doubles before it is collected
	}
	return most
}

// closedAs says how many sessions must have ended for a reason.
func (st *stage) closedAs(f figures, reason string, want int) {
	if got := f.Closed[reason]; got != want {
		st.fail("%d sessions have ended as %s, want %d", got, reason, want)
	}
}
