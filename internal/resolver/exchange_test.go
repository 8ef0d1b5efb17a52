package resolver

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// pair is an exchange, which has sent its query, and the other end.
func pair(ctx context.Context, t *testing.T, dial func(context.Context) (net.Conn, error), after time.Duration) (e *exchange, server *net.UDPConn) {
	t.Helper()
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	e = newExchange(ctx, client, dial, after)
	t.Cleanup(func() {
		_ = e.Close()
		_ = server.Close()
	})
	if err := e.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Write([]byte("query")); err != nil {
		t.Fatal(err)
	}
	return e, server
}

// A query that cannot be sent again does not end the lookup: the first one may still get its response.
func TestNoFurtherPort(t *testing.T) {
	t.Parallel()
	tried := make(chan struct{}, 100)
	e, server := pair(t.Context(), t, func(context.Context) (net.Conn, error) {
		tried <- struct{}{}
		return nil, errors.New("too many open files")
	}, time.Millisecond)
	go func() {
		buffer := make([]byte, 100)
		_, from, err := server.ReadFrom(buffer)
		<-tried
		<-tried
		if err == nil {
			_, _ = server.WriteTo([]byte("response"), from)
		}
	}()
	buffer := make([]byte, 100)
	if n, err := e.Read(buffer); err != nil || string(buffer[:n]) != "response" {
		t.Errorf("%q, %v", buffer[:n], err)
	}
}

// A lookup that ends sends no further query, and keeps no port.
func TestLookupEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	e, _ := pair(ctx, t, nil, time.Hour)
	cancel()
	began := time.Now()
	if _, err := e.Read(make([]byte, 100)); !errors.Is(err, context.Canceled) || time.Since(began) > 5*time.Second {
		t.Errorf("%v, after %v", err, time.Since(began))
	}
}
