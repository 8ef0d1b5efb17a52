package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"sync"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/api"
	"kproxy/internal/files"
	"kproxy/internal/logkey"
	"kproxy/internal/telemetry"
	"kproxy/proxy"
)

// The causes of a reload.
const (
	bySignal = "signal"
	byAdmin  = "admin"
	byFile   = "file"
)

const (
	maxDifferences = 1000 // that a response lists
	maxLoggedLines = 10   // log lines about one reload
)

// errHeldBack says that a change of the file is not applied before the operator asks for it.
var errHeldBack = errors.New("the change is held back")

// reloader applies the configuration file while kproxy runs. First the whole new
// configuration is checked, and all that it needs is read and bound; then it is applied. A
// mistake changes nothing. There is one reload at a time, and others wait.
type reloader struct {
	file    string
	piped   bool
	log     *slog.Logger
	logging *logSettings
	engine  engine
	ops     *operations
	// readFiles reads certificates, keys and CAs now.
	readFiles func()
	// read returns the content of the file.
	read func(ctx context.Context) ([]byte, error)

	// reloading is called when a configuration is read to be applied, and done when it is, or is
	// refused; nil: it is not called.
	reloading func() (done func())

	// passOn is called for a SIGHUP that comes when no reload is possible any more; nil: it is dropped.
	passOn func()

	// try tries a configuration for a reload with live.
	try func(ctx context.Context, n *nextConfig) error

	turn    chan struct{} // has an element while there is a reload, and until ready
	stopped chan struct{} // closed by stop

	mu       sync.Mutex // guards the following
	stopping bool
	current  *settings
	decided  [sha256.Size]byte // the content that was last applied, held back, or refused for good; zero after another failure
	tried    [sha256.Size]byte // the content that was last read to be applied
	reported string            // the failure that the log has last, with its content; "": a reload succeeded since
	state    telemetry.State
	failure  string   // why the last reload was not applied; "": it was
	held     []string // the removals for which a change is held back

	unreadable string // why the watch cannot read the file; "": it can
}

// trigger is the cause of a reload.
type trigger struct {
	by, from string
	dryRun   bool
	live     bool   // brokers and advertised addresses are tried first
	data     []byte // the content of the file, for byFile
}

// newReloader returns a reloader for a configuration that is about to start. No reload
// begins before ready.
func newReloader(s *settings, log *slog.Logger, logging *logSettings) *reloader {
	r := &reloader{
		file: s.File, piped: s.piped, log: log, logging: logging, turn: make(chan struct{}, 1), stopped: make(chan struct{}),
		current: s, decided: s.digest, state: telemetry.State{Generation: 1, LastReload: time.Now()},
	}
	r.read = r.readFile
	r.try = func(ctx context.Context, n *nextConfig) error { return n.tryLive(ctx) }
	r.turn <- struct{}{}
	return r
}

// operate returns the operations beside p, whose reloads are r's.
func (r *reloader) operate(p *proxy.Proxy) *operations {
	r.ops = &operations{proxy: p, log: r.log, logging: r.logging, config: r.effective, state: r.metrics, file: r.configuration, reload: r.byRequest}
	r.engine = proxyEngine{p}
	r.readFiles = func() {
		p.ReadFiles()
		r.ops.readFiles()
	}
	return r.ops
}

func (r *reloader) readFile(ctx context.Context) ([]byte, error) {
	return files.Read(ctx, r.file, maxConfig)
}

// ready lets reloads begin.
func (r *reloader) ready() { <-r.turn }

// stop refuses further reloads, and ends a trial of brokers and addresses. wait returns when no
// reload is under way. Later calls refuse nothing more.
func (r *reloader) stop() (wait func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopping {
		r.stopping = true
		close(r.stopped)
	}
	return func() {
		r.turn <- struct{}{}
		<-r.turn
	}
}

// settings returns those in use.
func (r *reloader) settings() *settings {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

func (r *reloader) isStopping() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopping
}

// hasDecided reports whether the content of the file was the last one to be applied, held
// back, or refused for good.
func (r *reloader) hasDecided(data []byte) bool {
	digest := sha256.Sum256(data)
	r.mu.Lock()
	defer r.mu.Unlock()
	return digest == r.decided
}

// metrics returns the state for the metrics.
func (r *reloader) metrics() telemetry.State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// effective returns the configuration in use, for the API.
func (r *reloader) effective() api.Config {
	r.mu.Lock()
	current, generation := r.current, r.state.Generation
	r.mu.Unlock()
	return api.Config{File: current.File, Generation: generation, Settings: current.effective()}
}

// configuration is the file for /readyz.
func (r *reloader) configuration() admin.Configuration {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := admin.Configuration{SHA256: hex.EncodeToString(r.current.digest[:])}
	if reasons := r.notApplied(); len(reasons) > 0 {
		c.NotApplied = &admin.NotApplied{Reasons: reasons}
		if r.unreadable == "" && r.decided != r.current.digest && r.decided != [sha256.Size]byte{} {
			c.NotApplied.SHA256 = hex.EncodeToString(r.decided[:])
		}
	}
	return c
}

// notApplied says why the file is not applied. The caller holds mu.
func (r *reloader) notApplied() []string {
	if r.unreadable != "" {
		return []string{"the configuration file cannot be read, and a restart would fail: " + r.unreadable + "; restore it"}
	}
	var all []string
	if r.failure != "" {
		all = append(all, "the last reload of the configuration failed: "+r.failure)
	}
	for _, removal := range r.held {
		all = append(all, "the configuration file has changed, and is not applied: it removes "+removal+"; kproxy reload or a restart applies it")
	}
	return all
}

// byRequest is a reload by the admin server.
func (r *reloader) byRequest(ctx context.Context, request admin.Reload) (admin.Reloaded, error) {
	return r.reload(ctx, trigger{by: byAdmin, from: request.From, dryRun: request.DryRun, live: request.Live})
}

// reload applies the file, or compares it. The error joins [*admin.MistakeError]s, or is
// [admin.ErrStopping] or [errHeldBack]. The log has it. ctx bounds the wait for the turn.
func (r *reloader) reload(ctx context.Context, t trigger) (admin.Reloaded, error) {
	release, err := r.exclude(ctx)
	if err != nil {
		return admin.Reloaded{}, err
	}
	defer release()
	if r.isStopping() {
		return admin.Reloaded{}, admin.ErrStopping
	}
	if t.by == byFile && r.hasDecided(t.data) {
		return admin.Reloaded{}, nil // another reload had the same content
	}
	if r.reloading != nil && !t.dryRun {
		defer r.reloading()()
	}
	ctx = context.WithoutCancel(ctx)
	if t.by != byFile && !t.dryRun {
		r.readFiles()
	}
	next, err := r.prepare(ctx, t)
	if errors.Is(err, admin.ErrStopping) {
		return admin.Reloaded{}, err
	}
	if err != nil {
		return admin.Reloaded{}, r.fail(t, err)
	}
	removals := next.proxy.removed()
	result := next.result(removals)
	result.Generation = r.metrics().Generation
	if t.dryRun {
		next.discard(ctx)
		return result, nil
	}
	if t.by == byFile && r.holdsBack(next, removals) {
		next.discard(ctx)
		return result, errHeldBack
	}
	result.Generation, result.Applied = r.apply(ctx, t, next), true
	return result, nil
}

// exclude waits until no reload is under way, and keeps others out until release is called.
func (r *reloader) exclude(ctx context.Context) (release func(), err error) {
	select {
	case r.turn <- struct{}{}:
		return func() { <-r.turn }, nil
	case <-ctx.Done():
		return nil, &admin.MistakeError{Problem: "another reload has not ended yet", Fix: "try again later"}
	}
}

// nextConfig is a configuration that can be applied.
type nextConfig struct {
	settings *settings
	changes  []admin.Difference
	proxy    proxyChange
	ops      *operationsChange
}

func (n *nextConfig) discard(ctx context.Context) {
	n.proxy.discard()
	n.ops.discard(ctx)
}

func (n *nextConfig) result(removals []admin.Removal) admin.Reloaded {
	shown := min(len(n.changes), maxDifferences)
	return admin.Reloaded{
		Changes: append([]admin.Difference{}, n.changes[:shown]...), LeftOut: len(n.changes) - shown,
		Removes: removals[:min(len(removals), maxDifferences)],
	}
}

// unreadableFix is the fix of an error by which the configuration file cannot be read.
func unreadableFix(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "let kproxy's user read the file that --config names: see its owner and its mode"
	}
	return "restore the file that --config names"
}

// prepare reads and checks the file, and reads and binds all that it names. The error is
// a [*usageError], or [admin.ErrStopping].
func (r *reloader) prepare(ctx context.Context, t trigger) (*nextConfig, error) {
	data := t.data
	if data == nil {
		if r.piped {
			return nil, &usageError{fmt.Errorf("%s is a pipe, and cannot be read again; restart kproxy, or name a regular file with --config", r.file)}
		}
		var err error
		if data, err = r.read(ctx); err != nil {
			r.begin(t, nil)
			return nil, &usageError{fmt.Errorf("%w; %s", err, unreadableFix(err))}
		}
	}
	r.begin(t, data)
	s, err := parseConfig(r.file, data)
	if err != nil {
		r.refuse(t)
		return nil, err
	}
	before := r.settings()
	s.Proxy.Logger = r.log
	n := &nextConfig{settings: s, changes: differences(before.keys, s.keys)}
	var proxyErr, opsErr error
	s.Proxy.Listen = r.ops.lendTo(before, s)
	n.proxy, proxyErr = r.engine.prepare(ctx, s)
	freed := func(string) (net.Listener, error) { return nil, nil }
	if proxyErr == nil {
		freed = n.proxy.freed
	}
	n.ops, opsErr = r.ops.prepare(ctx, before, s, freed)
	err = joinAll(proxyErr, opsErr)
	if err == nil && t.live {
		if err = r.tryLive(ctx, n); err != nil {
			r.refuse(t)
		}
	}
	if err != nil {
		if proxyErr == nil {
			n.proxy.discard()
		}
		if opsErr == nil {
			n.ops.discard(ctx)
		}
		if errors.Is(err, admin.ErrStopping) {
			return nil, err
		}
		return nil, s.mistakes(err)
	}
	s.forget()
	return n, nil
}

// begin notes the content that is read to be applied. The watch may try it again until it
// is decided.
func (r *reloader) begin(t trigger, data []byte) {
	if t.dryRun {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tried, r.decided = sha256.Sum256(data), [sha256.Size]byte{}
	if data != nil {
		r.unreadable = ""
	}
}

// refuse has the watch not try the content again. It tries that of the configuration in
// use, because then nothing has failed any more.
func (r *reloader) refuse(t trigger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !t.dryRun && r.tried != r.current.digest {
		r.decided = r.tried
	}
}

// apply applies a configuration, and returns its generation.
func (r *reloader) apply(ctx context.Context, t trigger, next *nextConfig) (generation int) {
	setLog := func() { _ = r.logging.set(next.settings.Log) } // the level is checked
	if level := next.settings.Log.Level; level == "debug" || level == "info" {
		setLog()
	} else {
		defer setLog() // after the line about the reload
	}
	next.ops.beforeProxy()
	next.proxy.apply()
	next.ops.apply(ctx)
	r.mu.Lock()
	r.current, r.decided = next.settings, next.settings.digest
	r.failure, r.reported, r.held = "", "", nil
	if len(next.changes) > 0 {
		r.state.Generation++
	}
	r.state.LastReload, r.state.Failed = time.Now(), false
	r.state.Reloads.Applied++
	generation = r.state.Generation
	r.mu.Unlock()
	r.log.Info("configuration reloaded", t.attrs(slog.Int(logkey.Generation, generation), slog.Int(logkey.Changes, len(next.changes)))...)
	return generation
}

// attrs are the keys of a log line about a reload.
func (t *trigger) attrs(attrs ...any) []any {
	attrs = append(attrs, slog.String(logkey.By, t.by))
	if t.from != "" {
		attrs = append(attrs, slog.String(logkey.From, t.from))
	}
	return attrs
}
