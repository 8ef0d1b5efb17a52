package proxy

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/rewrite"
)

// maxRefused bounds the requests that are refused by an answer, which repeats
// what was asked for; a longer one ends the session.
const maxRefused = 1 << 20

// mints are the APIs by which a client could walk away with a login of its own,
// as the proxy's principal: delegation tokens and SCRAM credentials.
var mints = []kmsg.Key{
	kmsg.CreateDelegationToken, kmsg.RenewDelegationToken, kmsg.ExpireDelegationToken, kmsg.DescribeDelegationToken,
	kmsg.DescribeUserSCRAMCredentials, kmsg.AlterUserSCRAMCredentials,
}

// policy says which of the APIs that this build knows a listener refuses.
type policy [kmsg.MaxKey + 1]bool

// policy is what the listener's clients may not ask for.
func (l *listener) newPolicy() *policy {
	var p policy
	if l.cluster.conf.SASL != nil {
		for _, key := range mints {
			p[key] = true
		}
	}
	return &p
}

// refuses reports whether requests with this key are refused.
func (p *policy) refuses(key int16) bool { return key >= 0 && int(key) < len(p) && p[key] }

// refuse answers a request that the listener does not allow, as a broker does
// whose administrator has not.
func (s *session) refuse(r request, frame int) error {
	refusal := &ended{
		reason: APIRefused,
		err:    fmt.Errorf("%s v%d is not allowed on this listener", kmsg.NameForKey(r.key), r.version),
		fix:    "if its clients need it, name it in the listener's apis.allow",
	}
	if frame > maxRefused {
		return refusal
	}
	b, err := s.up.peek(frame)
	if err != nil {
		return err
	}
	h, err := s.readHeader()
	if err != nil {
		return err
	}
	payload, err := rewrite.Refusal(r.key, r.version, b[h.Len:frame], kerr.ClusterAuthorizationFailed.Code)
	if err != nil {
		return refusal
	}
	return s.answer(r, frame, payload)
}

// refuseLogin answers a client's SaslHandshake or SaslAuthenticate where the
// proxy has logged in for it. The broker must not see it, which would take it for
// another login on the connection (KIP-368). The answer is that of a broker on a
// listener without SASL, which is what the client should be configured for.
func (s *session) refuseLogin(r request, frame int) error {
	payload, err := rewrite.Refusal(r.key, r.version, nil, kerr.IllegalSaslState.Code)
	if err != nil {
		return &ended{reason: UnsupportedVersion, err: err, fix: "kproxy logs in for its clients here; take SASL out of the client's configuration"}
	}
	return s.answer(r, frame, payload)
}

// isLogin reports whether a request is part of a client's login.
func isLogin(key int16) bool {
	return key == kmsg.SASLHandshake.Int16() || key == kmsg.SASLAuthenticate.Int16()
}
