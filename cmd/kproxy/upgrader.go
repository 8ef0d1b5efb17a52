package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/errlist"
	"kproxy/internal/handover"
	"kproxy/internal/logkey"
	"kproxy/internal/supervisor"
	"kproxy/internal/telemetry"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// upgradeTimeout is how long a new process may take to become ready. A broker may be slow: kproxy
// gives it three times connect_timeout, which is 10 s by default.
const upgradeTimeout = time.Minute

// upgrader hands over to a new process: the program that is on disk now, with the configuration that
// is on disk now. There is one hand-over at a time, and none during a reload.
type upgrader struct {
	proxy    *proxy.Proxy
	ops      *operations
	reloader *reloader
	origin   *origin
	notify   *supervisor.Notifier
	log      *slog.Logger

	refusal func() *supervisor.RefusedError
	run     func(ctx context.Context, plan *handover.Plan) (*handover.Successor, error)

	done chan struct{} // closed when a new process serves

	stopping  context.Context // ends when kproxy stops
	stop      context.CancelCauseFunc
	mu        sync.Mutex // guards the following
	failures  int64
	successor *handover.Successor // nil: this process serves
}

func newUpgrader(ctx context.Context, r *reloader, p *proxy.Proxy, o *origin, notify *supervisor.Notifier) *upgrader {
	u := &upgrader{
		proxy: p, ops: r.ops, reloader: r, origin: o, notify: notify, log: r.log, done: make(chan struct{}),
		refusal: func() *supervisor.RefusedError { return supervisor.Recognise(o.from != nil) },
		run:     func(ctx context.Context, plan *handover.Plan) (*handover.Successor, error) { return plan.Run(ctx) },
	}
	u.stopping, u.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	return u
}

// onSignals hands over at each of the signals, until stop is called.
func (u *upgrader) onSignals(signals <-chan os.Signal) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
			}
			_, _ = u.upgrade(context.Background(), trigger{by: bySignal}) // the log has the error
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// byRequest is a hand-over by the admin server.
func (u *upgrader) byRequest(ctx context.Context, request admin.Upgrade) (admin.Upgraded, error) {
	return u.upgrade(ctx, trigger{by: byAdmin, from: request.From})
}

// upgrade hands over. The error joins [*admin.MistakeError]s, or is an [*admin.RefusedError] or
// [admin.ErrStopping]; the log has it, and nothing has changed. ctx bounds the wait for reloads.
func (u *upgrader) upgrade(ctx context.Context, t trigger) (admin.Upgraded, error) {
	release, err := u.reloader.exclude(ctx)
	if err != nil {
		return admin.Upgraded{}, err
	}
	defer release()
	if refused := u.refuse(); refused != nil {
		u.log.Warn("the hand-over is refused", t.attrs(slog.String(logkey.Error, refused.Problem), slog.String(logkey.Fix, refused.Fix))...)
		return admin.Upgraded{}, refused
	}
	if u.reloader.isStopping() {
		return admin.Upgraded{}, admin.ErrStopping
	}
	drain := u.reloader.settings().Proxy.DrainTimeout
	u.log.Info("handing over: a new process starts", t.attrs(slog.String(logkey.File, u.origin.program))...)
	s, err := u.run(u.stopping, u.plan(drain))
	if err != nil {
		return admin.Upgraded{}, u.fail(t, err)
	}
	result := admin.Upgraded{PID: s.PID, Version: s.Version, Sessions: u.proxy.Sessions(), DrainFor: drain.Seconds()}
	u.mu.Lock()
	u.successor = s
	u.mu.Unlock()
	u.log.Info("handed over: the new process serves, and this one drains",
		t.attrs(slog.Int(logkey.PID, s.PID), slog.String(logkey.Version, s.Version), slog.Int(logkey.Sessions, result.Sessions))...)
	u.reloader.stop()    // before release: a reload that waits would change this process alone
	u.notify.Main(s.PID) // before the first message of follow, behind which the new process notifies
	u.ops.handOver(u.stopping)
	close(u.done)
	return result, nil
}

// passHangup sends a SIGHUP that came during a hand-over, or after it, to the new process, which may have
// read the configuration before it changed. Without a new process it does nothing.
func (u *upgrader) passHangup() {
	u.mu.Lock()
	s := u.successor
	u.mu.Unlock()
	if s == nil {
		return
	}
	u.log.Info("SIGHUP goes to the process that has taken over", slog.Int(logkey.PID, s.PID))
	process, err := os.FindProcess(s.PID)
	if err == nil {
		err = process.Signal(syscall.SIGHUP)
	}
	if err != nil {
		u.log.Warn("SIGHUP has not reached the process that has taken over", slog.Int(logkey.PID, s.PID), slog.Any(logkey.Error, err))
	}
}

// refuse says why there can be no hand-over now.
func (u *upgrader) refuse() *admin.RefusedError {
	refused := func(problem, fix string) *admin.RefusedError {
		return &admin.RefusedError{MistakeError: admin.MistakeError{Problem: problem, Fix: fix}}
	}
	before := u.origin.from.Report()
	left, drains := before.Draining(time.Now())
	u.mu.Lock()
	s := u.successor
	u.mu.Unlock()
	switch {
	case !handover.IsSupported:
		return refused("a process cannot take over the sockets of another on "+runtime.GOOS,
			"upgrade by two replicas behind a balancer, or restart kproxy (docs/operations.md)")
	case s != nil:
		return refused(fmt.Sprintf("process %d has taken over from this one, which drains", s.PID), "ask that one")
	case drains && left == 0:
		return refused(fmt.Sprintf("process %d, from which this one took over, has not ended, though its time to drain is over", u.origin.from.PID()),
			fmt.Sprintf("end process %d", u.origin.from.PID()))
	case drains:
		return refused(fmt.Sprintf("the kproxy before this one still drains, for %v at most", left.Round(time.Second)),
			fmt.Sprintf("try again then; SIGTERM to process %d ends its sessions now", u.origin.from.PID()))
	case u.reloader.piped:
		return refused("the configuration came from a pipe, and a new process cannot read it again", "restart kproxy, or name a regular file with --config")
	case u.origin.program == "":
		return refused("the path of the running program is not known", "restart kproxy")
	}
	if by := u.refusal(); by != nil {
		return refused(by.Problem, by.Fix)
	}
	return nil
}

// plan is a hand-over of this process.
func (u *upgrader) plan(drain time.Duration) *handover.Plan {
	plan := &handover.Plan{
		Path: u.origin.program, Args: os.Args, Env: supervisor.Environ(os.Environ(), os.Getpid()),
		Timeout: upgradeTimeout, Drain: drain, IDsAbove: u.proxy.NextIDsAbove(),
		Release: func(context.Context) error { return u.proxy.ReleaseState() },
		Retake: func() {
			if err := u.proxy.RetakeState(); err != nil {
				u.log.Error("the state file is not written any more", slog.Any(logkey.Error, err),
					slog.String(logkey.Fix, "stop the other kproxy, and restart this one; until then a restart forgets the latest changes"))
			}
		},
	}
	for _, s := range u.proxy.Sockets() {
		plan.Sockets = append(plan.Sockets, handover.Socket(s))
	}
	if u.ops.admin != nil {
		plan.Sockets = append(plan.Sockets, handover.Socket{Address: config.BoundForm(u.reloader.settings().Admin.Bind), Listener: u.ops.admin.Socket()})
	}
	return plan
}

// fail logs why the new process did not take over, and returns it for a response.
func (u *upgrader) fail(t trigger, err error) error {
	if errors.Is(err, admin.ErrStopping) {
		return err
	}
	u.mu.Lock()
	u.failures++
	u.mu.Unlock()
	reasons := []string{err.Error()}
	if failed, ok := errors.AsType[*handover.FailedError](err); ok {
		reasons = failed.Reasons
	}
	var all []error
	for i, reason := range reasons {
		all = append(all, &admin.MistakeError{Problem: reason})
		if i < maxLoggedLines {
			u.log.Error("the new process did not take over; nothing has changed", t.attrs(slog.String(logkey.Error, reason))...)
		}
	}
	return errlist.Join(all...)
}

// halt ends a hand-over that is under way, because kproxy stops, and refuses further ones. It reports
// whether a new process serves already.
func (u *upgrader) halt() (handedOver bool) {
	u.stop(admin.ErrStopping)
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.successor != nil
}

// follow tells the new process how many sessions are left, until the returned function is called at
// the end of this one.
func (u *upgrader) follow() (end func()) {
	u.mu.Lock()
	s := u.successor
	u.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	var telling sync.WaitGroup
	telling.Go(func() {
		tick := time.NewTicker(statusEach)
		defer tick.Stop()
		for {
			s.Sessions(u.proxy.Sessions())
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		telling.Wait()
		s.Close()
	}
}

// metrics returns the state for the metrics.
func (u *upgrader) metrics() telemetry.Handover {
	before := u.origin.from.Report()
	u.mu.Lock()
	defer u.mu.Unlock()
	return telemetry.Handover{Took: before.Took, Sessions: before.Sessions, Ended: before.Ended, Failures: u.failures}
}
