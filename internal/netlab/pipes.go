package netlab

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"time"
)

// pipeListener hands out the far ends of pipes that were dialled.
type pipeListener struct {
	address name
	dialled chan net.Conn
	close   func()
	closed  chan struct{}
}

// listenPipe opens a listener in memory. The caller holds mu.
func (n *Network) listenPipe() net.Listener {
	l := &pipeListener{
		address: name("pipe:" + strconv.Itoa(len(n.pipes))),
		dialled: make(chan net.Conn),
		closed:  make(chan struct{}),
	}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	if n.pipes == nil {
		n.pipes = map[string]*pipeListener{}
	}
	n.pipes[l.address.String()] = l
	return l
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	toServer, fromClient := net.Pipe()
	toClient, fromServer := net.Pipe()
	near, far := &duplex{fromServer, toServer}, &duplex{fromClient, toClient}
	select {
	case l.dialled <- far:
		return near, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Addr: l.address, Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.dialled:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.close()
	return nil
}

func (l *pipeListener) Addr() net.Addr { return l.address }

// duplex is one end of a connection in memory. Its directions end separately, like TCP's
// and unlike those of a net.Pipe: there is a pipe for each.
type duplex struct {
	net.Conn          // incoming bytes
	out      net.Conn // outgoing bytes
}

func (d *duplex) Write(b []byte) (int, error) { return d.out.Write(b) }

func (d *duplex) SetWriteDeadline(t time.Time) error { return d.out.SetWriteDeadline(t) }

func (d *duplex) SetDeadline(t time.Time) error {
	return errors.Join(d.SetReadDeadline(t), d.SetWriteDeadline(t))
}

func (d *duplex) CloseWrite() error { return d.out.Close() }

func (d *duplex) Close() error {
	_ = d.out.Close() // closing a pipe does not fail
	return d.Conn.Close()
}
