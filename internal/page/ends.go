package page

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"kproxy/internal/events"
	"kproxy/internal/foreign"
	"kproxy/internal/logkey"
	"kproxy/proxy"
)

// endsView are the sessions' ends by reason, and the newest lines of the log.
type endsView struct {
	Reasons []reasonView
	Left    int
	Lines   []lineView
	Kept    int // events in all
}

// reasonView are the sessions that have ended for one reason: how many, and the newest of them.
type reasonView struct {
	Reason  string
	Trouble bool
	Count   int
	Ago     string
	At      moment
	Where   string
	Client  string
	Error   string
	Fix     string

	last time.Time
}

// lineView is a line of the log.
type lineView struct {
	At      moment
	Level   string
	Trouble bool
	Where   string
	Text    string
	Fix     string
}

func endsOf(all []events.Event, now time.Time) endsView {
	v := endsView{Kept: len(all)}
	by := map[string]*reasonView{}
	for i := range slices.Backward(all) {
		e := &all[i]
		if len(v.Lines) < maxEvents {
			v.Lines = append(v.Lines, lineOf(e))
		}
		reason := e.Get(logkey.Reason)
		if reason == "" {
			continue
		}
		count := 1 + e.Repeats
		had := by[reason]
		if had != nil {
			count += had.Count
		}
		if had == nil || e.Last.After(had.last) {
			had = &reasonView{
				Reason: clean(reason), Trouble: e.Level >= slog.LevelWarn, Ago: spanOf(now.Sub(e.Last)), At: momentOf(e.Last), last: e.Last,
				Where: whereOf(e), Client: clientOf(e), Error: clean(e.Get(logkey.Error)), Fix: clean(e.Get(logkey.Fix)),
			}
			by[reason] = had
		}
		had.Count = count
	}
	for _, r := range by {
		v.Reasons = append(v.Reasons, *r)
	}
	slices.SortFunc(v.Reasons, func(a, b reasonView) int {
		if a.Trouble != b.Trouble {
			if a.Trouble {
				return -1
			}
			return 1
		}
		return cmp.Or(b.last.Compare(a.last), cmp.Compare(a.Reason, b.Reason))
	})
	if n := len(v.Reasons); n > maxReasons {
		v.Reasons, v.Left = v.Reasons[:maxReasons], n-maxReasons
	}
	return v
}

func lineOf(e *events.Event) lineView {
	l := lineView{At: momentOf(e.Time), Level: levelOf(e.Level), Trouble: e.Level >= slog.LevelWarn, Where: whereOf(e), Text: clean(e.Message), Fix: clean(e.Get(logkey.Fix))}
	for _, key := range []string{logkey.Reason, logkey.Error} {
		if text := e.Get(key); text != "" {
			l.Text += ": " + clean(text)
		}
	}
	if e.Repeats > 0 {
		l.Text += fmt.Sprintf(" (and %d more until %s)", e.Repeats, momentOf(e.Last).Text)
	}
	return l
}

func levelOf(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "error"
	case level >= slog.LevelWarn:
		return "warning"
	default:
		return "info"
	}
}

// whereOf names the cluster, the listener and the node of an event.
func whereOf(e *events.Event) string {
	where := e.Get(logkey.Cluster)
	if listener := e.Get(logkey.Listener); listener != "" {
		where += "/" + listener
	}
	switch node := e.Get(logkey.Node); {
	case node == "" || node[0] == '-': // a bootstrap endpoint
	case where == "":
		where = "node " + node
	default:
		where += ", node " + node
	}
	return clean(where)
}

// clientOf names the client of an event.
func clientOf(e *events.Event) string {
	client, id := clean(e.Get(logkey.Client)), foreign.LineOf(e.Get(logkey.ClientID), maxID)
	if id == "" {
		return client
	}
	return fmt.Sprintf("%s (%s)", client, id)
}

// certificateView is a certificate of kproxy's own.
type certificateView struct {
	Whose, File string
	At          moment
	Left        string
	Trouble     string

	expires time.Time
}

// soon is how long before its end a certificate is shown as one that needs attention.
const soon = 14 * 24 * time.Hour

// certificates returns those that end first, and the number of the others.
func certificates(stats *proxy.Snapshot, now time.Time) (some []certificateView, left int) {
	add := func(whose string, tls *proxy.TLSStats) {
		if tls == nil {
			return
		}
		seen := map[string]bool{}
		for _, c := range tls.Certificates {
			if seen[c.File] {
				continue
			}
			seen[c.File] = true
			v := certificateView{
				Whose: whose, File: clean(c.File), expires: c.Expires,
				At: moment{c.Expires.UTC().Format("2006-01-02"), c.Expires.UTC().Format(time.RFC3339)}, Left: spanOf(c.Expires.Sub(now)),
			}
			switch {
			case !c.Expires.After(now):
				v.Left, v.Trouble = "", "expired"
			case tls.Stale:
				v.Trouble = "the files as they are now are no good; those from before are used"
			case c.Expires.Sub(now) < soon:
				v.Trouble = "ends soon"
			}
			some = append(some, v)
		}
	}
	for i := range stats.Clusters {
		c := &stats.Clusters[i]
		add(c.Name+", to the brokers", c.TLS)
		for j := range c.Listeners {
			add(c.Name+"/"+c.Listeners[j].Name, c.Listeners[j].TLS)
		}
	}
	slices.SortStableFunc(some, func(a, b certificateView) int { return a.expires.Compare(b.expires) })
	if n := len(some); n > maxCertificates {
		return some[:maxCertificates], n - maxCertificates
	}
	return some, 0
}
