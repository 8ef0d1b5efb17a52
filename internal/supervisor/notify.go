package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"kproxy/internal/files"
	"kproxy/internal/foreign"
	"kproxy/internal/logkey"
)

// notifyTimeout is how long one notification may take.
const notifyTimeout = time.Second

// pings is how often the watchdog is told in the time that it waits.
const pings = 3

// Notifier tells systemd the state of the service. Without NOTIFY_SOCKET it does nothing.
//
// The main process alone may tell (NotifyAccess=main). In a hand-over the old one tells MAINPID, and
// from then on the new one does.
type Notifier struct {
	log  *slog.Logger
	send func(state string) error // sd_notify

	failing sync.Once
}

// NewNotifier returns a Notifier. The first failure goes to log.
func NewNotifier(log *slog.Logger) *Notifier {
	return &Notifier{log: log, send: func(state string) error {
		return within(notifyTimeout, os.Getenv(notifySocket), func() error {
			_, err := daemon.SdNotify(false, state)
			return err
		})
	}}
}

// within calls send, which writes to a socket, and waits no longer than limit: a socket that is not read
// must not hold kproxy up. Further calls wait for one that has not returned.
func within(limit time.Duration, socket string, send func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_, err := files.Do(ctx, socket, func() (struct{}, error) { return struct{}{}, send() })
	if err != nil && ctx.Err() != nil {
		return errUnread
	}
	return err
}

var errUnread = errors.New("nothing reads the socket of NOTIFY_SOCKET")

// Ready says that kproxy serves, or serves again after Reloading.
func (n *Notifier) Ready(status string) { n.tell(daemon.SdNotifyReady, statusLine(status)) }

// Reloading says that kproxy reads its configuration. Ready follows, also if it is not applied.
func (n *Notifier) Reloading() {
	n.tell(daemon.SdNotifyReloading, monotonic())
}

// Stopping says that kproxy ends, and within which time. A TimeoutStopSec that is shorter would cut
// the drain: systemd waits that long instead.
func (n *Notifier) Stopping(status string, within time.Duration) {
	n.tell(daemon.SdNotifyStopping, statusLine(status), fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", within.Microseconds()))
}

// Main says which process is the main one from now on.
func (n *Notifier) Main(pid int) { n.tell(fmt.Sprintf("MAINPID=%d", pid)) }

// Status describes the state of kproxy.
func (n *Notifier) Status(status string) { n.tell(statusLine(status)) }

func statusLine(status string) string { return "STATUS=" + foreign.Line(status) }

func (n *Notifier) tell(lines ...string) {
	if err := n.send(strings.Join(lines, "\n")); err != nil {
		n.failing.Do(func() {
			n.log.Warn("systemd cannot be notified", slog.Any(logkey.Error, err))
		})
	}
}

// Watch tells systemd's watchdog that kproxy is alive, until ctx ends. alive returns when it is: if
// it hangs, systemd ends kproxy. Without a watchdog Watch returns at once.
func (n *Notifier) Watch(ctx context.Context, alive func()) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.log.Warn("the watchdog of systemd is not fed", slog.Any(logkey.Error, err))
	}
	if err != nil || every <= 0 {
		return
	}
	n.watch(ctx, every/pings, alive)
}

func (n *Notifier) watch(ctx context.Context, every time.Duration, alive func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		alive()
		n.tell(daemon.SdNotifyWatchdog)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
