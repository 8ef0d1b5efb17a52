package proxy

import (
	"context"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/foreign"
	"kproxy/internal/inflight"
	"kproxy/internal/logkey"
	"kproxy/internal/mark"
	"kproxy/rewrite"
)

// rewriter returns what changes responses for this session's client.
func (s *session) rewriter() rewrite.Rewriter {
	r := s.endpoint.listener.rewriter
	r.Translate = s.translate
	return r
}

// who names the session's cluster, listener, node and client.
func (s *session) who() Session {
	l := s.endpoint.listener
	return Session{Cluster: l.cluster.conf.Name, Listener: l.conf.Name, Node: max(s.node.Load(), NoNode), Client: s.from}
}

// upstream is where the broker was dialled; "" if it was not.
func (s *session) upstream() string {
	if s.to == nil {
		return ""
	}
	return s.to.address
}

// rewrote counts what became of the addresses of a response, and logs what an operator has to
// mend.
func (s *session) rewrote(r inflight.Request, notes rewrite.Notes) {
	l := s.endpoint.listener
	l.counters.rewrote(r.Key, notes)
	lines := &l.cluster.answerLines
	switch {
	case notes.Dropped == 0:
	case notes.Dropped == notes.Named && r.Key == kmsg.Metadata.Int16(): // a client reads topics with leaders that it cannot find, and asks again until its time is over
		lines.Log(l.log, slog.LevelError, "a response names no broker any more, because none has an endpoint; clients of this listener reach none",
			slog.String(logkey.APIKey, kmsg.NameForKey(r.Key)), slog.Int(logkey.Dropped, notes.Dropped),
			slog.String(logkey.Fix, "widen the listener's nodes range, or pin the nodes"))
	default:
		lines.Log(l.log, slog.LevelWarn, "brokers without an endpoint were left out of a response",
			slog.String(logkey.APIKey, kmsg.NameForKey(r.Key)), slog.Int(logkey.Dropped, notes.Dropped))
	}
	if notes.TxnLowered {
		lines.Log(l.log, slog.LevelError, "Produce is newer than this build understands and had to be lowered; transactions will fail",
			slog.String(logkey.Fix, "upgrade kproxy"))
	}
	for _, key := range notes.Hidden {
		if _, parsed := rewrite.MaxVersion(key); parsed {
			lines.Log(l.log, slog.LevelError, "the brokers no longer speak any version of an API that this build understands; it is hidden",
				slog.String(logkey.APIKey, kmsg.NameForKey(key)), slog.String(logkey.Fix, "upgrade kproxy"))
		}
	}
}

// isAnyones reports whether everyone who reaches the port can have sessions end like
// this one, in any number: such lines are merged.
func (s *session) isAnyones(reason CloseReason) bool {
	return reason != NoRequest && (s.to == nil || reason == HeldBytes || reason == HoldTimeout)
}

// report logs the session's end, in one line: who, where, how long, how much,
// and why. Ends before a first request are merged, but for those of health checks,
// which only the level debug shows.
func (s *session) report() {
	why := s.life.ended()
	now := time.Now()
	took := now.Sub(s.opened)
	endOf := SessionEnd{
		Reason:     why.reason,
		Err:        why.err,
		Upstream:   s.upstream(),
		BytesUp:    s.up.Moved(),
		BytesDown:  s.down.Moved(),
		FramesUp:   s.up.Frames.Load(),
		FramesDown: s.down.Frames.Load(),
		Duration:   took,
		Idle:       mark.Mark(max(s.up.Active.Load(), s.down.Active.Load())).Age(now),
	}
	who := s.who()
	s.proxy.conf.Observer.sessionClosed(who, endOf)
	if s.isAnyones(why.reason) &&
		s.proxy.repeats.merges(ending{s.endpoint.listener, why.reason, s.party.Addr.Addr(), foreign.Line(s.clientID)}) {
		return
	}
	attrs := []slog.Attr{
		slog.String(logkey.Reason, string(endOf.Reason)),
		slog.String(logkey.Client, who.Client),
		slog.Int(logkey.Node, int(who.Node)),
		slog.Duration(logkey.Duration, endOf.Duration),
		slog.Duration(logkey.Idle, endOf.Idle),
		slog.Int64(logkey.BytesUp, endOf.BytesUp),
		slog.Int64(logkey.BytesDown, endOf.BytesDown),
		slog.Int64(logkey.FramesUp, endOf.FramesUp),
		slog.Int64(logkey.FramesDown, endOf.FramesDown),
	}
	if s.tlvs != "" {
		attrs = append(attrs, slog.String(logkey.TLVs, s.tlvs))
	}
	if s.name != "" {
		attrs = append(attrs, slog.String(logkey.ServerName, foreign.LineOf(s.name, maxNameShown)))
	}
	if s.clientID != "" {
		attrs = append(attrs, slog.String(logkey.ClientID, foreign.Line(s.clientID)))
	}
	if s.user != "" {
		attrs = append(attrs, slog.String(logkey.User, s.user))
	}
	if endOf.Upstream != "" {
		attrs = append(attrs, slog.String(logkey.Upstream, foreign.LineOf(endOf.Upstream, maxNameShown)))
	}
	if through := s.endpoint.listener.cluster.Via; through != nil {
		attrs = append(attrs, slog.String(logkey.Via, through.String()))
	}
	if endOf.Err != nil {
		attrs = append(attrs, slog.Any(logkey.Error, endOf.Err))
	}
	if why.fix != "" {
		attrs = append(attrs, slog.String(logkey.Fix, why.fix))
	}
	s.endpoint.listener.log.LogAttrs(context.Background(), traitsOf[why.reason].level, "session closed", attrs...)
}
