package via

import (
	"context"
	"errors"
	"io"
	"net"

	"golang.org/x/net/proxy"
)

// socksHop goes through a SOCKS5 proxy. The protocol is x/net/proxy's. The code here
// finds the failed hop from the proxy's responses, because the library reports it as text
// only.
type socksHop struct {
	connect  ProxyDial
	address  string
	user     string // empty: no login
	password SecretFile
}

func (h *socksHop) Close() {}

func (h *socksHop) Dial(ctx context.Context, t Target) (net.Conn, error) {
	var auth *proxy.Auth
	if h.user != "" {
		password, err := h.password.Read(ctx)
		if err != nil {
			return nil, Fail(OutcomeCredentials, err)
		}
		auth = &proxy.Auth{User: h.user, Password: password}
	}
	conn, err := h.connect.Connect(ctx, h.address)
	if err != nil {
		return nil, err
	}
	return during(ctx, conn, func() (net.Conn, error) {
		heard := &socksResponses{Conn: conn}
		dialer, err := proxy.SOCKS5("tcp", h.address, auth, heard)
		if err != nil {
			return nil, Fail(OutcomeProxyProtocol, err)
		}
		// An IP address is sent as one, everything else as a name.
		if _, err := dialer.Dial("tcp", t.String()); err != nil {
			return nil, heard.judge(ctx, auth != nil, err)
		}
		return conn, nil // the library's wrapper would switch splice off
	})
}

// socksResponses is the connection to the proxy while the library uses it. It keeps the first
// bytes of the responses. As a Dialer it returns itself.
type socksResponses struct {
	net.Conn
	got []byte
}

// socksResponsesLen is as far as judge looks: method (2), login (2), reply (2).
const socksResponsesLen = 6

func (a *socksResponses) Dial(string, string) (net.Conn, error) { return a, nil }

func (a *socksResponses) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	a.got = append(a.got, p[:min(n, socksResponsesLen-len(a.got))]...)
	return n, err
}

// The numbers of RFC 1928 and RFC 1929 that judge needs.
const (
	socksVersion       = 5
	socksNoLogin       = 0x00
	socksPassword      = 0x02
	socksNoMethod      = 0xff
	socksLoginOK       = 0
	socksNotAllowed    = 2 // a reply: by the proxy's rules
	socksUnknownCmd    = 7
	socksUnknownFamily = 8
)

// socksReplies are RFC 1928's, by number.
var socksReplies = [...]string{
	1: "general failure", 2: "connection not allowed", 3: "network unreachable", 4: "host unreachable",
	5: "connection refused", 6: "TTL expired", 7: "command not supported", 8: "address type not supported",
}

// judge finds the step at which the conversation ended with err.
func (a *socksResponses) judge(ctx context.Context, login bool, err error) error {
	silent := ctx.Err() != nil
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrHungUp
	}
	if len(a.got) < 2 {
		if silent {
			return Fail(OutcomeProxyUnreachable, err)
		}
		return Fail(OutcomeProxyProtocol, err)
	}
	reply := a.got[2:]
	switch {
	case a.got[0] != socksVersion:
		return failf(OutcomeProxyProtocol, "it does not speak SOCKS5: its first bytes are %q", a.got)
	case a.got[1] == socksNoMethod && !login, a.got[1] == socksPassword && !login:
		return failf(OutcomeLoginRefused, "it wants a login; write socks5://user@… and a password file")
	case a.got[1] == socksNoMethod:
		return failf(OutcomeLoginRefused, "it takes no password")
	case a.got[1] == socksPassword:
		switch {
		case len(reply) < 2 && silent:
			return Fail(OutcomeProxyUnreachable, err)
		case len(reply) < 2: // some proxies close the connection on a wrong password
			return Fail(OutcomeLoginRefused, err)
		case reply[1] != socksLoginOK:
			return failf(OutcomeLoginRefused, "user or password is wrong")
		}
		reply = reply[2:]
	case a.got[1] != socksNoLogin:
		return failf(OutcomeProxyProtocol, "it chose the login method %d, which was not offered", a.got[1])
	}
	return judgeReply(reply, silent, err)
}

// judgeReply reads the response to the request to connect.
func judgeReply(reply []byte, silent bool, err error) error {
	switch {
	case silent:
		return Fail(OutcomeTargetUnreachable, err)
	case len(reply) < 2 || reply[0] != socksVersion || reply[1] == 0:
		return Fail(OutcomeProxyProtocol, err)
	}
	code, text := int(reply[1]), "unknown reply"
	if code < len(socksReplies) {
		text = socksReplies[code]
	}
	switch code {
	case socksNotAllowed:
		return failf(OutcomeTargetRefused, "it answered %d, %s", code, text)
	case socksUnknownCmd, socksUnknownFamily:
		return failf(OutcomeProxyProtocol, "it answered %d, %s", code, text)
	default:
		return failf(OutcomeTargetUnreachable, "it answered %d, %s", code, text)
	}
}
