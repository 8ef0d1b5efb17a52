package relay

import (
	"context"
	"errors"
	"net"
	"time"
)

// errHidden is the reason to copy where splice does not find the bytes of a socket.
var errHidden = errors.New("splice does not find the bytes that come: an eBPF program has the sockets of this machine")

// probeTime bounds a probe.
const probeTime = time.Second

// Probe splices bytes between two connections over loopback. It returns why streams copy on this
// machine; nil if they splice, or if loopback cannot be used.
func Probe(ctx context.Context) error {
	pool := NewPipePool(1)
	defer pool.Close()
	client, in, err := loopback(ctx)
	if err != nil {
		return nil // which says nothing about splicing
	}
	defer client.Close()
	defer in.Close()
	out, broker, err := loopback(ctx)
	if err != nil {
		return nil // which says nothing about splicing
	}
	defer out.Close()
	defer broker.Close()
	for _, conn := range []net.Conn{client, in, out} {
		_ = conn.SetDeadline(time.Now().Add(probeTime)) // the connection is open
	}
	var s Stream
	s.Connect(in, out, pool)
	b := make([]byte, minSplice) // which the sockets' buffers take without a reader
	if _, err := client.Write(b); err == nil {
		_ = errors.Join(s.Pass(len(b)), s.Flush()) // the pool has the reason
	}
	s.Detach()
	if pool.Hidden() > 0 {
		return errHidden
	}
	_, err = pool.Refused()
	return err
}

// loopback returns both ends of a connection to this process itself.
func loopback(ctx context.Context) (near, far net.Conn, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if near, err = new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	for {
		if far, err = l.Accept(); err != nil {
			_ = near.Close() // it was not used
			return nil, nil, err
		}
		if far.RemoteAddr().String() == near.LocalAddr().String() {
			return near, far, nil
		}
		_ = far.Close() // another process has connected
	}
}
