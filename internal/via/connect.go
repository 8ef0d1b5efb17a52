package via

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
)

// maxHead bounds the response to CONNECT, status line and fields: proxies respond in a
// few hundred bytes, and the page of a refusal comes after the head, unread.
const maxHead = 16 << 10

// connectHop goes through an HTTP proxy by CONNECT (RFC 9110, 9.3.6). net/http
// writes the request and reads the head of the response.
type connectHop struct {
	connect  ProxyDial
	address  string
	tls      *tls.Config // nil: plain HTTP
	user     string      // empty: no login
	password SecretFile
}

func (h *connectHop) Close() {}

func (h *connectHop) Dial(ctx context.Context, t Target) (net.Conn, error) {
	request := &http.Request{
		Method: http.MethodConnect,
		URL:    &url.URL{Opaque: t.String()},
		Host:   t.String(),
		Header: http.Header{"User-Agent": {"kproxy"}},
	}
	var secrets []string
	if h.user != "" {
		password, err := h.password.Read(ctx)
		if err != nil {
			return nil, Fail(OutcomeCredentials, err)
		}
		login := base64.StdEncoding.EncodeToString([]byte(h.user + ":" + password))
		request.Header.Set("Proxy-Authorization", "Basic "+login)
		secrets = []string{login, password}
	}
	conn, err := h.connect.Connect(ctx, h.address)
	if err != nil {
		return nil, err
	}
	return during(ctx, conn, func() (net.Conn, error) {
		if h.tls == nil {
			return tunnel(ctx, conn, request, secrets)
		}
		secure := tls.Client(conn, h.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, Fail(tlsOutcome(err), err)
		}
		return tunnel(ctx, secure, request, secrets)
	})
}

func tlsOutcome(err error) Outcome {
	if _, bad := errors.AsType[*tls.CertificateVerificationError](err); bad {
		return OutcomeProxyUntrusted
	}
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	if record || alert || errors.Is(err, io.EOF) {
		return OutcomeProxyProtocol
	}
	return OutcomeProxyUnreachable
}

// tunnel asks for the connection and reads the head of the response. A 2xx response has
// no body: the bytes after its head are the far side's.
func tunnel(ctx context.Context, conn net.Conn, request *http.Request, secrets []string) (net.Conn, error) {
	if err := request.Write(conn); err != nil {
		return nil, Fail(OutcomeProxyUnreachable, err)
	}
	limited := &io.LimitedReader{R: conn, N: maxHead}
	head := bufio.NewReader(limited)
	response, err := http.ReadResponse(head, request)
	for err == nil && isInterim(response) {
		response, err = http.ReadResponse(head, request)
	}
	if err != nil {
		return nil, noResponse(ctx, limited.N == 0, err, secrets)
	}
	// The body is neither read nor closed: closing it would read on.
	if response.StatusCode < 200 || 299 < response.StatusCode {
		return nil, refusal(response, secrets)
	}
	if head.Buffered() == 0 {
		return conn, nil
	}
	early, err := head.Peek(head.Buffered())
	if err != nil {
		return nil, Fail(OutcomeProxyProtocol, err)
	}
	return &earlyConn{Conn: conn, early: early}, nil
}

// isInterim reports whether another response follows (RFC 9110, 15.2). 101 is the last
// one, and no success. maxHead bounds their number.
func isInterim(response *http.Response) bool {
	return 100 <= response.StatusCode && response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols
}

// noResponse is the error of a head that could not be read.
func noResponse(ctx context.Context, tooLong bool, err error, secrets []string) error {
	switch {
	case ctx.Err() != nil:
		return Fail(OutcomeTargetUnreachable, err)
	case tooLong:
		return failf(OutcomeProxyProtocol, "its response to CONNECT has more than %d bytes", maxHead)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Fail(OutcomeProxyProtocol, ErrHungUp)
	default:
		return failf(OutcomeProxyProtocol, "its response to CONNECT is not HTTP: %s", Quote(err.Error(), secrets...))
	}
}

// refusal is the error with the status line of a response that is no success.
func refusal(response *http.Response, secrets []string) error {
	line := Quote(response.Proto+" "+response.Status, secrets...)
	switch code := response.StatusCode; {
	case code == http.StatusProxyAuthRequired || code == http.StatusUnauthorized:
		hint := ""
		if response.Request.Header.Get("Proxy-Authorization") == "" {
			hint = "; write http://user@… and a password file"
		}
		return failf(OutcomeLoginRefused, "it answered %s%s", line, hint)
	case code == http.StatusBadGateway || code == http.StatusServiceUnavailable || code == http.StatusGatewayTimeout ||
		code == http.StatusInternalServerError || code == http.StatusNotFound:
		return failf(OutcomeTargetUnreachable, "it answered %s", line)
	case code < 400:
		return failf(OutcomeProxyProtocol, "it answered %s", line)
	default:
		return failf(OutcomeTargetRefused, "it answered %s", line)
	}
}

// earlyConn is a connection that returns the bytes first that came with the head.
type earlyConn struct {
	net.Conn
	early []byte
}

func (c *earlyConn) Read(p []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.early)
	c.early = c.early[n:]
	return n, nil
}

// CloseWrite ends the sending side: TCP's, or that of TLS.
func (c *earlyConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
