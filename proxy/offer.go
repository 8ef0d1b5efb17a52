package proxy

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/endpoints"
)

// offer answers ApiVersions for a client that has not logged in.
func (a *arrival) offer(ctx context.Context, version int16) ([]byte, error) {
	s := a.s
	l := s.endpoint.listener
	var node *endpoints.Broker // nil: any
	if s.endpoint.slot != bootstrapSlot {
		if b, ok := l.cluster.NodeAt(l.name, s.endpoint.slot); ok {
			node = &b
		}
	}
	payload, err := l.cluster.APIVersions(ctx, node, version)
	if err != nil {
		return nil, dialFailure(err)
	}
	out, notes, err := l.conf().rewriter.Whole(kmsg.ApiVersions.Int16(), version, payload)
	if err != nil {
		return nil, end(BadAnswer, err)
	}
	l.rewrote(kmsg.ApiVersions.Int16(), notes)
	return out, nil
}
