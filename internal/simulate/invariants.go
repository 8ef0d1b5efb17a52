package simulate

import (
	"fmt"
	"slices"
	"time"

	"kproxy/internal/auth"
	"kproxy/internal/relay"
	"kproxy/proxy"
)

// checkNow checks the invariants that hold at every moment.
func (r *run) checkNow() {
	if r.Quiet != nil {
		r.Quiet()
	}
	stats := r.proxy.Stats()
	for _, c := range stats.Clusters {
		for _, l := range c.Listeners {
			var active, closed int64
			for _, count := range l.Active {
				active += count.Count
			}
			for _, count := range l.Closed {
				closed += count.Count
			}
			if l.Opened != active+closed {
				r.fail("%s: %d sessions opened, %d active and %d closed", l.Name, l.Opened, active, closed)
			}
		}
	}
	if stats.HeldBytes < 0 {
		r.fail("%d bytes are held", stats.HeldBytes)
	}
	// Each session may hold a little without a limit. Without a quiet moment the budget may
	// just have refused some bytes, and not have taken them out again.
	if most := stats.MaxHeldBytes + int64(len(r.records.list()))*2*relay.FreeBytes; r.Quiet != nil && stats.HeldBytes > most {
		r.fail("%d bytes are held, the limit is %d", stats.HeldBytes, stats.MaxHeldBytes)
	}
}

// checkAll checks the invariants that hold at the end of a run.
func (r *run) checkAll() {
	r.checkNow()
	if held := r.proxy.Stats().HeldBytes; held != 0 {
		r.fail("%d bytes are held at the end", held)
	}
	for _, side := range []Network{r.Outside, r.Inside} {
		if memory, ok := side.(*Memory); ok && memory.Open() > 0 {
			r.fail("%d ends of connections are open at the end", memory.Open())
		}
	}
	r.matchEnds()
	r.checkCounts()
	for _, rec := range r.records.list() {
		r.checkRecord(rec)
	}
}

// promptly is how long a session without a broker may last in a drain: less than a client has for
// its first request.
const promptly = 15 * time.Second

// matchEnds gives each record its session's end. Each accepted connection has one.
func (r *run) matchEnds() {
	ended := map[string]int{}
	for _, e := range r.ends {
		if after := e.at.Sub(r.draining); !r.draining.IsZero() && e.end.Upstream == "" && after > promptly {
			r.fail("the session of %s, which had no broker, has ended %s after the drain began", e.session.Client, after)
		}
		address := e.session.Client
		if rec := r.records.at(address); rec != nil {
			rec.ends = append(rec.ends, e)
			address = rec.socket
		}
		ended[address]++
	}
	for address, when := range r.accepted {
		n := ended[address]
		delete(ended, address)
		// A connection that is accepted while the proxy shuts down is no session.
		late := !r.draining.IsZero() && when.Add(time.Second).After(r.draining)
		if n > 1 || n == 0 && !late {
			r.fail("the connection from %s has ended %d times", address, n)
		}
	}
	for address := range ended {
		r.fail("a session of %s has ended, and there is no such connection", address)
	}
}

// checkCounts compares bob's counts with the ends that were reported.
func (r *run) checkCounts() {
	want := map[proxy.CloseReason]int64{}
	for _, e := range r.ends {
		if e.session.Listener == "bob" {
			want[e.end.Reason]++
		}
	}
	got := map[proxy.CloseReason]int64{}
	for _, l := range r.proxy.Stats().Clusters[0].Listeners {
		if l.Name != "bob" {
			continue
		}
		for _, count := range l.Active {
			r.fail("%d sessions of node %d are active at the end", count.Count, count.Node)
		}
		for _, count := range l.Closed {
			got[count.Reason] += count.Count
		}
	}
	for reason, n := range want {
		if got[reason] != n {
			r.fail("%d sessions are counted as %s, and %d have ended so", got[reason], reason, n)
		}
		delete(got, reason)
	}
	for reason, n := range got {
		r.fail("%d sessions are counted as %s, and none has ended so", n, reason)
	}
}

// checkRecord checks one client's connection.
func (r *run) checkRecord(rec *record) {
	if len(rec.ends) != 1 { // it was not accepted; matchEnds has the others
		return
	}
	end, at := rec.ends[0].end, rec.ends[0].at
	explain, known := reasons[end.Reason]
	switch {
	case r.Fails && known && (end.Err != nil || !slices.Contains(orderly, end.Reason)):
		return // a system call has failed
	case !known:
		r.fail("client %d: its session has ended as %q, which is no reason here", rec.number, end.Reason)
		return
	case !explain(r, rec):
		r.fail("client %d: its session has ended as %s (%v), and nothing in the script explains that: %s", rec.number, end.Reason, end.Err, rec.state())
		return
	}
	switch isLimited := slices.Contains(limited, end.Reason); {
	case isLimited && r.held && end.Err != nil:
		return // the broker was silent for too long
	case (isLimited || end.Reason == proxy.Drained && rec.reached == 0) && rec.end == "error" && rec.isBeforeLogin():
		return // a reset, which clients take for a broker that is down
	case end.Reason == proxy.Drained && !r.draining.IsZero() && at.Sub(r.draining) >= r.conf.Drain:
		return // its last response was still on the way when the time for the drain was over
	case rec.end == "error" && r.jumpsAt(at):
		return // kproxy waits a second for the client to close, and then its next bytes reset the connection
	}
	for _, fault := range rec.faults(end) {
		r.fail("client %d: its session has ended as %s (%v) after %s, %d requests and %d responses, and %s: %s", rec.number, end.Reason, end.Err,
			end.Duration, end.FramesUp, end.FramesDown, fault, rec.state())
	}
}

// state is a record for a reader.
func (r *record) state() string {
	return fmt.Sprintf("sent %d, received %d, read by a broker %d, answered %d, half-closed %t, closed %t, inside %t, cut by the broker %q, the client's reading ended by %q",
		len(r.sent), r.received, r.read, r.answered, r.halfClosed, r.closed, r.inside, r.cut, r.end)
}

// orderly are the reasons by which a client gets everything that it is owed first.
var orderly = []proxy.CloseReason{proxy.ClientClosed, proxy.IdleTimeout, proxy.BrokerMoved, proxy.MaxAge, proxy.Drained, proxy.Relearn}

// limited are those of them that wait a minute for a silent broker, and no longer.
var limited = []proxy.CloseReason{proxy.ClientClosed, proxy.BrokerMoved, proxy.Relearn}

// faults returns the faults of a session that has ended for a good reason.
func (r *record) faults(end proxy.SessionEnd) []string {
	if r.closed { // the client has left: responses can be lost
		return nil
	}
	var all []string
	due := r.read - r.silentRead()
	own := r.own(r.awaited)
	whole := len(r.sent)
	if r.inside {
		whole--
	}
	switch {
	case slices.Contains(orderly, end.Reason) && r.cut == "":
		if r.received != due+own {
			all = append(all, fmt.Sprintf("the client has %d responses, and %d were due", r.received, due+own))
		}
		if r.end == "inside" {
			all = append(all, "its last response is cut")
		}
		// A client that ends its side before it has logged in has left.
		begun, known := r.begun(end)
		if end.Reason == proxy.ClientClosed && !r.inside && known && begun != whole && (r.logsIn == "" || end.Upstream != "") {
			all = append(all, fmt.Sprintf("kproxy has read %d of %d requests", begun, whole))
		}
		if asked := end.Reason != proxy.ClientClosed && end.Reason != proxy.Relearn; asked && known && end.Upstream != "" && end.Err == nil {
			unchecked := begun > 0 && begun <= whole && isLogin(r.sent[begun-1].name) && r.received+r.silent(begun) == begun-1
			if r.received+r.silent(begun) != begun && !unchecked { // a password whose check has not begun has no response
				all = append(all, fmt.Sprintf("kproxy has read %d requests, and the client has %d responses", begun, r.received))
			}
		}
	case end.Reason == proxy.BrokerClosed && r.cut == "fin":
		if r.received < r.answered {
			all = append(all, fmt.Sprintf("the client has %d responses, and the broker had sent %d", r.received, r.answered))
		}
	}
	return all
}

// begun returns how many requests kproxy has begun to read, with the tokens that have no headers, which
// it does not count. known says that it cannot have been inside of those.
func (r *record) begun(end proxy.SessionEnd) (n int, known bool) {
	n = int(end.FramesUp)
	tokens := 0
	for _, c := range r.sent {
		if c.raw {
			tokens++
		}
	}
	if tokens == 0 {
		return n, true
	}
	return n + tokens, n > 1
}

// isBeforeLogin reports whether brokers have read requests only that come before a login, or that have no
// response.
func (r *record) isBeforeLogin() bool {
	for _, c := range r.sent[:r.reached] {
		if c.name != "versions" && c.name != future && !isLogin(c.name) && exchanges[c.name].response != nil {
			return false
		}
	}
	return true
}

// silentRead counts the requests without a response that a broker has read.
func (r *record) silentRead() int { return r.silent(r.reached) }

// reasons are the reasons for which a session may end here, each with a test whether the script
// explains it.
var reasons = map[proxy.CloseReason]func(r *run, rec *record) bool{
	proxy.NoRequest:    func(_ *run, rec *record) bool { return rec.left() && rec.received == 0 },
	proxy.ClientClosed: func(_ *run, rec *record) bool { return rec.left() },
	proxy.ClientReset:  func(_ *run, rec *record) bool { return rec.closed },
	proxy.BrokerClosed: func(r *run, _ *record) bool { return r.brokers.cuts > 0 },
	proxy.BrokerReset:  func(r *run, _ *record) bool { return r.brokers.cuts > 0 },
	proxy.DialFailed:   func(r *run, _ *record) bool { return r.brokers.cuts > 0 || r.held || !r.draining.IsZero() },
	proxy.BrokerLogin:  func(r *run, _ *record) bool { return r.script.Settings.Lifetime > 0 && (r.brokers.cuts > 0 || r.held) },
	proxy.Relearn:      func(_ *run, rec *record) bool { return rec.node >= 0 },
	proxy.BrokerMoved:  func(r *run, rec *record) bool { return rec.node >= 0 && r.brokers.moves > 0 },
	proxy.IdleTimeout:  func(r *run, _ *record) bool { return r.idle },
	proxy.MaxAge:       func(r *run, _ *record) bool { return r.script.Settings.MaxAge > 0 },
	proxy.TLSClosed:    func(_ *run, rec *record) bool { return rec.unsafe || rec.left() },
	proxy.TLSTimeout:   func(r *run, _ *record) bool { return r.jumped },
	// A client that does not read cannot log in by SCRAM: its last token depends on the server's first one.
	proxy.ClientLogin: func(r *run, rec *record) bool {
		return rec.refused || rec.logsIn == atKproxy && (r.jumped || rec.paused && rec.by != auth.Plain)
	},
	proxy.FirstRequestTimeout: func(_ *run, rec *record) bool { return rec.received == 0 },
	proxy.HoldTimeout:         func(r *run, _ *record) bool { return r.jumped },
	proxy.HeldBytes:           func(r *run, _ *record) bool { return r.script.Settings.Held > 0 },
	proxy.TooManyConnections:  func(r *run, rec *record) bool { return rec.listener == "bob" && r.limited },
	proxy.TooManyFromSource:   func(r *run, rec *record) bool { return rec.listener == "bob" && r.limited },
	proxy.Drained:             func(r *run, rec *record) bool { return r.drains(rec) },
	// A broker that takes its time for each of many requests takes longer than a drain may.
	proxy.DrainTimeout: func(r *run, rec *record) bool {
		slow := time.Duration(len(rec.sent))*r.brokers.slowest >= r.conf.Drain
		return r.drains(rec) && (rec.began || rec.paused || r.jumped || r.conf.Drain < time.Minute || slow)
	},
}

// left reports whether the client has ended its side.
func (r *record) left() bool { return r.halfClosed || r.closed }

// drains reports whether the client's listener was asked to drain.
func (r *run) drains(rec *record) bool {
	return !r.draining.IsZero() || rec.listener == "fred" && r.removed
}
