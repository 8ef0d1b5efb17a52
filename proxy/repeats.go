package proxy

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"kproxy/internal/logkey"
)

const (
	// repeatInterval is the time between two lines about sessions that end alike: a
	// flood of half requests must not become one of the log.
	repeatInterval = 10 * time.Second
	// maxRepeats is how many kinds of ends have lines of their own. With it a flood from any
	// number of addresses has maxRepeats lines at once, and about as many in each
	// repeatInterval.
	maxRepeats = 64
	// maxOfSource is how many of them one source has at a listener: a client can give each connection another
	// client.id, and another error. Its others have one kind for each reason.
	maxOfSource = 8
)

// ending is a kind of ends of sessions: those that are merged have it in common.
type ending struct {
	listener *listener
	reason   CloseReason
	source   netip.Addr // not valid: all sources that have no ending of their own
	client   string     // client.id, as far as it is logged
	cause    string     // the text of the error, with # for each digit: ports and sizes differ each time
}

// repeats merges the lines about sessions that end before a broker is dialled for them, or
// because of the bytes that kproxy holds for them: any client that reaches a port can cause
// any number of such lines. The first end of a kind has its line. The following ones are
// counted, and share a line.
type repeats struct {
	mu  sync.Mutex // guards the following
	all map[ending]*repeated
}

// repeated has the counts of an ending.
type repeated struct {
	since time.Time // of the last line
	more  int       // ends since then, which have none
	error string    // of the last of them
}

// merges counts an end with the text of its error, and reports whether its line is left to a later one.
func (r *repeats) merges(e ending, text string) bool {
	e.cause = strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' {
			return '#'
		}
		return c
	}, text)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[ending]*repeated{}
	}
	if r.counts(e, text) {
		return true
	}
	full := len(r.all) >= maxRepeats
	switch {
	case full:
		e.source, e.client, e.cause = netip.Addr{}, "", ""
	case r.ofSource(e) >= maxOfSource:
		e.client, e.cause = "", ""
	}
	if r.counts(e, "") {
		return true
	}
	r.all[e] = &repeated{since: time.Now()}
	if full {
		r.all[e].more = 1
	}
	return full
}

// counts counts an end of a kind that is there.
func (r *repeats) counts(e ending, text string) bool {
	had, ok := r.all[e]
	if ok {
		had.more++
		had.error = text
	}
	return ok
}

// ofSource returns how many kinds of ends there are of a listener and a source.
func (r *repeats) ofSource(e ending) (n int) {
	for other := range r.all {
		if other.listener == e.listener && other.source == e.source {
			n++
		}
	}
	return n
}

// report tells of the ends that were merged: of all, or of those whose interval is
// over.
func (r *repeats) report(all bool) {
	type line struct {
		ending
		repeated
	}
	var lines []line
	now := time.Now()
	r.mu.Lock()
	for e, had := range r.all {
		if !all && now.Sub(had.since) < repeatInterval {
			continue
		}
		if had.more == 0 {
			delete(r.all, e)
			continue
		}
		lines = append(lines, line{e, *had})
		*had = repeated{since: now}
	}
	r.mu.Unlock()
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.listener.key, b.listener.key), cmp.Compare(a.reason, b.reason), a.source.Compare(b.source), cmp.Compare(a.client, b.client), cmp.Compare(a.cause, b.cause))
	})
	for _, l := range lines {
		attrs := []slog.Attr{slog.String(logkey.Reason, string(l.reason))}
		message := "more sessions closed, from other addresses"
		if l.source.IsValid() {
			message = "more sessions closed, as one before"
			attrs = append(attrs, slog.String(logkey.Source, l.source.String()))
			if l.client != "" {
				attrs = append(attrs, slog.String(logkey.ClientID, l.client))
			}
			if l.error != "" {
				attrs = append(attrs, slog.String(logkey.Error, l.error))
			}
		}
		attrs = append(attrs, slog.Int(logkey.Connections, l.more), slog.Duration(logkey.Duration, now.Sub(l.since)))
		l.listener.log.LogAttrs(context.Background(), traitsOf[l.reason].level, message, attrs...)
	}
}
