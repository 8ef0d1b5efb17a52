//go:build linux

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// A pause through kproxy may be this factor of the direct one, plus this time:
	// elections, time-outs and two cores differ from run to run.
	pauseFactor = 1.5
	pauseMore   = 2 * time.Second
	// Where brokers move, it may be only this much longer. That of reading may be as long as
	// elsewhere: the addresses of kproxy stay, so franz-go's consumer asks for offsets on
	// connections that have ended, fails, and waits a second before it asks again. It does so
	// directly, too, when brokers restart at their own addresses; at a new one it dials.
	movedMore = time.Second
	// With sockets in a sockhash, no pause may be longer than this beyond the direct one: no socket
	// may stall because kproxy copies. Where kproxy was away, or brokers move, clients wait for
	// the same reasons as without a sockhash, and the rule is the same.
	hashedMore = time.Second
)

// harmless has the reasons for which a session may end without a fault of kproxy.
var harmless = []string{
	"no_request", "client_closed", "client_reset", "broker_closed", "broker_reset", "dial_failed", "relearn", "drained", "peer_gone",
	"too_many_connections", "broker_moved",
}

// allowance is the longest pause that a run through kproxy may have, beside that of
// the direct one. The time for which kproxy was away counts as a pause of the direct one does:
// clients wait longer and longer between their attempts, here as there.
func allowance(straight time.Duration, via *outcome) time.Duration {
	return time.Duration(float64(straight+via.Away)*pauseFactor) + pauseMore
}

// movedAllowance is allowance where brokers move.
func movedAllowance(straight time.Duration, _ *outcome) time.Duration { return straight + movedMore }

// hashedAllowance is allowance where every socket is in a sockhash.
func hashedAllowance(straight time.Duration, via *outcome) time.Duration {
	if via.Away > 0 {
		return allowance(straight, via)
	}
	return straight + hashedMore
}

// allowances are the longest pauses that a run through kproxy may have.
type allowances struct {
	pause, reading func(straight time.Duration, via *outcome) time.Duration
}

// worse lists the figures in which a run through kproxy was worse than the direct one.
func worse(straight, via *outcome, allowed allowances) []string {
	var why []string
	more := func(what string, straight, via int) {
		if via > straight {
			why = append(why, fmt.Sprintf("%s %d, %d direct", what, via, straight))
		}
	}
	more("lost", straight.Lost, via.Lost)
	more("twice in the log", straight.Twice, via.Twice)
	more("not read", straight.Unread, via.Unread)
	if via.Findings > 0 { // no fault here explains one, nor may the brokers themselves cause one
		why = append(why, fmt.Sprintf("findings of the history %d, %d direct", via.Findings, straight.Findings))
	}
	more("refused", sum(straight.Refused), sum(via.Refused))
	if n := len(via.Others); n > 0 {
		why = append(why, fmt.Sprintf("%d dials of addresses that are not kproxy's", n))
	}
	if most := allowed.pause(straight.Pause, via); via.Pause > most {
		why = append(why, fmt.Sprintf("a pause of %s, %s allowed", seconds(via.Pause), seconds(most)))
	}
	if most := allowed.reading(straight.ReadPause, via); via.ReadPause > most {
		why = append(why, fmt.Sprintf("a pause of reading of %s, %s allowed", seconds(via.ReadPause), seconds(most)))
	}
	for _, reason := range slices.Sorted(maps.Keys(via.Reasons)) {
		if !slices.Contains(harmless, reason) {
			why = append(why, fmt.Sprintf("sessions closed as %s: %d", reason, via.Reasons[reason]))
		}
	}
	return append(why, via.Wrong...)
}

// judge fills in the verdict of a row from its outcomes.
func (r *row) judge(f fault) {
	var why []string
	allowed := allowances{allowance, allowance}
	switch {
	case f.Moves != nil:
		allowed.pause = movedAllowance
	case r.hashed:
		allowed = allowances{hashedAllowance, hashedAllowance}
	}
	for _, p := range []place{near, far} {
		if via := r.outcomes[p]; via != nil {
			for _, w := range worse(r.outcomes[direct], via, allowed) {
				why = append(why, string(p)+": "+w)
			}
		}
	}
	switch {
	case len(why) > 0:
		r.Verdict = "worse: " + strings.Join(why, "; ")
	case f.own() && r.outcomes[near].Away == 0:
		r.Good, r.Verdict = true, "same: "+f.Own
	case f.own():
		r.Good, r.Verdict = true, "as it must be: "+f.Own
	default:
		r.Good, r.Verdict = true, "same"
	}
	r.Direct, r.Near, r.Far = r.outcomes[direct].cell(), r.outcomes[near].cell(), r.outcomes[far].cell()
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
