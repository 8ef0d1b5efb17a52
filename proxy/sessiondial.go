package proxy

import (
	"context"
	"errors"
	"kproxy/internal/auth"
	"kproxy/internal/relay"
	"kproxy/internal/upstream"
	"kproxy/internal/via"
)

// dial connects the session to its broker: the one whose endpoint the client
// chose, or any for bootstrap. A node that is not known yet is asked for at a
// bootstrap broker.
func (s *session) dial(ctx context.Context) error {
	l := s.endpoint.listener
	c := l.cluster
	to, own, err := s.reach(ctx, c)
	s.mu.Lock()
	s.to = &route{target: to.target, address: to.address, any: own}
	s.mu.Unlock()
	if err != nil {
		return dialFailure(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != nil { // cut meanwhile, when there was no broker to be cut from
		_ = to.conn.Close()
		return s.why
	}
	s.broker, s.plain = to.conn, relay.IsPlainTCP(s.stream) && relay.IsPlainTCP(to.conn)
	s.startRenewing(ctx, &to)
	return nil
}

// reach makes the connection to the session's broker. own says that the broker may
// be sent any request: it is the endpoint's own, or the endpoint is for any.
func (s *session) reach(ctx context.Context, c *servedCluster) (to link, own bool, err error) {
	l := s.endpoint.listener
	if s.endpoint.slot == bootstrapSlot {
		to, err = c.dialAny(ctx, s.party)
		return to, true, err
	}
	c.settle(ctx, func() bool { return c.isNodeDisputed(l.index, s.endpoint.slot) })
	if b, ok := c.nodeAt(l.index, s.endpoint.slot); ok {
		s.node.Store(b.Node)
		to, err = c.dialNode(ctx, b, s.party)
		return to, true, err
	}
	to, err = c.dialAny(ctx, s.party)
	return to, false, err
}

func dialFailure(err error) *ended {
	if _, isLoop := errors.AsType[*upstream.LoopError](err); isLoop {
		return &ended{reason: Loop, err: err, fix: "add a dial rule that leads to the broker itself"}
	}
	if refused, isRefused := errors.AsType[*upstream.RefusedError](err); isRefused {
		return &ended{reason: DialRefused, err: err, fix: refused.Fix}
	}
	if through, isVia := errors.AsType[*via.Error](err); isVia {
		return &ended{reason: DialFailed, err: err, fix: viaFix(through)}
	}
	if fix := adviceOf(err); fix != "" {
		return &ended{reason: DialFailed, err: err, fix: fix}
	}
	if login, isLogin := errors.AsType[*auth.LoginError](err); isLogin {
		return loginFailure(login)
	}
	return &ended{
		reason: DialFailed,
		err:    err,
		fix:    "if the broker runs, add a dial rule from its advertised name to an address that works from here",
	}
}
