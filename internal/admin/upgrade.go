package admin

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Upgrade is a request to hand over to a new process.
type Upgrade struct {
	From string // the client's address
}

// Upgraded is the body of a response about a hand-over that is done: the new process serves.
type Upgraded struct {
	PID      int     `json:"pid"` // of the new process
	Version  string  `json:"version"`
	Sessions int     `json:"sessions"`      // of the old process, which end within DrainFor
	DrainFor float64 `json:"drain_seconds"` // at most
}

// RefusedError says that a hand-over was not begun.
type RefusedError struct{ MistakeError }

// UpgradeTimeout is how long a hand-over may take, with reloads before it.
const UpgradeTimeout = 3 * time.Minute

// upgrades serves /-/upgrade.
type upgrades func(context.Context, Upgrade) (Upgraded, error)

// ServeHTTP responds 200 if the new process serves. Otherwise nothing has changed: 409 if the
// hand-over was not begun, 422 if the new process has failed, with its reasons, and 503 if kproxy
// stops.
func (upgrade upgrades) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(UpgradeTimeout + responseTimeout)) // else the server's, which may be too short
	// A client that leaves does not end it: a new process may serve already.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), UpgradeTimeout)
	defer cancel()
	result, err := upgrade(ctx, Upgrade{From: r.RemoteAddr})
	refused, isRefused := errors.AsType[*RefusedError](err)
	switch {
	case isRefused:
		write(w, http.StatusConflict, Mistakes{[]*MistakeError{&refused.MistakeError}})
	case errors.Is(err, ErrStopping):
		write(w, http.StatusServiceUnavailable, mistakesOf(err))
	case err != nil:
		write(w, http.StatusUnprocessableEntity, mistakesOf(err))
	default:
		w.Header().Set("Connection", "close") // the next request is the new process's
		write(w, http.StatusOK, result)
	}
}
