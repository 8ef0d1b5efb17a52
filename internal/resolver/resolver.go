// Package resolver asks a name server again when a query or its response is lost. Go waits for
// five seconds before it does. That is half of the time that a dial of a broker may take, and a loss is not rare:
// two queries of one moment lose a race in the NAT of a Kubernetes node. Such a loss hits one source port for as
// long as it asks, so each query has a new one.
package resolver

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// Use makes net.DefaultResolver send a query again after one second, and then after two more.
func Use() { net.DefaultResolver = New(time.Second) }

// New is a resolver like Go's own. It sends a query again after a time without a response, and then each time after
// twice the time before, always from another port. Where the system resolves names, as on macOS, it has no effect.
func New(after time.Duration) *net.Resolver {
	return &net.Resolver{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		dial := func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, network, address) }
		conn, err := dial(ctx)
		if udp, ok := conn.(*net.UDPConn); ok {
			return newExchange(ctx, udp, dial, after), nil
		}
		return conn, err
	}}
}

// exchange is a query by UDP, on one or more connections. net makes one for each, sets its deadline, writes once,
// reads until a response fits, and closes it.
type exchange struct {
	*net.UDPConn                                         // the first
	dial         func(context.Context) (net.Conn, error) // opens another
	after        time.Duration                           // of silence before the query is sent again
	deadline     time.Time
	ctx          context.Context // of the lookup: net.Conn has no other way to end with it
	next         time.Time       // when the query is sent again, whatever comes that does not fit
	query        []byte
	more         []net.Conn
	came         chan came
	done         chan struct{} // closed by Close
	reading      sync.WaitGroup
}

func newExchange(ctx context.Context, first *net.UDPConn, dial func(context.Context) (net.Conn, error), after time.Duration) *exchange {
	return &exchange{UDPConn: first, dial: dial, after: after, ctx: ctx, came: make(chan came), done: make(chan struct{})}
}

// came is a response, or the error of a connection.
type came struct {
	response []byte
	err      error
}

func (e *exchange) SetDeadline(t time.Time) error {
	e.deadline = t
	return nil
}

func (e *exchange) Write(query []byte) (int, error) {
	e.query, e.next = bytes.Clone(query), time.Now().Add(e.after)
	return len(query), e.send(e.UDPConn)
}

// send sends the query, and reads the responses.
func (e *exchange) send(conn net.Conn) error {
	if _, err := conn.Write(e.query); err != nil {
		return err
	}
	e.reading.Go(func() {
		buffer := make([]byte, 2048) // net asks for 1,232 bytes at most
		for {
			n, err := conn.Read(buffer)
			select {
			case e.came <- came{bytes.Clone(buffer[:n]), err}:
			case <-e.done:
				return
			}
			if err != nil {
				return
			}
		}
	})
	return nil
}

func (e *exchange) Read(response []byte) (int, error) {
	late := time.NewTimer(time.Until(e.deadline))
	defer late.Stop()
	again := time.NewTimer(time.Until(e.next))
	defer again.Stop()
	for {
		select {
		case c := <-e.came:
			return copy(response, c.response), c.err
		case <-late.C:
			return 0, os.ErrDeadlineExceeded
		case <-e.ctx.Done():
			return 0, e.ctx.Err()
		case <-again.C:
			e.after *= 2
			e.next = time.Now().Add(e.after)
			again.Reset(e.after)
			e.sendAgain()
		}
	}
}

// sendAgain sends the query from another port. If that fails, as at the limit of open files, the ports before may
// still get a response.
func (e *exchange) sendAgain() {
	conn, err := e.dial(e.ctx)
	if err != nil {
		return
	}
	e.more = append(e.more, conn)
	_ = e.send(conn)
}

func (e *exchange) Close() error {
	close(e.done)
	err := e.UDPConn.Close()
	for _, conn := range e.more {
		err = errors.Join(err, conn.Close())
	}
	e.reading.Wait()
	return err
}
