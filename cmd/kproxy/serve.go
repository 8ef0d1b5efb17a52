package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/spf13/cobra"

	"kproxy/internal/logkey"
	"kproxy/proxy"
)

// tableWait is how long the table at start waits for the brokers. kproxy serves
// meanwhile; a cluster that is down delays the table only.
const tableWait = 5 * time.Second

func newServeCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the proxy from a configuration file",
		Long: "Run the proxy from a configuration file. SIGTERM or SIGINT stops it: for drain.delay it only says that it is\n" +
			"not ready; then there are no new connections, and responses in flight are delivered, for drain.timeout at most.\n" +
			"A further signal skips the delay, and one more cuts the remaining connections.\n\n" +
			"SIGHUP has it read the configuration, certificates, keys and CAs again; so do kproxy reload and, with reload.watch,\n" +
			"a change of the file. A configuration with a mistake changes nothing.",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			defer surviveReaders()()
			hangups, stop := notifyHangups()
			defer stop()
			s, err := loadConfig(file)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), s, hangups, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	addConfigFlag(cmd, &file)
	return cmd
}

// surviveReaders makes a write to stdout or stderr fail once its reader is gone, until
// stop is called. Otherwise it would end the process. Commands that kproxy runs do not
// inherit it, as they would if the signal were ignored.
func surviveReaders() (stop func()) {
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	return func() { signal.Stop(broken) }
}

// notifyHangups delivers SIGHUP by a channel until stop is called. Otherwise it would end
// the process.
func notifyHangups() (hangups <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// serve runs the proxy until a signal, or the end of ctx, stops it. The configuration is
// reloaded at each of hangups.
func serve(ctx context.Context, s *settings, hangups <-chan os.Signal, stdout, stderr io.Writer) error {
	logging, err := newLogSettings(s.Log)
	if err != nil {
		return err
	}
	lines := newLogQueue(stderr, logging)
	defer lines.close()
	logger := newLogger(lines, logging)
	r := newReloader(s, logger, logging)
	ready, err := prepare(ctx, s, logger)
	if err != nil {
		return err
	}
	limitMemory(logger, memlimit.FromCgroup) // its lines come after those of mistakes
	p := ready.proxy
	running, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ops := r.operate(p)
	if err := ops.start(ctx, s, ready); err != nil {
		return err
	}
	defer ops.close(context.WithoutCancel(ctx))
	if err := p.Start(ctx); err != nil {
		r.stop()
		r.ready() // requests for a reload that wait are refused
		return s.inFile(withBindFix(err))
	}
	s.forget()
	defer r.run(ctx, hangups)()
	logger.Info("serving", slog.String(logkey.Version, buildVersion().Version))
	showTable(running, p, stdout, logger)

	<-running.Done()
	p.MarkNotReady()
	waitForReload := r.stop()
	waitForOthers(context.WithoutCancel(ctx), r.settings().DrainDelay, logger)
	draining, stopDraining := notifyDuring(context.WithoutCancel(ctx), waitForReload)
	defer stopDraining()
	logger.Info("stopping: no new connections, responses in flight are delivered")
	if cut := p.Shutdown(draining); cut > 0 {
		logger.Warn("stopped with sessions that were still owed responses",
			slog.Int(logkey.Sessions, cut), slog.String(logkey.Fix, "raise drain.timeout if clients need longer"))
	}
	return nil
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

// showTable prints the table of advertised addresses, unless kproxy is stopped before
// there is one. When kproxy is stopped, it gives up a write to a stdout that blocks.
func showTable(ctx context.Context, p *proxy.Proxy, stdout io.Writer, logger *slog.Logger) {
	waiting, cancel := context.WithTimeout(ctx, tableWait)
	defer cancel()
	rows := p.Table(waiting)
	if ctx.Err() != nil {
		return
	}
	printed := make(chan error, 1)
	go func() { printed <- printTable(stdout, rows) }()
	select {
	case err := <-printed:
		if err != nil {
			logger.Warn("the table of addresses cannot be printed", slog.Any(logkey.Error, err))
		}
	case <-ctx.Done():
	}
}
