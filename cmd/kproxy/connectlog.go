package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"kproxy/internal/connect"
	"kproxy/internal/foreign"
	"kproxy/internal/logkey"
	"kproxy/proxy"
)

const (
	// briefInterval is how long similar warnings are counted before a line has their
	// number: a client that retries causes one for each try.
	briefInterval = 10 * time.Second
	// maxBriefKinds is how many kinds of warnings are distinguished.
	maxBriefKinds = 64
	// maxBriefLine is the most characters of a line: a person reads it.
	maxBriefLine = 160
)

// briefLog writes warnings for a person at a terminal: one short line each, with the
// reason and the fix. Of warnings that differ only in their time, the first is written,
// and the others are counted.
type briefLog struct {
	w io.Writer

	mu    sync.Mutex // guards the following
	kinds map[briefKind]*briefCount
}

// briefKind is the common part of warnings that are counted together.
type briefKind struct{ reason, node, client string }

// briefCount counts the warnings of a kind since its last line.
type briefCount struct {
	since time.Time
	more  int
	due   *time.Timer
}

func newBriefLog(w io.Writer) *briefLog {
	return &briefLog{w: w, kinds: map[briefKind]*briefCount{}}
}

// logger returns a logger for warnings and errors.
func (b *briefLog) logger() *slog.Logger { return slog.New(&briefHandler{log: b}) }

// close writes the counts that are left.
func (b *briefLog) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	kinds := make([]briefKind, 0, len(b.kinds))
	for k := range b.kinds {
		kinds = append(kinds, k)
	}
	slices.SortFunc(kinds, func(x, y briefKind) int { return strings.Compare(x.String(), y.String()) })
	for _, k := range kinds {
		b.kinds[k].due.Stop()
		b.tell(k)
		delete(b.kinds, k)
	}
}

// add writes a line, or counts it.
func (b *briefLog) add(k briefKind, line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if had, ok := b.kinds[k]; ok {
		had.more++
		return
	}
	if len(b.kinds) >= maxBriefKinds {
		k = briefKind{reason: "other warnings"}
		if had, ok := b.kinds[k]; ok {
			had.more++
			return
		}
		line = "there are many kinds of warnings; --verbose shows each"
	}
	count := &briefCount{since: time.Now()}
	b.kinds[k] = count
	count.due = time.AfterFunc(briefInterval, func() { b.again(k, count) })
	b.write(line)
}

// again ends an interval of a kind. A kind without further warnings is forgotten.
func (b *briefLog) again(k briefKind, count *briefCount) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kinds[k] != count {
		return // it is closed
	}
	if count.more == 0 {
		delete(b.kinds, k)
		return
	}
	b.tell(k)
	count.due.Reset(briefInterval)
}

// tell writes the number of further warnings of a kind.
func (b *briefLog) tell(k briefKind) {
	count := b.kinds[k]
	if count.more == 0 {
		return
	}
	b.write(fmt.Sprintf("%s: %s in %s", k, moreTimes(count.more), time.Since(count.since).Round(time.Second)))
	count.since, count.more = time.Now(), 0
}

func moreTimes(n int) string {
	if n == 1 {
		return "once more"
	}
	return fmt.Sprintf("%d more times", n)
}

func (b *briefLog) write(line string) {
	_, _ = fmt.Fprintln(b.w, foreign.LineOf("kproxy: "+line, maxBriefLine)) // the failure cannot be reported anywhere
}

// String is the beginning of a kind's line.
func (k briefKind) String() string {
	who := k.node
	if k.client != "" {
		if who != "" {
			who += ", "
		}
		who += "client " + k.client
	}
	if who == "" {
		return k.reason
	}
	return who + ": " + k.reason
}

// briefHandler hands records to a briefLog.
type briefHandler struct {
	log   *briefLog
	attrs []slog.Attr
}

// Enabled reports whether a level is a warning or an error.
func (h *briefHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}

// WithAttrs returns a handler whose records have attrs too.
func (h *briefHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &briefHandler{log: h.log, attrs: append(slices.Clip(h.attrs), attrs...)}
}

// WithGroup returns h: kproxy's log has no groups.
func (h *briefHandler) WithGroup(string) slog.Handler { return h }

// Handle writes or counts a record.
func (h *briefHandler) Handle(_ context.Context, r slog.Record) error {
	a := map[string]slog.Value{}
	for _, attr := range h.attrs {
		a[attr.Key] = attr.Value
	}
	r.Attrs(func(attr slog.Attr) bool {
		a[attr.Key] = attr.Value
		return true
	})
	text := func(key string) string {
		if v, ok := a[key]; ok {
			return v.String()
		}
		return ""
	}
	k := briefKind{reason: r.Message, client: foreign.Line(text(logkey.Source))}
	if reason := text(logkey.Reason); reason != "" {
		k.reason = reason
	}
	if host, _, err := net.SplitHostPort(text(logkey.Client)); err == nil {
		k.client = foreign.Line(host)
	}
	if node, ok := a[logkey.Node]; ok && node.Kind() == slog.KindInt64 && node.Int64() >= 0 {
		k.node = "node " + node.String()
	}
	if more, ok := a[logkey.Connections]; ok && text(logkey.Reason) != "" { // the proxy has counted them
		took := text(logkey.Duration)
		if d, ok := a[logkey.Duration]; ok && d.Kind() == slog.KindDuration {
			took = d.Duration().Round(time.Second).String()
		}
		h.log.mu.Lock()
		defer h.log.mu.Unlock()
		h.log.write(fmt.Sprintf("%s: %s in %s", k, moreTimes(int(more.Int64())), took))
		return nil
	}
	reason := text(logkey.Error)
	if err, ok := a[logkey.Error].Any().(error); ok {
		reason = connect.Brief(err)
	}
	h.log.add(k, briefLine(k, reason, briefFix(k, text(logkey.Fix))))
	return nil
}

// briefFix is the advice in terms of connect's flags.
func briefFix(k briefKind, fix string) string {
	if node, ok := strings.CutPrefix(k.node, "node "); ok && (k.reason == string(proxy.DialFailed) || k.reason == string(proxy.DialRefused)) {
		return "if it runs, add --node " + node + "=HOST:PORT"
	}
	return fix
}

// briefLine is a line of at most maxBriefLine characters. The error is cut, and not the
// reason and the fix, which the reader needs.
func briefLine(k briefKind, err, fix string) string {
	line := k.String()
	if fix != "" {
		fix = "; " + foreign.LineOf(fix, maxBriefLine/2)
	}
	room := maxBriefLine - len("kproxy: ") - utf8.RuneCountInString(line) - len(": ") - utf8.RuneCountInString(fix)
	const least = 10 // a shorter piece of an error has no use
	if err != "" && room >= least {
		line += ": " + foreign.LineOf(strings.ReplaceAll(err, "\n", "; "), room)
	}
	return line + fix
}
