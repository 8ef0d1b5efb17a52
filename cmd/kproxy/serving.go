package main

import (
	"context"
	"log/slog"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/logkey"
	"kproxy/internal/supervisor"
	"kproxy/internal/telemetry"
	"kproxy/proxy"
)

// serving is everything that serve runs: its start, and its two ends.
type serving struct {
	proxy    *proxy.Proxy
	ready    *prepared
	ops      *operations
	reloader *reloader
	upgrader *upgrader
	origin   *origin
	notify   *supervisor.Notifier
	log      *slog.Logger

	unwatch context.CancelFunc // ends the notifications of the watchdog
	watched sync.WaitGroup
}

func newServing(ctx context.Context, r *reloader, ready *prepared, o *origin) *serving {
	v := &serving{proxy: ready.proxy, ready: ready, reloader: r, origin: o, log: r.log, notify: supervisor.NewNotifier(r.log)}
	v.ops = r.operate(ready.proxy)
	v.upgrader = newUpgrader(ctx, r, ready.proxy, o, v.notify)
	v.ops.upgrade = v.upgrader.byRequest
	v.ops.state = func() telemetry.State {
		state := r.metrics()
		state.Handover = v.upgrader.metrics()
		return state
	}
	r.reloading = v.reloading
	r.passOn = v.upgrader.passHangup
	return v
}

// start binds everything, and serves. A process that takes over becomes ready first, and waits for
// its turn; until then the one before serves at the same sockets, and answers for the admin server.
func (v *serving) start(ctx context.Context, s *settings) error {
	if err := v.ops.open(ctx, s, v.origin.bindAdmin); err != nil {
		return err
	}
	takesOver := v.origin.from != nil
	if !takesOver {
		if err := v.ops.start(s, v.ready); err != nil {
			return err
		}
	}
	if err := v.proxy.Open(context.WithoutCancel(ctx)); err != nil {
		return s.inFile(withBindFix(err))
	}
	v.origin.closeRest(v.log)
	if takesOver {
		if err := v.origin.awaitTurn(ctx, &admin.Readiness{Proxy: v.proxy, All: s.AllReady}); err != nil {
			return err
		}
		if err := v.ops.start(s, v.ready); err != nil {
			return err
		}
		if v.origin.from.IsLost() {
			v.log.Warn("the process before has ended in the hand-over; this one serves, ready or not", slog.Int(logkey.PID, v.origin.from.PID()))
		} else {
			v.log.Info("this process takes over", slog.Int(logkey.PID, v.origin.from.PID()))
		}
	}
	v.proxy.Accept()
	v.origin.from.Serving()
	v.origin.from.AwaitNamed(ctx)
	v.notify.Ready("serving")
	v.watch(ctx)
	return nil
}

// showTable shows the table of advertised addresses by a function, until kproxy stops or another process serves: a
// stdout that is not read keeps neither from happening.
func (v *serving) showTable(running context.Context, show func([]proxy.Endpoint) error) {
	showing, cancel := context.WithCancel(running)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-v.upgrader.done:
		case <-showing.Done():
		}
	}()
	showTable(showing, v.proxy, show, v.log)
}

// watch feeds the watchdog of systemd until close, or until another process does.
func (v *serving) watch(ctx context.Context) {
	ctx, v.unwatch = context.WithCancel(context.WithoutCancel(ctx))
	v.watched.Go(func() {
		v.notify.Watch(ctx, func() { v.proxy.Sessions() }) // it waits for the lock that every session needs
	})
}

// reloading tells systemd that the configuration is read. done says that kproxy serves again.
func (v *serving) reloading() (done func()) {
	v.notify.Reloading()
	return func() { v.notify.Ready("serving") }
}

// close ends the operations, after the proxy.
func (v *serving) close(ctx context.Context) {
	v.ops.close(ctx)
	v.ready.close(ctx)
	if v.unwatch != nil {
		v.unwatch()
	}
	v.watched.Wait()
}

// stopMargin is for everything at an end that is not a drain, such as the last push of metrics.
const stopMargin = 30 * time.Second

// drain ends kproxy after a signal.
func (v *serving) drain(ctx context.Context) {
	v.proxy.MarkNotReady()
	waitForReload := v.reloader.stop()
	set := v.reloader.settings()
	v.notify.Stopping("draining", set.DrainDelay+set.Proxy.DrainTimeout+stopMargin)
	waitForOthers(ctx, set.DrainDelay, v.log)
	draining, stop := notifyDuring(ctx, waitForReload)
	defer stop()
	v.log.Info("stopping: no new connections, responses in flight are delivered")
	v.warnOfCut(v.proxy.Shutdown(draining))
}

// drainEvenly ends a kproxy from which another process has taken over. A signal, which ends running,
// has all sessions end at once, and a further one cuts them.
func (v *serving) drainEvenly(running context.Context) {
	v.unwatch()
	cut, stop := context.WithCancel(context.WithoutCancel(running))
	defer stop()
	go func() {
		select {
		case <-running.Done():
		case <-cut.Done():
		}
		again, stopAgain := signal.NotifyContext(cut, syscall.SIGTERM, syscall.SIGINT)
		defer stopAgain()
		<-again.Done()
		stop()
	}()
	v.reloader.stop()()
	defer v.upgrader.follow()()
	v.warnOfCut(v.proxy.HandOver(cut, running.Done()))
	v.log.Info("this process has drained, and ends")
}

func (v *serving) warnOfCut(cut int) {
	if cut > 0 {
		v.log.Warn("stopped with sessions that were still owed responses",
			slog.Int(logkey.Sessions, cut), slog.String(logkey.Fix, "raise drain.timeout if clients need longer"))
	}
}

// atOnce returns a context that has ended.
func atOnce() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// notifyDuring returns a context that a signal ends, also one that comes during wait.
func notifyDuring(ctx context.Context, wait func()) (notified context.Context, stop func()) {
	notified, stop = signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	wait()
	return notified, stop
}

// waitForOthers waits for load balancers to see that kproxy is not ready any more. A
// signal ends it.
func waitForOthers(ctx context.Context, delay time.Duration, logger *slog.Logger) {
	if delay == 0 {
		return
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, delay)
	defer cancel()
	logger.Info("stopping soon: not ready any more, connections are still accepted", slog.Duration(logkey.Delay, delay))
	<-ctx.Done()
}
