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
			"a change of the file. A configuration with a mistake changes nothing.\n\n" +
			"SIGUSR2 has a new process of the program on disk take over, without a refused connection; so does kproxy upgrade.\n" +
			"If the new process does not become ready, nothing changes.",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			defer surviveReaders()()
			hangups, stop := notifyHangups()
			defer stop()
			upgrades, stopUpgrades := notifyUpgrades()
			defer stopUpgrades()
			o, err := newOrigin(cmd.Context(), hangups, upgrades)
			if err != nil {
				return &startError{err: err, json: logsJSON(nil)}
			}
			s, err := loadConfig(file)
			if err == nil {
				err = serve(cmd.Context(), s, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			if err != nil {
				o.from.Fail(err)
				return &startError{err: err, json: logsJSON(s)}
			}
			return nil
		},
	}
	addConfigFlag(cmd, &file)
	return cmd
}

// startError is the reason why serve has not started. json says that it is written as the log is.
type startError struct {
	err  error
	json bool
}

func (e *startError) Error() string { return e.err.Error() }
func (e *startError) Unwrap() error { return e.err }

// logsJSON reports whether the log is JSON. Before there are settings, or without because of a mistake,
// the environment says it.
func logsJSON(s *settings) bool {
	if s == nil {
		return os.Getenv("KPROXY_LOG_FORMAT") == "json"
	}
	return s.Log.Format == "json"
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
func notifyHangups() (hangups <-chan os.Signal, stop func()) { return notify(syscall.SIGHUP) }

func notify(s os.Signal) (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, s)
	return c, func() { signal.Stop(c) }
}

// serve runs the proxy until a signal, or the end of ctx, stops it, or until another process has
// taken over. The configuration is reloaded at each of the origin's hangups, and another process
// takes over at one of its upgrades.
func serve(ctx context.Context, s *settings, o *origin, stdout, stderr io.Writer) error {
	logging, err := newLogSettings(s.Log)
	if err != nil {
		return err
	}
	lines := newLogQueue(stderr, logging)
	defer lines.close()
	logging.events.Keep(s.Admin.Bind != "")
	logger := newServingLogger(lines, logging)
	r := newReloader(s, logger, logging)
	if s.Proxy.Listen == nil { // else a test's
		s.Proxy.Listen = o.listenFor(&s.Proxy.Config)
	}
	if o.from != nil {
		s.Proxy.BeforeState, s.Proxy.IDsAbove = o.from.AwaitState, o.from.IDsAbove()
	}
	ready, err := prepare(ctx, s, logger)
	if err != nil {
		return err
	}
	limitMemory(logger, memlimit.FromCgroup) // its lines come after those of mistakes
	missProc(logger, "/proc/self/stat")
	running, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	v := newServing(ctx, r, ready, o)
	defer v.close(context.WithoutCancel(ctx))
	if err := v.start(running, s); err != nil {
		v.proxy.Shutdown(atOnce()) // it has no session
		r.stop()
		r.ready() // requests for a reload that wait are refused
		return err
	}
	s.forget()
	defer r.run(ctx, o.hangups)()
	defer v.upgrader.onSignals(o.upgrades)()
	logger.Info("serving", slog.String(logkey.Version, buildVersion().Version))
	v.showTable(running, func(rows []proxy.Endpoint) error {
		if logging.json.Load() { // a collector that reads stdout too gets JSON alone
			logTable(newLogger(lines, logging), rows)
			return nil
		}
		return printTable(stdout, rows)
	})
	select {
	case <-running.Done():
		if !v.upgrader.halt() {
			v.drain(context.WithoutCancel(ctx))
			return nil
		}
	case <-v.upgrader.done:
	}
	v.drainEvenly(running)
	return nil
}

// showTable shows the table of advertised addresses by a function, unless kproxy is stopped before
// there is one. When kproxy is stopped, it gives up a write to a stdout that blocks.
func showTable(ctx context.Context, p *proxy.Proxy, show func([]proxy.Endpoint) error, logger *slog.Logger) {
	waiting, cancel := context.WithTimeout(ctx, tableWait)
	defer cancel()
	rows := p.Table(waiting)
	if ctx.Err() != nil {
		return
	}
	printed := make(chan error, 1)
	go func() { printed <- show(rows) }()
	select {
	case err := <-printed:
		if err != nil {
			logger.Warn("the table of addresses cannot be printed", slog.Any(logkey.Error, err))
		}
	case <-ctx.Done():
	}
}
