package proxy

import (
	"kproxy/internal/auth"
	"kproxy/internal/wire"
	"kproxy/rewrite"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func loginFailure(err *auth.LoginError) *ended {
	return &ended{reason: BrokerLogin, err: err, fix: err.Fix}
}

// tellLoginRefused answers a client's first request, if that is ApiVersions, with
// the reason why there is no broker for it. Clients show the error's name, where
// the end of the connection alone would be a riddle. Any other request has to do
// with that end.
func (s *session) tellLoginRefused(first wire.RequestHeader) {
	if s.user != "" || rewrite.TreatmentOf(first.Key, first.Version) != rewrite.Whole || first.Key != kmsg.ApiVersions.Int16() {
		return
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version, resp.ErrorCode = first.Version, kerr.SaslAuthenticationFailed.Code
	payload := resp.AppendTo(nil) // no version of its header is flexible
	_ = s.client.SetWriteDeadline(time.Now().Add(clientLinger))
	_, _ = s.stream.Write(append(wire.AppendResponsePrefix(nil, first.CorrelationID, len(payload)), payload...))
}
