package proxy

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/logkey"
)

const (
	// refusalInterval is the time between two lines about the same refusal: a client that is
	// refused tries again and again.
	refusalInterval = time.Minute
	// maxRefusals bounds the refusals that have lines of their own in a refusalInterval: a
	// client may name any client.id.
	maxRefusals = 64
)

// refusal is a kind of refused requests.
type refusal struct {
	listener *listener
	key      int16  // of the API
	client   string // client.id, as far as it is logged
}

// refusals limits the lines about refused requests. The session goes on after the response of a
// refusal, so that no other line tells of it.
type refusals struct {
	mu   sync.Mutex            // guards the following
	last map[refusal]time.Time // of the line
}

// due reports whether a refusal gets a line now.
func (r *refusals) due(of refusal, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.last[of]; ok && now.Sub(last) < refusalInterval {
		return false
	}
	if r.last == nil {
		r.last = map[refusal]time.Time{}
	}
	for other, last := range r.last {
		if now.Sub(last) >= refusalInterval {
			delete(r.last, other)
		}
	}
	if len(r.last) >= maxRefusals {
		return false
	}
	r.last[of] = now
	return true
}

// refused counts a request that the listener refuses, and logs it.
func (p *requestPump) refused(key, version int16) {
	s := p.s
	l := s.endpoint.listener
	l.counters.refused[slotOf(key, apiSlots)].Add(1)
	if !s.proxy.refusals.due(refusal{l, key, s.client.id}, time.Now()) {
		return
	}
	attrs := []slog.Attr{
		slog.String(logkey.APIKey, kmsg.NameForKey(key)),
		slog.Int(logkey.APIVersion, int(version)),
		slog.String(logkey.Client, s.who().Client),
	}
	if s.client.id != "" {
		attrs = append(attrs, slog.String(logkey.ClientID, s.client.id))
	}
	if s.client.user != "" {
		attrs = append(attrs, slog.String(logkey.User, s.client.user))
	}
	attrs = append(attrs, slog.String(logkey.Fix, refusalFix))
	l.log.LogAttrs(context.Background(), slog.LevelWarn, "request refused: this listener does not allow it", attrs...)
}

// refusalFix is the advice of a request that the listener's apis refuse.
const refusalFix = "if its clients need it, name it in the listener's apis.allow, or give them another listener"
