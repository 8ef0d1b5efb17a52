// Package resolver asks a name server again when a query or its response is lost. Go waits for
// five seconds before it does. That is half of the time that a dial of a broker may take, and a loss is not rare:
// two queries of one moment lose a race in a node's NAT of Kubernetes, and podman's name server ignores some queries
// after a container has started.
package resolver

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// Use makes net.DefaultResolver send a query again after one second, and then after two more.
func Use() { net.DefaultResolver = New(time.Second) }

// New is a resolver like Go's own. It sends a query again after a time without a response, and then each time after
// twice the time before. Where the system resolves names, as on macOS, it has no effect.
func New(after time.Duration) *net.Resolver {
	return &net.Resolver{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if udp, ok := conn.(*net.UDPConn); ok {
			return &exchange{UDPConn: udp, after: after}, nil
		}
		return conn, err
	}}
}

// exchange is a query by UDP. net makes one for each, sets its deadline, writes once, and reads until a response fits.
type exchange struct {
	*net.UDPConn
	after    time.Duration // of silence before the query is sent again
	deadline time.Time     // zero: none
	query    []byte
}

func (e *exchange) SetDeadline(t time.Time) error {
	e.deadline = t
	return e.UDPConn.SetDeadline(t)
}

func (e *exchange) Write(query []byte) (int, error) {
	e.query = bytes.Clone(query)
	return e.UDPConn.Write(query)
}

func (e *exchange) Read(response []byte) (int, error) {
	for {
		again := time.Now().Add(e.after)
		last := !e.deadline.IsZero() && !again.Before(e.deadline)
		if last {
			again = e.deadline
		}
		if err := e.SetReadDeadline(again); err != nil {
			return 0, err
		}
		n, err := e.UDPConn.Read(response)
		if last || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if _, err := e.UDPConn.Write(e.query); err != nil {
			return 0, err
		}
		e.after *= 2
	}
}
