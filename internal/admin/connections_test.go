package admin_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/certlab"
)

// mostConnections is the server's limit.
const mostConnections = 32

// mustBeClosed fails the test unless the server has closed a connection, or closes it
// sooner than its time-outs would (5 s and 12 s).
func mustBeClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Read(make([]byte, 1))
	if timeout, ok := errors.AsType[net.Error](err); err == nil || ok && timeout.Timeout() {
		t.Fatalf("got %v, want the connection closed", err)
	}
}

// connect opens a connection that the test closes.
func connect(t *testing.T, s *admin.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// keepAlive asks once, and leaves the connection open.
func keepAlive(t *testing.T, conn net.Conn) {
	t.Helper()
	fmt.Fprint(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %d, %v", resp.StatusCode, err)
	}
}

// Clients that keep connections cannot take all descriptors, and health checks get
// through.
func TestIdleConnectionsAreLimited(t *testing.T) {
	log := &journal{}
	s := listenWith(t, &admin.Config{Bind: "127.0.0.1:0"}, nil, slog.New(slog.NewTextHandler(log, nil)))
	var all []net.Conn
	for range mostConnections + 20 {
		conn := connect(t, s)
		keepAlive(t, conn)
		all = append(all, conn)
	}
	// 20 are closed. Which ones depends on when the server has noted that they are
	// idle, and a client has its response before that.
	closed := make(chan bool)
	for _, conn := range all {
		go func() {
			_, err := conn.Read(make([]byte, 1))
			closed <- !errors.Is(err, net.ErrClosed) // by the test, below
		}()
	}
	for range 20 {
		select {
		case <-closed:
		case <-time.After(3 * time.Second): // sooner than the server's time-outs
			t.Fatal("too few are closed")
		}
	}
	for _, conn := range all {
		_ = conn.Close()
	}
	for range mostConnections {
		if <-closed {
			t.Error("more than 20 are closed")
		}
	}
	log.once(t, "level=WARN", "max=32", "source=127.0.0.1", "fix=")
	if status, body := get(t, s, "/livez"); status != http.StatusOK {
		t.Errorf("/livez: got %d %s", status, body)
	}
}

// Connections with half a header, and silent ones, are closed before their time-out, too.
func TestHalfRequestsAreLimited(t *testing.T) {
	for _, half := range []string{"", "GET /livez HTTP/1.1\r\nHost:"} {
		s := listen(t, nil)
		oldest := connect(t, s)
		fmt.Fprint(oldest, half)
		for range mostConnections {
			fmt.Fprint(connect(t, s), half)
		}
		mustBeClosed(t, oldest)
		if status, body := get(t, s, "/livez"); status != http.StatusOK {
			t.Errorf("/livez: got %d %s", status, body)
		}
	}
}

// The limit also holds for connections with a request: the newest may be a health check.
func TestActiveConnectionsAreLimited(t *testing.T) {
	entered := make(chan struct{}, 2*mostConnections)
	release := make(chan struct{})
	slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	})
	s, err := admin.Listen(t.Context(), &admin.Site{Config: &admin.Config{Bind: "127.0.0.1:0"}, Metrics: slow}, discard)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	defer close(release)
	oldest := connect(t, s)
	for i := range mostConnections {
		conn := oldest
		if i > 0 {
			conn = connect(t, s)
		}
		fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
		<-entered
	}
	connect(t, s)
	mustBeClosed(t, oldest)
	if status, body := get(t, s, "/livez"); status != http.StatusOK {
		t.Errorf("/livez: got %d %s", status, body)
	}
}

// A log-in form that does not end is no request: another one of its source is kept in its place.
func TestUnfinishedFormsAreLimited(t *testing.T) {
	entered, blocked := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(blocked) })
	slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-blocked
	})
	site := withPage(&admin.Config{Bind: "127.0.0.1:0", TokenFile: tokenFile(t)})
	site.Metrics = slow
	s := listenUntil(t, site, release)
	oldest := connect(t, s)
	fmt.Fprintf(oldest, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", token)
	<-entered
	var forms []net.Conn
	for range mostConnections - 1 {
		conn := connect(t, s)
		fmt.Fprint(conn, "POST /-/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
			"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusContinue { // the server reads the form
			t.Fatal(resp, err)
		}
		forms = append(forms, conn)
	}
	connect(t, s)
	mustBeClosed(t, forms[0])
	release()
	resp, err := http.ReadResponse(bufio.NewReader(oldest), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the request that was complete: %v, %v", resp, err)
	}
}

// A request whose body is complete counts as one.
func TestFinishedFormsAreActive(t *testing.T) {
	entered, blocked := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(blocked) })
	site := withPage(&admin.Config{Bind: "127.0.0.1:0"})
	site.API = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		close(entered)
		<-blocked
	})
	s := listenUntil(t, site, release)
	first := connect(t, s)
	fmt.Fprint(first, "PUT /api/v1/log-level HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
	<-entered
	next := connect(t, s)
	for range mostConnections - 1 {
		connect(t, s)
	}
	mustBeClosed(t, next)
	release()
	if resp, err := http.ReadResponse(bufio.NewReader(first), nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("got %v, %v", resp, err)
	}
}

// Many connections from one address do not cause the close of another's.
func TestAnotherAddressKeepsItsConnection(t *testing.T) {
	s := listenWith(t, &admin.Config{Bind: "0.0.0.0:0"}, nil, discard)
	_, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	other, err := from.DialContext(t.Context(), "tcp4", "127.0.0.1:"+port)
	if err != nil {
		t.Skipf("this system has one loopback address: %v", err)
	}
	defer func() { _ = other.Close() }()
	keepAlive(t, other)
	for range 2 * mostConnections {
		conn, err := net.Dial("tcp4", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		keepAlive(t, conn)
	}
	keepAlive(t, other)
}

// A TLS client that does not read blocks nothing.
func TestIdleConnectionsAreLimitedOverTLS(t *testing.T) {
	files := certlab.NewFolder(t)
	ca := certlab.NewAuthority(t, "admin")
	cert, key := files.Pair(t, "admin", ca.Issue(t, nil, "localhost"))
	s := listenWith(t, &admin.Config{Bind: "127.0.0.1:0", Cert: cert, Key: key}, nil, discard)
	conf := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
	for range 2 * mostConnections {
		conn, err := tls.Dial("tcp", s.Addr().String(), conf)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		keepAlive(t, conn)
	}
}

// listenUntil listens for a test whose handlers wait until release is called.
func listenUntil(t *testing.T, site *admin.Site, release func()) *admin.Server {
	t.Helper()
	s, err := admin.Listen(t.Context(), site, discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		release()
		s.Close(t.Context())
	})
	return s
}
