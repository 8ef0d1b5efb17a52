// Package admin serves what operators and orchestrators ask a kproxy, over
// HTTP:
//
//	/metrics  for Prometheus
//	/livez    200 while the process serves
//	/readyz   200 while clients should be sent here, otherwise 503; JSON says why
//
// The type to know is [Server]. It asks nobody to log in: bind it where only
// those reach it who may read broker addresses and counts.
//
// What it does not do: it changes nothing. Whether kproxy is ready follows from
// what package proxy knows (proxy.Health) and from the rule in readiness.go.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"kproxy/internal/logkey"
)

// Limits of the server, against clients that are slow or gone. An answer may
// wait for a cluster's (see Readiness), 10 seconds at most.
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 10 * time.Second
	answerTimeout  = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10
)

// Server is the admin server.
type Server struct {
	http    http.Server
	socket  net.Listener
	serving sync.WaitGroup
}

// Listen binds address and serves there until Close.
func Listen(ctx context.Context, address string, ready *Readiness, metrics http.Handler, log *slog.Logger) (*Server, error) {
	socket, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("admin.bind: bind %s: %w", address, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /livez", live)
	mux.Handle("GET /readyz", ready)
	s := &Server{
		socket: socket,
		http: http.Server{
			Handler:           mux,
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       requestTimeout,
			WriteTimeout:      answerTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients that leave
		},
	}
	s.serving.Go(func() {
		if err := s.http.Serve(socket); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the admin server has stopped", slog.Any(logkey.Error, err))
		}
	})
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.socket.Addr() }

// Close stops accepting, and waits for the answers that are being written until
// ctx ends; then it cuts them.
func (s *Server) Close(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // it closes sockets only
	}
	s.serving.Wait()
}

// live says that the process serves. It depends on nothing: who is not live is
// killed, which no fault elsewhere may lead to.
func live(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // a client that is gone wants no answer
}
