package simulate

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/xdg-go/scram"

	"kproxy/internal/wait"
	"kproxy/internal/wire"
)

// brokerConn is the broker's end of a connection.
type brokerConn struct {
	*broker
	conn        *peer
	named       string     // the client that a PROXY header names
	clientLogin loginState // where clients log in at brokers
	at          int        // the address that was dialled
	client      *record    // nil: no client's request has come
	login       loginState
	scram       *scram.ServerConversation // of a login by SCRAM
	expires     time.Time                 // of the login; guarded by mu
	ended       bool                      // this end writes no more; guarded by mu
}

// loginState is how far a login at a broker has come.
type loginState uint8

const (
	loggedOut loginState = iota
	shaken
	loggedIn
)

// serve responds to the requests of a connection until it ends.
func (c *brokerConn) serve() {
	defer func() {
		_ = c.conn.Close() // it has ended
		c.set.mu.Lock()
		delete(c.conns, c)
		c.set.mu.Unlock()
	}()
	if !c.begin() {
		return
	}
	for {
		frame, _, err := readFrame(c.conn)
		if err != nil {
			return
		}
		resp, err := c.respond(frame)
		if err != nil {
			c.set.run.fail("broker %d: %v", c.node, err)
			return
		}
		if c.pause(); resp.frame == nil || c.hasEnded() {
			continue
		}
		if _, err := c.conn.Write(resp.frame); err != nil {
			if !c.hasEnded() {
				return
			}
		} else if resp.to != nil {
			resp.to.brokerWrote()
		}
	}
}

// begin takes the PROXY header and the TLS handshake, before the first request. It reports whether
// the connection goes on.
func (c *brokerConn) begin() bool {
	settings := c.set.run.script.Settings
	if has(settings.Header, ofBrokers) {
		named, err := c.conn.takeHeader()
		if err != nil {
			return false
		}
		c.named = named
	}
	if has(settings.TLS, ofBrokers) {
		c.conn.offer(c.set.run.Files.ofBroker())
	}
	return true
}

func (c *brokerConn) hasEnded() bool {
	c.set.mu.Lock()
	defer c.set.mu.Unlock()
	return c.ended
}

// response is a response of a broker.
type response struct {
	frame []byte  // nil: there is none
	to    *record // the client that it is for; nil: kproxy itself
}

// pause waits as long as the broker delays or holds a response.
func (c *brokerConn) pause() {
	c.set.mu.Lock()
	delay := c.delay
	c.set.mu.Unlock()
	if delay > 0 {
		wait.Sleep(c.set.run.ctx, delay)
	}
	for {
		c.set.mu.Lock()
		holds, going := !c.holds.IsZero(), c.set.going
		c.set.mu.Unlock()
		if !holds {
			return
		}
		<-going
	}
}

// respond returns the response to a request.
func (c *brokerConn) respond(frame []byte) (response, error) {
	if c.awaitsRawToken() {
		return c.respondToClient(c.client, frame)
	}
	if len(frame) < wire.RequestPrefixLen {
		return response{}, fmt.Errorf("a request of %d bytes", len(frame))
	}
	prefix := wire.ParseRequestPrefix(frame)
	flexible := false
	if req := kmsg.RequestForKey(prefix.Key); req != nil {
		req.SetVersion(prefix.Version)
		flexible = req.IsFlexible()
	}
	h, err := wire.ParseRequestHeader(frame, flexible)
	if err != nil {
		return response{}, err
	}
	id := string(h.ClientID)
	if !strings.HasPrefix(id, clientPrefix) {
		return c.respondToProxy(h, frame)
	}
	n, err := strconv.Atoi(strings.TrimPrefix(id, clientPrefix))
	if err != nil {
		return response{}, fmt.Errorf("a request of %q", id)
	}
	client := c.set.run.records.of(n)
	if client == nil {
		return response{}, fmt.Errorf("a request of %q, who has sent none", id)
	}
	c.set.mu.Lock()
	if c.client == nil {
		if c.client = client; c.ended { // before it was known whose connection it is
			client.brokerCut(false)
		}
	}
	c.set.mu.Unlock()
	switch {
	case c.client != client:
		return response{}, fmt.Errorf("a request of %q behind one of client %d", id, c.client.number)
	case c.login == shaken:
		return response{}, errors.New("a request of a client during a login")
	case c.set.run.script.Settings.Lifetime > 0 && c.login != loggedIn:
		return response{}, errors.New("a request of a client before a login")
	}
	if c.named != "" && c.named != client.address {
		return response{}, fmt.Errorf("a request of client %d, whose address is %s: the PROXY header names %s", n, client.address, c.named)
	}
	return c.respondToClient(client, frame)
}

// awaitsRawToken reports whether the next frame is a token without headers.
func (c *brokerConn) awaitsRawToken() bool {
	settings := c.set.run.script.Settings
	return settings.Raw && settings.Login == ofBrokers && c.clientLogin == shaken
}

// respondToClient returns the response to a request of a client, which must be its next one.
func (c *brokerConn) respondToClient(client *record, frame []byte) (_ response, err error) {
	n := client.number
	sent, want := client.brokerRead()
	if c.set.run.isSettled() && client.node >= 0 && client.node != c.node && !teaching[sent.name] {
		return response{}, fmt.Errorf("a request of client %d, who has chosen node %d: %s", n, client.node, sent.name)
	}
	if !bytes.Equal(frame, want) {
		return response{}, fmt.Errorf("request %d of client %d has changed: %d bytes, want %d", sent.correlationID, n, len(frame), len(want))
	}
	if c.set.run.script.Settings.Login == ofBrokers {
		if sent, err = c.loginOf(sent); err != nil {
			return response{}, err
		}
	}
	if exchanges[sent.name].response == nil {
		return response{}, nil
	}
	return response{responseFrame(sent, c.set.places()), client}, nil
}

// respondToProxy responds to a request of kproxy's own.
func (c *brokerConn) respondToProxy(h wire.RequestHeader, frame []byte) (response, error) {
	var resp kmsg.Response
	lifetime := c.set.run.script.Settings.Lifetime
	switch key := kmsg.Key(h.Key); {
	case key == kmsg.ApiVersions:
		resp = versions(call{}, nil)
	case key == kmsg.SASLHandshake:
		c.login = shaken
		mechanism := c.set.run.script.Settings.Mechanism
		if u := c.set.run.Files.roster[mechanism]; u != nil {
			c.scram = u.broker.NewConversation()
		}
		shake := kmsg.NewPtrSASLHandshakeResponse()
		shake.SupportedMechanisms = []string{mechanism}
		resp = shake
	case key == kmsg.SASLAuthenticate && c.login == shaken:
		asked := kmsg.NewPtrSASLAuthenticateRequest()
		asked.SetVersion(h.Version)
		if err := asked.ReadFrom(frame[h.Len:]); err != nil {
			return response{}, err
		}
		token, done, err := c.proxyToken(asked.SASLAuthBytes)
		if err != nil {
			return response{}, err
		}
		authenticate := kmsg.NewPtrSASLAuthenticateResponse()
		authenticate.SASLAuthBytes = token
		resp = authenticate
		if !done {
			break
		}
		authenticate.SessionLifetimeMillis = lifetime.Milliseconds()
		c.login = loggedIn
		c.set.mu.Lock()
		c.expires = time.Now().Add(lifetime)
		c.set.mu.Unlock()
	case key == kmsg.Metadata && (lifetime == 0 || c.login == loggedIn):
		resp = metadata(call{}, c.set.places())
	default:
		return response{}, fmt.Errorf("kproxy asks %s", kmsg.NameForKey(h.Key))
	}
	resp.SetVersion(h.Version)
	return response{frame: frameOf(h.CorrelationID, resp)}, nil
}
