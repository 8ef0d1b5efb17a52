package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/foreign"
	"kproxy/internal/logkey"
	"kproxy/proxy/config"
)

// settleTime is the time between two readings of a file that has changed. If they are
// equal, its writer has most likely finished.
const settleTime = time.Second

// run lets reloads begin: those of hangups, of the admin server and of the watch. stop
// ends hangups and the watch.
func (r *reloader) run(ctx context.Context, hangups <-chan os.Signal) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	r.ready()
	running.Go(func() { r.watch(ctx) })
	running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
			}
			_, err := r.reload(ctx, trigger{by: bySignal}) // the log has the error
			if errors.Is(err, admin.ErrStopping) && r.passOn != nil {
				r.passOn()
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// watch applies the file when its content has changed, while reload.watch is true, until
// ctx ends. Content is compared, and not events: this finds the swap of a symbolic link, a
// rename and a rewrite alike, on every file system. Each content is applied, held back, or
// refused for its mistakes once. Other failures are tried again.
func (r *reloader) watch(ctx context.Context) {
	if r.piped {
		return
	}
	ticker := time.NewTicker(config.DefaultWatchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !r.settings().keys.Reload.Watch {
			r.noteReadable(nil) // nothing is known of it
			continue
		}
		data, err := r.settled(ctx)
		if ctx.Err() != nil {
			return
		}
		wasReadable := r.noteReadable(err)
		switch {
		case err != nil && wasReadable:
			r.log.Warn("the configuration file cannot be read; the configuration in use stays",
				slog.Any(logkey.Error, err), slog.String(logkey.By, byFile), slog.String(logkey.Fix, unreadableFix(err)))
		case data != nil:
			_, _ = r.reload(ctx, trigger{by: byFile, data: data}) // the log has the error
		}
	}
}

// noteReadable notes whether the file can be read; err says why not. It reports whether it could be
// read before.
func (r *reloader) noteReadable(err error) (was bool) {
	why := ""
	if err != nil {
		why = foreign.LineOf(err.Error(), maxLogged)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	was = r.unreadable == ""
	r.unreadable = why
	return was
}

// settled returns the content of the file when two readings in succession are equal; nil
// if it is the content that was last decided on.
func (r *reloader) settled(ctx context.Context) ([]byte, error) {
	var before []byte
	for {
		data, err := r.read(ctx)
		switch {
		case err != nil:
			return nil, err
		case r.hasDecided(data):
			return nil, nil
		case before != nil && bytes.Equal(data, before):
			return data, nil
		}
		before = data
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(settleTime):
		}
	}
}
