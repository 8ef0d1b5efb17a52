package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"kproxy/internal/errlist"
)

// Reload is a request to apply the configuration file.
type Reload struct {
	DryRun bool   // find the differences and the mistakes, and change nothing
	Live   bool   // try the brokers and the advertised addresses before; a fault is a mistake
	From   string // the client's address
}

// Kind is the kind of a [Difference].
type Kind string

// The kinds.
const (
	Added   Kind = "added"
	Removed Kind = "removed"
	Changed Kind = "changed"
)

// Difference is one difference between the configuration in use and that of the file.
type Difference struct {
	Kind Kind   `json:"change"`
	Key  string `json:"key"`
	Was  string `json:"was,omitempty"` // as in the file, without secrets
	Now  string `json:"now,omitempty"`
}

// Removal is a listener that a reload closes, by itself or with its cluster.
type Removal struct {
	Cluster  string `json:"cluster"`
	Listener string `json:"listener"`
	Sessions int    `json:"sessions"` // that are open
}

// Reloaded is the body of a response about a valid configuration.
type Reloaded struct {
	Generation int          `json:"generation"` // of the configuration in use
	Applied    bool         `json:"applied"`    // false: it was a dry run
	Changes    []Difference `json:"changes"`
	LeftOut    int          `json:"left_out,omitempty"` // further changes
	Removes    []Removal    `json:"removes,omitempty"`
}

// MistakeError is one mistake in a configuration.
type MistakeError struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"` // 0: it is not in the file
	Column  int    `json:"column,omitempty"`
	Key     string `json:"key,omitempty"`
	Problem string `json:"problem"`
	Fix     string `json:"fix,omitempty"`
}

// Place is the mistake with its place, without its fix: FILE:LINE:COLUMN: key: problem.
func (m *MistakeError) Place() string {
	text := m.Problem
	if m.Key != "" {
		text = m.Key + ": " + text
	}
	switch {
	case m.File != "" && m.Line > 0:
		return fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Column, text)
	case m.File != "":
		return m.File + ": " + text
	default:
		return text
	}
}

// Error is the mistake with its place and its fix, in one line.
func (m *MistakeError) Error() string {
	if m.Fix == "" {
		return m.Place()
	}
	return m.Place() + "; " + m.Fix
}

// Mistakes is the body of a response about a configuration that is not applied.
type Mistakes struct {
	Errors []*MistakeError `json:"errors"`
}

// ErrStopping says that a configuration is not applied because kproxy stops.
var ErrStopping = errors.New("kproxy is stopping")

// reloadTimeout is how long a reload may take, with those before it.
const reloadTimeout = 2 * time.Minute

// reloads serves /-/reload.
type reloads func(context.Context, Reload) (Reloaded, error)

// ServeHTTP responds 200, 422 with every mistake, or 503 if there was no time. The dry run is asked for by
// ?dry_run or ?dry_run=true, the trial by ?check=live.
func (reload reloads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	dry := query.Get("dry_run")
	request := Reload{From: r.RemoteAddr}
	switch {
	case dry == "true" || dry == "" && query.Has("dry_run"):
		request.DryRun = true
	case dry != "" && dry != "false":
		write(w, http.StatusBadRequest, Mistakes{[]*MistakeError{{Key: "dry_run", Problem: "neither true nor false", Fix: "write ?dry_run=true, or leave it out"}}})
		return
	}
	switch check := query.Get("check"); check {
	case "live":
		request.Live = true
	case "":
	default:
		write(w, http.StatusBadRequest, Mistakes{[]*MistakeError{{Key: "check", Problem: "it can only be live", Fix: "write ?check=live, or leave it out"}}})
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(reloadTimeout + responseTimeout)) // else the server's, which may be too short
	ctx, cancel := context.WithTimeout(r.Context(), reloadTimeout)
	defer cancel()
	result, err := reload(ctx, request)
	switch {
	case errors.Is(err, ErrStopping) || err != nil && ctx.Err() != nil:
		write(w, http.StatusServiceUnavailable, mistakesOf(err))
	case err != nil:
		write(w, http.StatusUnprocessableEntity, mistakesOf(err))
	default:
		write(w, http.StatusOK, result)
	}
}

// mistakesOf returns the body about an error, which may join several.
func mistakesOf(err error) Mistakes {
	var body Mistakes
	for _, err := range errlist.Of(err) {
		m, ok := err.(*MistakeError) //nolint:errorlint // the caller's list has them as they are
		if !ok {
			m = &MistakeError{Problem: err.Error()}
		}
		body.Errors = append(body.Errors, m)
	}
	return body
}
