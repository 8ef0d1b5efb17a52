package proxy

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// maxRefused bounds the requests that are refused by an answer, which repeats
// what was asked for; a longer one ends the session. A producer's batch fits.
const maxRefused = 2 << 20

// refuse answers a request that the listener does not allow, as a broker does
// whose administrator has not. What has no such answer ends the session.
func (s *session) refuse(r request, frame int) error {
	refusal := &ended{
		reason: APIRefused,
		err:    fmt.Errorf("%s v%d is not allowed on this listener", kmsg.NameForKey(r.key), r.version),
		fix:    "if its clients need it, name it in the listener's apis.allow",
	}
	if frame > maxRefused {
		return refusal
	}
	b, h, err := s.wholeRequest(frame)
	if err != nil {
		return err
	}
	if h.Len > frame {
		return end(BadRequest, wire.ErrMalformed)
	}
	if r.key == kmsg.Produce.Int16() {
		switch acks, err := wire.ProduceAcks(b[:frame], h, rewrite.FlexibleRequest(r.key, r.version)); {
		case err != nil:
			return end(BadRequest, err)
		case acks == 0:
			return refusal // as a broker's refusal of what it does not answer
		}
	}
	payload, err := rewrite.Refusal(r.key, r.version, b[h.Len:frame])
	switch {
	case errors.Is(err, wire.ErrShort), errors.Is(err, wire.ErrMalformed):
		return end(BadRequest, err)
	case err != nil:
		return refusal
	}
	return s.answer(r, frame, payload)
}

// refuseLogin answers a client's SaslHandshake or SaslAuthenticate where the
// proxy has logged in for it. The broker must not see it, which would take it for
// another login on the connection (KIP-368). The answer is that of a broker on a
// listener without SASL, which is what the client should be configured for.
func (s *session) refuseLogin(r request, frame int) error {
	payload, err := rewrite.IllegalSASLState(r.key, r.version)
	if err != nil {
		return &ended{reason: UnsupportedVersion, err: err, fix: "kproxy logs in for its clients here; take SASL out of the client's configuration"}
	}
	return s.answer(r, frame, payload)
}

// refuseRawTokens answers SaslHandshake v0 where requests are filtered: what
// would follow it are frames that nobody looks into.
func (s *session) refuseRawTokens(r request, frame int) error {
	payload, err := rewrite.UnsupportedVersion(r.key, r.version)
	if err != nil {
		return end(APIRefused, err)
	}
	return s.answer(r, frame, payload)
}

// isLogin reports whether a request is part of a client's login.
func isLogin(key int16) bool {
	return key == kmsg.SASLHandshake.Int16() || key == kmsg.SASLAuthenticate.Int16()
}
