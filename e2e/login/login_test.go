//go:build e2e

package login

import (
	"testing"
	"time"
)

const (
	// The users of the broker, and those of kproxy. Neither knows the other's.
	username = "frank"
	password = "never-gonna-let-you-down"

	alice         = "alice"
	alicePassword = "in-wonderland"

	// reauth is how long a login at the broker lasts.
	reauth = 5 * time.Second

	toolTimeout = 90 * time.Second
)

func TestLogin(t *testing.T) {
	s := start(t)
	t.Run("round trips", s.roundTrips)
	t.Run("logins that expire", s.expiry)
	t.Run("minting", s.minting)
	t.Run("delegation token passes", s.delegationToken)
	t.Run("wrong password at the broker", s.wrongPasswordAtTheBroker)
	t.Run("wrong password at kproxy", s.wrongPasswordAtKproxy)
	t.Run("read only", s.readOnly)
	t.Run("refused at the broker", s.refusedAtTheBroker)
	if err := s.kproxy.Stop(30 * time.Second); err != nil {
		t.Error(err)
	}
	s.checkLog(t)
}
