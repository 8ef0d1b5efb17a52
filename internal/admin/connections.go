package admin

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"kproxy/internal/logkey"
)

// maxConnections is how many connections the admin server keeps at one time. It is
// half of the descriptors that package proxy leaves free beside those of Kafka
// clients (64), so that admin clients cannot take the others. Prometheus, an
// orchestrator's probes and a few people need fewer.
const maxConnections = 32

// connections holds the server's connections to maxConnections. The newest connection is
// always admitted, because it may be a health check: an older one is closed for it.
type connections struct {
	log *slog.Logger

	mu   sync.Mutex // guards the following
	open map[net.Conn]*connection
	turn uint64    // counts the changes of states
	said time.Time // the time of the last log line
}

// connection is the state of one connection.
type connection struct {
	source string // the client's IP address
	active bool   // a request is complete, and its response is not
	turn   uint64 // when that last changed
}

func newConnections(log *slog.Logger) *connections {
	return &connections{log: log, open: map[net.Conn]*connection{}}
}

// state is the hook http.Server.ConnState. A connection is new until the header of its first
// request is complete, and idle between two requests.
func (c *connections) state(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.enter(conn)
	case http.StateActive, http.StateIdle:
		c.set(conn, state == http.StateActive)
	default: // closed or hijacked
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, conn)
	}
}

func (c *connections) set(conn net.Conn, active bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok := c.open[conn]; ok && k.active != active {
		c.turn++
		k.active, k.turn = active, c.turn
	}
}

type receiptKey struct{}

// withReceipt is the hook http.Server.ConnContext.
func (c *connections) withReceipt(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, receiptKey{}, func(complete bool) { c.set(conn, complete) })
}

// awaitBody has the connection of a request count as one without a request until the body of that
// has come: a client can take long for the rest of a form.
func awaitBody(r *http.Request) {
	receipt, ok := r.Context().Value(receiptKey{}).(func(complete bool))
	if !ok || r.Body == nil || r.Body == http.NoBody {
		return
	}
	receipt(false)
	r.Body = &awaited{r.Body, receipt}
}

// awaited is the body of a request.
type awaited struct {
	io.ReadCloser

	receipt func(complete bool)
}

// Read reads from the body.
func (a *awaited) Read(b []byte) (int, error) {
	n, err := a.ReadCloser.Read(b)
	if errors.Is(err, io.EOF) {
		a.receipt(true)
	}
	return n, err
}

// enter adds a connection, and closes another one if there are too many.
func (c *connections) enter(conn net.Conn) {
	c.mu.Lock()
	var surplus net.Conn
	var source string
	if len(c.open) >= maxConnections {
		surplus = c.surplus()
		source = c.open[surplus].source
		delete(c.open, surplus)
	}
	c.turn++
	c.open[conn] = &connection{source: sourceOf(conn), turn: c.turn}
	say := surplus != nil && time.Since(c.said) >= sayAgain
	if say {
		c.said = time.Now()
	}
	c.mu.Unlock()
	if surplus == nil {
		return
	}
	if secure, ok := surplus.(*tls.Conn); ok {
		surplus = secure.NetConn() // tls.Conn.Close waits for clients that do not read
	}
	_ = surplus.Close() // the server's own goroutine of it ends then
	if say {
		c.log.Warn("the admin server has its most connections; those that are idle longest are closed",
			slog.Int(logkey.Max, maxConnections), slog.String(logkey.Source, source),
			slog.String(logkey.Fix, "find the client that keeps so many open"))
	}
}

// surplus returns the connection to close: preferably one without a request, of the
// source with the most connections, and of those the one in that state for the longest
// time. So one source cannot cause the close of another's connections. The caller holds
// mu, and there is a connection.
func (c *connections) surplus() net.Conn {
	perSource := map[string]int{}
	all := make([]net.Conn, 0, len(c.open))
	for conn, k := range c.open {
		perSource[k.source]++
		all = append(all, conn)
	}
	return slices.MinFunc(all, func(a, b net.Conn) int {
		x, y := c.open[a], c.open[b]
		if x.active != y.active {
			if y.active {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(perSource[y.source], perSource[x.source]), cmp.Compare(x.turn, y.turn))
	})
}

func sourceOf(conn net.Conn) string {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().String()
	}
	return conn.RemoteAddr().String()
}
