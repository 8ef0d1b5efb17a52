package simulate

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/xdg-go/scram"

	"kproxy/internal/auth"
)

// client is a client with one connection. One goroutine does its steps, another one reads and
// judges the responses.
type client struct {
	run    *run
	record *record
	conn   *peer
	again  <-chan time.Time // the client logs in again; nil: it does not
	logins int
	said   chan []byte   // SCRAM's first token of the server
	ended  chan struct{} // closed when the client reads no more
	rest   []byte        // of a request that was begun

	steps chan Step
	mu    sync.Mutex // guards the following
	wakes sync.Cond
	still bool                      // it reads nothing
	scram *scram.ClientConversation // of a login that goes on
}

// maxSteps bounds the steps of a client that have not been done.
const maxSteps = 256

// newClient returns a client that has not connected yet.
func newClient(r *run, number int) *client {
	c := &client{
		run: r, record: &record{number: number, logsIn: r.script.Settings.Login, by: r.script.Settings.Mechanism}, steps: make(chan Step, maxSteps),
		said: make(chan []byte, 1), ended: make(chan struct{}),
	}
	c.wakes.L = &c.mu
	return c
}

// live does the steps of the client until there are no more.
func (c *client) live() {
	for {
		select {
		case step, more := <-c.steps:
			if !more {
				return
			}
			c.step(step)
		case <-c.again:
			c.logIn(login)
		}
	}
}

func (c *client) step(step Step) {
	if step.Verb == "dials" {
		c.dial(step)
		return
	}
	if c.conn == nil {
		return
	}
	switch step.Verb {
	case "sends":
		c.send(step, 1)
	case "begins":
		c.send(step, 0.4)
	case "logs-in":
		if step.word(0) != "wrong" {
			c.logIn(login)
		} else if c.record.logsIn == atKproxy {
			c.record.set(func() { c.record.refused = true })
			c.logIn(badLogin)
		}
	case "half-closes":
		c.record.set(func() { c.record.halfClosed = true })
		c.conn.endSide()
	case "closes":
		c.record.set(func() { c.record.closed = true })
		_ = c.conn.Close()
	case "resets":
		c.record.set(func() { c.record.closed, c.record.reset = true, true })
		c.conn.reset()
	}
}

// dial connects, and begins to read.
func (c *client) dial(step Step) {
	if c.conn != nil {
		return
	}
	listener, node, hurried := step.word(0), int32(-1), slices.Contains(step.Args, "hurried")
	if n, err := strconv.ParseInt(step.word(1), 10, 32); err == nil {
		node = int32(n)
	}
	conn, err := c.run.Outside.DialFrom(context.Background(), sourceOf(c.record.number), advertisedAt(listener, node))
	if err != nil {
		return // no socket is there: a reload, or a drain
	}
	c.conn = newPeer(conn)
	settings := c.run.script.Settings
	c.record.listener, c.record.node, c.record.socket = listener, node, conn.LocalAddr().String()
	if c.record.address = c.record.socket; has(settings.Header, ofClients) {
		c.record.address = namedAddress(c.record.number).String()
	}
	c.run.records.add(c.record)
	if has(settings.Header, ofClients) {
		_ = c.conn.sendHeader(c.record.number) // a connection that fails has ended
	}
	if has(settings.TLS, ofClients) && !c.handshake(listeners[listener].host, hurried) {
		return
	}
	c.run.reading.Go(c.read)
	if settings.Login != "" {
		c.logIn(login)
	}
}

// handshake does the TLS handshake. A client in a hurry leaves if it takes long.
func (c *client) handshake(host string, hurried bool) bool {
	ctx, cancel := c.run.ctx, func() {}
	if hurried {
		ctx, cancel = context.WithTimeout(ctx, 30*time.Millisecond)
	}
	defer cancel()
	err := c.conn.ask(ctx, c.run.Files.toKproxy(host))
	if err == nil {
		return true
	}
	c.record.set(func() {
		c.record.unsafe, c.record.end = true, "error"
		c.record.closed = errors.Is(err, context.DeadlineExceeded)
	})
	_ = c.conn.socket.Close() // it may be closed
	c.conn = nil
	if !c.run.Fails && !errors.Is(err, io.EOF) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) && !errors.As(err, new(*net.OpError)) {
		c.run.fail("client %d: its TLS handshake fails: %v", c.record.number, err)
	}
	return false
}

// logIn logs in, or again, unless a request has begun.
func (c *client) logIn(by string) {
	const most = 6 // each costs milliseconds of a processor
	if c.logins++; c.logins > most || c.conn == nil || c.record.hasLeft() {
		c.again = nil
		return
	}
	settings := c.run.script.Settings
	if settings.Raw && c.logins > 1 {
		return // tokens without headers do not go with other requests
	}
	if again := settings.Again; again > 0 && !settings.Raw {
		c.again = time.After(again)
	}
	if c.record.logsIn == "" || len(c.rest) > 0 {
		return
	}
	if settings.Raw {
		c.write(c.record.sends(rawShake, 0))
	} else {
		c.write(c.record.sends(shake, 0))
	}
	if settings.Mechanism != auth.Plain {
		c.exchange(by, settings)
		return
	}
	secret := password
	if by == badLogin {
		secret = "wrong"
	}
	c.token(by, plainToken(clientUser, secret))
}

// exchange logs in by SCRAM. The second token depends on the server's first one: until it comes, the
// client does nothing else.
func (c *client) exchange(by string, settings Settings) {
	u := c.run.Files.roster[settings.Mechanism]
	conversation := u.right.NewConversation()
	if by == badLogin {
		conversation = u.wrong.NewConversation()
	}
	token, err := conversation.Step("")
	if err != nil {
		c.run.fail("client %d: %v", c.record.number, err)
		return
	}
	c.token(firstToken, []byte(token))
	var first []byte
	select {
	case first = <-c.said:
	case <-c.ended:
		return
	}
	if token, err = conversation.Step(string(first)); err != nil {
		c.run.fail("client %d: the server's first token: %v: %q", c.record.number, err, first)
		return
	}
	c.mu.Lock()
	c.scram = conversation
	c.mu.Unlock()
	c.token(by, []byte(token))
}

// token sends one token of a login.
func (c *client) token(name string, token []byte) {
	c.write(c.record.adds(name, 0, func(sent *call) {
		sent.auth, sent.raw = token, c.run.script.Settings.Raw
	}))
}

// write writes one request.
func (c *client) write(sent call) {
	n, _ := c.conn.Write(requestFrame(c.record.clientID(), sent)) // a connection that fails has ended
	c.record.set(func() { c.record.written += n })
}

// heard takes the server's token out of a response, for SCRAM.
func (c *client) heard(sent call, frame []byte) {
	switch {
	case sent.mechanism == auth.Plain:
	case sent.name == firstToken:
		c.said <- serverToken(sent, frame)
	case sent.name == login:
		c.mu.Lock()
		defer c.mu.Unlock()
		if _, err := c.scram.Step(string(serverToken(sent, frame))); err != nil || !c.scram.Valid() {
			c.run.fail("client %d: the server's last token: %v", c.record.number, err)
		}
	}
}

// send writes requests, in one write. part says how much of the last one.
func (c *client) send(step Step, part float64) {
	count, size := 1, 100
	if len(step.Args) > 1 {
		count = step.number(1)
	}
	if len(step.Args) > 2 {
		size = step.number(2)
	}
	if part < 1 {
		count = 1
	}
	frames := c.rest
	c.rest = nil
	for range count {
		frames = append(frames, requestFrame(c.record.clientID(), c.record.sends(step.word(0), size))...)
	}
	if part < 1 {
		n := int(math.Ceil(float64(len(frames)) * part))
		frames, c.rest = frames[:n:n], frames[n:]
	}
	n, _ := c.conn.Write(frames) // a connection that fails has ended
	c.record.set(func() {
		c.record.written += n
		c.record.inside = len(c.rest) > 0
		c.record.began = c.record.began || c.record.inside
	})
}

// quiet has the client read nothing, or read again.
func (c *client) quiet(still bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.still = still
	c.wakes.Broadcast()
	if still {
		c.record.set(func() { c.record.paused = true })
	}
}

// Read is that of the connection, while the client reads.
func (c *client) Read(b []byte) (int, error) {
	c.mu.Lock()
	for c.still {
		c.wakes.Wait()
	}
	c.mu.Unlock()
	return c.conn.Read(b)
}

// read judges responses until the connection ends, and closes it then.
func (c *client) read() {
	defer close(c.ended)
	in := bufio.NewReader(c)
	listener := c.record.listener
	for {
		frame, inside, err := readFrame(in)
		if err != nil {
			c.record.set(func() {
				switch {
				case errors.Is(err, io.EOF) && !inside:
					c.record.end = "eof"
				case inside && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
					c.record.end = "inside"
				default:
					c.record.end = "error"
				}
			})
			_ = c.conn.Close() // it may be closed
			return
		}
		sent, ok := c.record.next()
		if !ok {
			c.run.fail("client %d: a response that no request was sent for", c.record.number)
			continue
		}
		if err := judge(sent, frame, func(node int32) (string, int32) { return advertised(listener, node) }); err != nil {
			c.run.fail("client %d: the response to %s, request %d: %v", c.record.number, sent.name, sent.correlationID, err)
		}
		c.heard(sent, frame)
		c.record.set(func() { c.record.received++ })
	}
}
