package proxy

import (
	"context"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/foreign"
	"kproxy/internal/logkey"
	"kproxy/internal/mark"
	"kproxy/rewrite"
)

// who names the session's cluster, listener, node and client.
func (s *session) who() Session {
	l := s.endpoint.listener
	return Session{Cluster: l.cluster.name, Listener: l.name, Node: max(s.node.Load(), NoNode), Client: s.client.from}
}

// rewrote counts the rewritten and dropped addresses of a response, and logs problems that an
// operator must fix.
func (l *listener) rewrote(key int16, notes rewrite.Notes) {
	l.counters.rewrote(key, notes)
	lines := &l.cluster.answerLines
	switch {
	case notes.Dropped == 0:
	case notes.Dropped == notes.Named && key == kmsg.Metadata.Int16(): // a client reads topics with leaders that it cannot find, and asks again until its time is over
		lines.Log(l.log, slog.LevelError, "a response names no broker any more, because none has an endpoint; clients of this listener reach none",
			slog.String(logkey.APIKey, kmsg.NameForKey(key)), slog.Int(logkey.Dropped, notes.Dropped),
			slog.String(logkey.Fix, "widen the listener's nodes range, or pin the nodes"))
	default:
		lines.Log(l.log, slog.LevelWarn, "brokers without an endpoint were left out of a response",
			slog.String(logkey.APIKey, kmsg.NameForKey(key)), slog.Int(logkey.Dropped, notes.Dropped))
	}
	if notes.TxnLowered {
		lines.Log(l.log, slog.LevelError, "Produce is newer than this build understands and had to be lowered; transactions will fail",
			slog.String(logkey.Fix, "upgrade kproxy"))
	}
	for _, hidden := range notes.Hidden {
		if _, parsed := rewrite.MaxVersion(hidden); parsed {
			lines.Log(l.log, slog.LevelError, "the brokers no longer speak any version of an API that this build understands; it is hidden",
				slog.String(logkey.APIKey, kmsg.NameForKey(hidden)), slog.String(logkey.Fix, "upgrade kproxy"))
		}
	}
}

// misrouted counts and logs that the session's broker is not the one that its client names.
func (s *session) misrouted() {
	l, to := s.endpoint.listener, s.broker.to
	l.counters.routing.misrouted(to.target.Node)
	l.cluster.answerLines.Log(l.log, slog.LevelWarn, "the broker says that it is not the one that a client asks for, or not of that cluster",
		slog.Int(logkey.Node, int(to.target.Node)), slog.String(logkey.Upstream, to.address),
		slog.String(logkey.Client, s.client.from), slog.String(logkey.ClientID, s.client.id),
		slog.String(logkey.Fix, "see whether a balancer or a dial rule leads to another broker: kproxy check --live; if it is this client alone, restart it"))
}

// isAnyones reports whether everyone who reaches the port can have sessions end like
// this one, in any number: such lines are merged.
func (s *session) isAnyones(reason CloseReason) bool {
	return reason != NoRequest && (s.broker.to == nil || reason == HeldBytes || reason == HoldTimeout)
}

// ending returns the kind of the session's end, but for its cause, and the text of its error.
func (s *session) ending(why *ended) (e ending, text string) {
	if why.err != nil {
		text = foreign.Line(why.err.Error())
	}
	return ending{listener: s.endpoint.listener, reason: why.reason, source: s.client.addrs.Addr.Addr(), client: s.client.id}, text
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
		Upstream:   s.broker.address(),
		BytesUp:    s.up.Moved(),
		BytesDown:  s.down.Moved(),
		FramesUp:   s.up.Frames.Load(),
		FramesDown: s.down.Frames.Load(),
		Duration:   took,
		Idle:       mark.Mark(max(s.up.Active.Load(), s.down.Active.Load())).Age(now),
	}
	who := s.who()
	s.proxy.conf().Observer.sessionClosed(who, endOf)
	if s.isAnyones(why.reason) && s.proxy.repeats.merges(s.ending(why)) {
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
	if s.client.tlvs != "" {
		attrs = append(attrs, slog.String(logkey.TLVs, s.client.tlvs))
	}
	if s.client.serverName != "" {
		attrs = append(attrs, slog.String(logkey.ServerName, s.client.serverName))
	}
	if s.client.id != "" {
		attrs = append(attrs, slog.String(logkey.ClientID, s.client.id))
	}
	if s.client.user != "" {
		attrs = append(attrs, slog.String(logkey.User, s.client.user))
	}
	if endOf.Upstream != "" {
		attrs = append(attrs, slog.String(logkey.Upstream, foreign.LineOf(endOf.Upstream, maxNameShown)))
	}
	if through := s.way().Via(); through != nil {
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
