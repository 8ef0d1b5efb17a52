//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
)

// relayJob is what the blind relay is told: pairs of where it listens and where
// that leads.
type relayJob struct {
	Ways []relayWay `json:"ways"`
}

type relayWay struct {
	Listen string `json:"listen"`
	To     string `json:"to"`
}

// serveRelay is the proxy that anybody would write: io.Copy both ways, between
// unwrapped connections, which the kernel splices.
func serveRelay(ctx context.Context, in io.Reader, _ io.Writer) error {
	var job relayJob
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return fmt.Errorf("the relay's job: %w", err)
	}
	ended := make(chan error, len(job.Ways))
	for _, way := range job.Ways {
		go func() { ended <- serveConns(ctx, way.Listen, relayTo(ctx, way.To)) }()
	}
	return <-ended
}

func relayTo(ctx context.Context, address string) func(*net.TCPConn) {
	return func(client *net.TCPConn) {
		defer client.Close()
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return
		}
		broker := conn.(*net.TCPConn)
		defer broker.Close()
		answers := make(chan struct{})
		go func() {
			defer close(answers)
			copyHalf(client, broker)
		}()
		copyHalf(broker, client)
		<-answers
	}
}

// copyHalf copies until src ends, and tells dst. Errors end both ways alike: the
// other half sees a closed side.
func copyHalf(dst, src *net.TCPConn) {
	if _, err := io.Copy(dst, src); err != nil {
		_ = src.Close()
		_ = dst.Close()
		return
	}
	_ = dst.CloseWrite()
}
