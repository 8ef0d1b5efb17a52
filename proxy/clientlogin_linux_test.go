package proxy

import (
	"context"
	"errors"
	"net"
	"testing"

	"kproxy/internal/auth"
	"kproxy/internal/portlab"
)

// A client that has left does not get its password checked.
func TestPasswordOfAClientThatHasLeft(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		leave func(*net.TCPConn) error
		want  CloseReason
	}{
		"it stays":         {func(*net.TCPConn) error { return nil }, ""},
		"it closes":        {(*net.TCPConn).Close, ClientClosed},
		"it ends its side": {(*net.TCPConn).CloseWrite, ClientClosed},
		"it resets":        {func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) }, ClientClosed},
	} {
		near, far := portlab.TCPPair(t)
		if err := tt.leave(far); err != nil {
			t.Fatal(err)
		}
		s := &clientLogin{s: &session{client: clientSide{conn: near}}}
		var got CloseReason
		if why, ok := errors.AsType[*ended](s.stays()); ok {
			got = why.reason
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// A password that nothing was found out about does not look wrong to the client: it
// gets no response, and the session ends for the reason that holds.
func TestUncheckedPasswords(t *testing.T) {
	t.Parallel()
	left := end(ClientClosed, nil)
	for _, tt := range []struct {
		err  error
		want CloseReason
	}{
		{auth.ErrTooMany, TooManyLogins}, {context.DeadlineExceeded, TooManyLogins}, {left, ClientClosed},
	} {
		s := &clientLogin{s: &session{}}
		why, ok := errors.AsType[*ended](s.unchecked(tt.err))
		if !ok || why.reason != tt.want {
			t.Errorf("%v: got %v, want %q", tt.err, why, tt.want)
		}
	}
	s := &clientLogin{s: &session{}}
	s.s.life.leave(askDrain)
	if why, _ := errors.AsType[*ended](s.stays()); why == nil || why.reason != Drained {
		t.Errorf("a session that drains waits for its turn: %v", why)
	}
}
