// Package admin is kproxy's HTTP server for operators and orchestrators:
//
//	/metrics       for Prometheus
//	/livez         200 while the process serves
//	/readyz        200 while clients should be sent here, otherwise 503; JSON says why
//	/debug/pprof/  profiles, where [Config] asks for them
//
// The type to know is [Server]. Without a token it wants no login: bind it to a network
// whose clients may all read broker addresses and counts. With a token, statuses are for
// all, as probes of an orchestrator need them, and their bodies are for clients that send
// it. Everything but /livez, /readyz and /metrics is served under known host names alone
// (hosts.go). The number of connections is limited (connections.go).
//
// The server changes nothing. Readiness follows from the state of package proxy
// (proxy.Health) and from the rule in readiness.go.
package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/internal/tlsconf"
)

// Limits of the server, against clients that are slow or gone. A response may
// wait for a cluster's (see Readiness), 10 seconds at most.
const (
	headerTimeout   = 5 * time.Second
	requestTimeout  = 10 * time.Second
	responseTimeout = 30 * time.Second
	// Most scrapes come every 5, 10 or 15 seconds. This is more than 10, and not a
	// multiple of 5, so that a connection does not end at the moment of its use.
	idleTimeout    = 12 * time.Second
	maxHeaderBytes = 16 << 10
)

// Server is the admin server.
type Server struct {
	http    http.Server
	socket  net.Listener
	serving sync.WaitGroup
	secure  *tlsconf.Server // nil: HTTP

	stopWatching context.CancelFunc
}

// Listen binds, and serves until Close. secure is the result of c.Load.
func Listen(ctx context.Context, c *Config, secure *tlsconf.Server, ready *Readiness, metrics http.Handler, log *slog.Logger) (*Server, error) {
	socket, err := new(net.ListenConfig).Listen(ctx, hostport.Network(c.Bind), c.Bind)
	if err != nil {
		return nil, fmt.Errorf("admin.bind: bind %s: %w", c.Bind, err)
	}
	s := &Server{
		socket: socket,
		secure: secure,
		http: http.Server{
			Handler:           newHosts(c).only(c.handler(ready, metrics, log)),
			ConnState:         newConnections(log.With(slog.String(logkey.Bind, c.Bind))).state,
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       requestTimeout,
			WriteTimeout:      responseTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients that leave
		},
	}
	ctx, s.stopWatching = context.WithCancel(context.WithoutCancel(ctx))
	if secure != nil {
		socket = tls.NewListener(socket, secure.Config())
		if c.WatchInterval > 0 {
			s.serving.Go(func() { tlsconf.Watch(ctx, c.WatchInterval, secure) })
		}
	} else if c.TokenFile != "" && c.isExposed() {
		log.Warn("the admin token travels in plain text", slog.String(logkey.Bind, c.Bind), slog.String(logkey.Fix, "set admin.tls"))
	}
	s.serving.Go(func() {
		if err := s.http.Serve(socket); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the admin server has stopped", slog.Any(logkey.Error, err))
		}
	})
	return s, nil
}

// handler serves all paths.
func (c *Config) handler(ready *Readiness, metrics http.Handler, log *slog.Logger) http.Handler {
	g := &guard{file: c.TokenFile, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", live)
	mux.Handle("GET /readyz", &briefly{ready, g})
	mux.Handle("GET /metrics", g.only(metrics))
	if c.Pprof {
		mux.Handle("GET /debug/pprof/", g.only(profiles()))
	}
	return mux
}

// profiles are those of package net/http/pprof.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.socket.Addr() }

// ReadFiles reads certificate and key now, and uses them for new connections if they are
// valid. It logs the result.
func (s *Server) ReadFiles() {
	if s.secure != nil {
		_ = s.secure.Reload() // the log has the error
	}
}

// Close stops accepting, and waits for the responses that are being written until
// ctx ends; then it cuts them.
func (s *Server) Close(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // it closes sockets only
	}
	s.stopWatching()
	s.serving.Wait()
}

// live says that the process serves. It depends on nothing else: an orchestrator kills a
// process that is not live, and a fault elsewhere must not cause that.
func live(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // a client that is gone wants no response
}
