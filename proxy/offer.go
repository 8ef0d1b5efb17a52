package proxy

import (
	"context"
	"kproxy/internal/endpoints"
	"kproxy/internal/inflight"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// offer answers ApiVersions for a client that has not logged in.
func (a *arrival) offer(ctx context.Context, version int16) ([]byte, error) {
	s := a.s
	l := s.endpoint.listener
	var node *endpoints.Broker // nil: any
	if s.endpoint.slot != bootstrapSlot {
		if b, ok := l.cluster.NodeAt(l.index, s.endpoint.slot); ok {
			node = &b
		}
	}
	payload, err := l.cluster.APIVersions(ctx, node, version)
	if err != nil {
		return nil, dialFailure(err)
	}
	r := inflight.Request{Key: kmsg.ApiVersions.Int16(), Version: version}
	out, notes, err := l.rewriter.Whole(r.Key, version, payload)
	if err != nil {
		return nil, end(BadAnswer, err)
	}
	s.rewrote(r, notes)
	return out, nil
}
