//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
)

// relayJob is the blind relay's configuration: pairs of a listening address and its
// upstream.
type relayJob struct {
	Ways []relayWay `json:"ways"`
	Down *keyFiles  `json:"down,omitempty"` // TLS to clients
	Up   *keyFiles  `json:"up,omitempty"`   // and to brokers
}

type relayWay struct {
	Listen string `json:"listen"`
	To     string `json:"to"`
}

// relay is the simplest proxy: io.Copy both ways, between unwrapped connections, which
// the kernel splices, or with crypto/tls on a side.
type relay struct {
	down, up *tls.Config // nil: plaintext
}

// serveRelay runs until ctx ends.
func serveRelay(ctx context.Context, in io.Reader, _ io.Writer) error {
	var job relayJob
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return fmt.Errorf("the relay's job: %w", err)
	}
	var r relay
	var down, up error
	r.down, down = job.Down.server()
	r.up, up = job.Up.client()
	if err := errors.Join(down, up); err != nil {
		return err
	}
	ended := make(chan error, len(job.Ways))
	for _, way := range job.Ways {
		go func() { ended <- serveConns(ctx, way.Listen, r.to(ctx, way.To)) }()
	}
	return <-ended
}

// side is a connection of a relay: one of TCP, or of TLS over it.
type side interface {
	net.Conn
	CloseWrite() error
}

func (r relay) to(ctx context.Context, address string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		var client side = conn
		if r.down != nil {
			client = tls.Server(conn, r.down)
		}
		defer client.Close()
		broker, err := r.dial(ctx, address)
		if err != nil {
			return
		}
		defer broker.Close()
		answers := make(chan struct{})
		go func() {
			defer close(answers)
			r.copyHalf(client, broker)
		}()
		r.copyHalf(broker, client)
		<-answers
	}
}

func (r relay) dial(ctx context.Context, address string) (side, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if conn, err = overTLS(ctx, conn, r.up); err != nil {
		return nil, err
	}
	return conn.(side), nil
}

// copyHalf copies until src ends, and ends dst. Errors end both ways alike: the
// other half sees a closed side.
func (r relay) copyHalf(dst, src side) {
	if err := r.copyAll(dst, src); err != nil {
		_ = src.Close()
		_ = dst.Close()
		return
	}
	_ = dst.CloseWrite()
}

// tlsCopyBuffer is the buffer size of a copy with TLS on a side.
const tlsCopyBuffer = 128 * kib

func (r relay) copyAll(dst, src side) error {
	if r.down == nil && r.up == nil {
		_, err := io.Copy(dst, src)
		return err
	}
	// A TCP connection would bring a smaller buffer of its own: it is hidden.
	_, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, tlsCopyBuffer))
	return err
}
