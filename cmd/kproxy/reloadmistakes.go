package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/foreign"
	"kproxy/internal/logkey"
	"kproxy/proxy/config"
)

// mistakesOf returns the mistakes in a file that an error of parseConfig or
// settings.mistakes joins; one at least.
func mistakesOf(file string, err error) []*admin.MistakeError {
	var all []*admin.MistakeError
	for _, err := range unjoin(err) {
		m := &admin.MistakeError{Problem: foreign.LineOf(err.Error(), maxErrorLine)}
		if found, ok := errors.AsType[*mistake](err); ok && found.at != (place{}) {
			m.File, m.Line, m.Column = file, found.at.line, found.at.column
			m.Problem = foreign.LineOf(found.Error(), maxErrorLine)
		}
		if bad, ok := errors.AsType[*config.Error](err); ok {
			m.File = file
			m.Key, m.Problem, m.Fix = foreign.LineOf(bad.Key, maxErrorLine), foreign.LineOf(bad.Problem, maxErrorLine), foreign.LineOf(bad.Fix, maxErrorLine)
		}
		all = append(all, m)
	}
	return all
}

// fail notes and logs mistakes, unless it is a dry run, and returns them as
// [*admin.MistakeError]s, joined.
func (r *reloader) fail(t trigger, err error) error {
	all := mistakesOf(r.file, err)
	errs := make([]error, len(all))
	for i, m := range all {
		errs[i] = m
	}
	err = errors.Join(errs...)
	if t.dryRun {
		return err
	}
	if isNew := r.noteFailure(all[0], err); isNew || t.by != byFile {
		r.logFailure(t, all)
	}
	return err
}

// noteFailure notes a failure for the metrics and /readyz. isNew is false if the log has it
// already, of the same content.
func (r *reloader) noteFailure(first *admin.MistakeError, err error) (isNew bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.reported
	r.reported = string(r.tried[:]) + err.Error()
	r.failure, r.held = foreign.LineOf(first.Error(), maxLogged), nil
	r.state.LastReload, r.state.Failed = time.Now(), true
	r.state.Reloads.Refused++
	return r.reported != before
}

func (r *reloader) logFailure(t trigger, all []*admin.MistakeError) {
	for i, m := range all {
		if i == maxLoggedLines {
			r.log.Error("the configuration is not reloaded: there are more mistakes", t.attrs(slog.Int(logkey.LeftOut, len(all)-i))...)
			break
		}
		r.log.Error("the configuration is not reloaded", t.attrs(slog.String(logkey.Error, m.Place()), slog.String(logkey.Fix, cmp.Or(m.Fix, "correct the file; kproxy check finds its mistakes")))...)
	}
}

// holdsBack reports whether a change waits for the operator, and then notes and logs that:
// it removes listeners that have sessions, or protections.
func (r *reloader) holdsBack(next *nextConfig, removals []admin.Removal) bool {
	const fix = "kproxy reload, SIGHUP or a restart applies it, on Kubernetes kubectl rollout restart; kproxy reload --dry-run shows it"
	var held []string
	hold := func(what, message string, attrs ...any) {
		if held = append(held, what); len(held) <= maxLoggedLines {
			r.log.Warn(message, append(attrs, slog.Int(logkey.Changes, len(next.changes)), slog.String(logkey.By, byFile), slog.String(logkey.Fix, fix))...)
		}
	}
	for _, l := range removals {
		if l.Sessions > 0 {
			hold(fmt.Sprintf("listener %s of cluster %s, with %s", l.Listener, l.Cluster, count(l.Sessions, "session")),
				"the configuration file has changed, and is not applied: it removes a listener with sessions",
				slog.String(logkey.Cluster, l.Cluster), slog.String(logkey.Listener, l.Listener), slog.Int(logkey.Sessions, l.Sessions))
		}
	}
	for _, key := range lostProtections(r.settings().keys, next.settings.keys) {
		hold(key, "the configuration file has changed, and is not applied: it removes a protection",
			slog.String(logkey.Error, key+": removed, in whole or in part"))
	}
	if len(held) == 0 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Reloads.HeldBack++
	r.held, r.failure, r.decided = held[:min(len(held), maxLoggedLines)], "", next.settings.digest
	return true
}
