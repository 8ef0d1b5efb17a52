package viassh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"kproxy/internal/foreign"
	"kproxy/internal/via"
)

// errLinkLost ends the channels of an SSH connection that has died.
var errLinkLost = errors.New("the SSH connection is lost")

// link is one SSH connection. ended is closed when it is over.
type link struct {
	client   *ssh.Client
	wire     *watched
	interval time.Duration
	secrets  []string // which were sent to the host
	ended    chan struct{}
	wake     chan struct{} // room for one

	mu   sync.Mutex // guards next
	next *check     // for which a caller waits; nil: none
}

// check is a keep-alive request to the far side. done is closed when err is set.
type check struct {
	done chan struct{}
	err  error
}

func newLink(client *ssh.Client, wire *watched, interval time.Duration, secrets []string) *link {
	return &link{client: client, wire: wire, interval: interval, secrets: secrets, ended: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// close ends the link at once, without a message to the far side.
func (l *link) close() { _ = l.wire.Close() }

// over reports whether the link has ended.
func (l *link) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// await waits for the link's end.
func (l *link) await() {
	_ = l.client.Wait()  // the reason is not used
	_ = l.client.Close() // if it ended by a message
	_ = l.wire.Close()
	close(l.ended)
}

// watch sends keep-alive requests, every interval and whenever a caller asks.
func (l *link) watch() {
	ticker := time.NewTicker(l.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.wake:
		case <-l.ended:
			return
		}
		l.mu.Lock()
		asked := l.next
		l.next = nil
		l.mu.Unlock()
		err := l.ping()
		if asked != nil {
			asked.err = err
			close(asked.done)
		}
	}
}

// ask makes watch send a request, after now.
func (l *link) ask() *check {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == nil {
		l.next = &check{done: make(chan struct{})}
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return l.next
}

// alive reports whether the far side responds to a request that is sent after now.
func (l *link) alive() bool {
	c := l.ask()
	select {
	case <-c.done:
		return c.err == nil
	case <-l.ended:
		return false
	}
}

// ping sends a request for any response; OpenSSH's refusal is one. If nothing has come
// over a link for an interval, it is closed. A slow link is not closed: a response may
// come after megabytes of data, which show that the link works.
func (l *link) ping() error {
	responded := make(chan error, 1)
	go func() { // ends with the response, or with the link
		_, _, err := l.client.SendRequest("keepalive@openssh.com", true, nil)
		responded <- err
	}()
	timer := time.NewTimer(l.interval)
	defer timer.Stop()
	for {
		received := l.wire.received.Load()
		select {
		case err := <-responded:
			return err
		case <-timer.C:
			if l.wire.received.Load() == received {
				l.close()
				return <-responded
			}
			timer.Reset(l.interval)
		}
	}
}

// directTCPIP asks for a connection (RFC 4254, 7.2).
type directTCPIP struct {
	Host       string
	Port       uint32
	Originator string
	OriginPort uint32
}

// open opens a channel to t. The library cannot cancel an open: if ctx ends first, a
// goroutine waits for the far side's response, and closes the channel then.
func (l *link) open(ctx context.Context, t via.Target) (via.Stream, error) {
	type opened struct {
		channel *sshChannel
		err     error
	}
	response := make(chan opened) // unbuffered: either the channel is received, or ctx has ended
	go func() {                   // ends with the far side's response, or with the link
		channel, requests, err := l.client.OpenChannel("direct-tcpip", ssh.Marshal(&directTCPIP{
			Host: t.Host, Port: uint32(t.Port), Originator: "127.0.0.1",
		}))
		var c *sshChannel
		if err == nil {
			c = &sshChannel{Channel: channel, link: l}
			go ssh.DiscardRequests(requests)
		}
		select {
		case response <- opened{c, err}:
		case <-ctx.Done():
			if c != nil {
				_ = c.Close() // no caller wants it any more
			}
		}
	}()
	received := l.wire.received.Load()
	l.ask() // if the link has died unnoticed, this dial detects it
	select {
	case o := <-response:
		if o.err != nil {
			return nil, l.openError(o.err)
		}
		return o.channel, nil
	case <-ctx.Done():
		if l.wire.received.Load() == received { // no response to ask either
			return nil, via.Fail(via.OutcomeProxyUnreachable, ctx.Err())
		}
		return nil, via.Fail(via.OutcomeTargetUnreachable, ctx.Err())
	}
}

// openError translates the far side's refusal.
func (l *link) openError(err error) error {
	refused, ok := errors.AsType[*ssh.OpenChannelError](err)
	switch {
	case !ok:
		return via.Fail(via.OutcomeProxyUnreachable, fmt.Errorf("%w: %w", errLinkLost, foreign.Error(err, l.secrets...)))
	case refused.Reason == ssh.ConnectionFailed:
		return via.Fail(via.OutcomeTargetUnreachable, fmt.Errorf("it answered %s: %s", refused.Reason, via.Quote(refused.Message, l.secrets...)))
	default:
		return via.Fail(via.OutcomeTargetRefused, fmt.Errorf("it answered %s: %s", refused.Reason, via.Quote(refused.Message, l.secrets...)))
	}
}

// sshChannel is a channel that distinguishes its own end from that of its link.
type sshChannel struct {
	ssh.Channel
	link *link
}

// Read reads the channel. To the library, a link that breaks is the end of every
// channel in it. A client would misread an orderly end in place of a reset (see
// docs/invariants.md on the end before the first response), so the link is asked.
func (c *sshChannel) Read(p []byte) (int, error) {
	n, err := c.Channel.Read(p)
	if errors.Is(err, io.EOF) && !c.link.alive() {
		err = errLinkLost
	}
	return n, err
}

// watched counts incoming bytes.
type watched struct {
	net.Conn
	received atomic.Int64 // bytes
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.received.Add(int64(n))
	return n, err
}
