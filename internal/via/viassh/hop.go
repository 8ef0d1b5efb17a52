// Package viassh is the way through an SSH server. It is the only package that imports
// x/crypto/ssh; package proxy/ssh has it for programs that import package proxy.
package viassh

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"kproxy/internal/via"
)

// hop gives channels of one SSH connection, the link. The first dial makes the link, and
// others wait for it. When it dies, the next dial makes another. An attempt to make one
// ends when no dial waits for it any more.
type hop struct {
	dialProxy          via.ProxyDial
	place              via.Place
	timeout, keepAlive time.Duration
	knownHosts         string
	key, passphrase    via.SecretFile
	password           via.SecretFile
	agent              string

	channels via.Streams

	mu      sync.Mutex // guards the following
	closed  bool
	link    *link
	attempt *attempt

	tasks sync.WaitGroup // attempts, and the watchers of links; started under mu
}

// attempt is a link that is being made. done is closed when link and err are set.
type attempt struct {
	waiters int // guarded by hop.mu
	cancel  context.CancelFunc
	done    chan struct{}
	link    *link
	err     error
}

// Dial opens a channel to t.
func (h *hop) Dial(ctx context.Context, t via.Target) (net.Conn, error) {
	for {
		l, fresh, err := h.ready(ctx)
		if err != nil {
			return nil, err
		}
		channel, err := l.open(ctx, t)
		if err == nil {
			return h.channels.Adopt(channel, h.place.Scheme, h.place.Address, t.String())
		}
		// If the link had died unnoticed, the dial is retried.
		if fresh || !errors.Is(err, errLinkLost) || ctx.Err() != nil {
			return nil, err
		}
		l.close()
		<-l.ended
	}
}

// ready is the link. fresh says that it was made while the caller waited.
func (h *hop) ready(ctx context.Context) (l *link, fresh bool, err error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, false, via.Fail(via.OutcomeCanceled, net.ErrClosed)
	}
	if h.link != nil && !h.link.over() {
		defer h.mu.Unlock()
		return h.link, false, nil
	}
	a := h.attempt
	if a == nil {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.timeout)
		a = &attempt{cancel: cancel, done: make(chan struct{})}
		h.attempt = a
		h.tasks.Go(func() { h.try(limit, a) })
	}
	a.waiters++
	h.mu.Unlock()

	select {
	case <-a.done:
		return a.link, true, a.err
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.waiters--; a.waiters == 0 {
		h.abandon(a)
	}
	return nil, false, via.Fail(via.OutcomeProxyUnreachable, ctx.Err())
}

// abandon ends an attempt. mu is held.
func (h *hop) abandon(a *attempt) {
	a.cancel()
	if h.attempt == a {
		h.attempt = nil
	}
}

// try makes a link for the callers that wait for a.
func (h *hop) try(ctx context.Context, a *attempt) {
	defer a.cancel()
	l, err := h.login(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	defer close(a.done)
	switch {
	case err != nil:
		a.err = err
	case h.attempt != a: // abandoned, or closed
		l.close()
		a.err = via.Fail(via.OutcomeCanceled, net.ErrClosed)
	default:
		a.link, h.link = l, l
	}
	if h.attempt == a {
		h.attempt = nil
	}
	if l != nil {
		h.tasks.Go(l.await)
		h.tasks.Go(l.watch)
	}
}

// Close ends the link with every channel, and waits for its goroutines.
func (h *hop) Close() {
	h.mu.Lock()
	h.closed = true
	if h.attempt != nil {
		h.abandon(h.attempt)
	}
	if h.link != nil {
		h.link.close()
	}
	h.mu.Unlock()
	h.channels.Close()
	h.tasks.Wait()
}
