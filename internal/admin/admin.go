// Package admin is kproxy's HTTP server for operators and orchestrators:
//
//	/metrics       for Prometheus
//	/livez         200 while the process serves
//	/readyz        200 while clients should be sent here, otherwise 503; JSON says why
//	/debug/pprof/  profiles, where [Config] asks for them
//	/-/reload      POST applies the configuration file, or compares it (?dry_run)
//	/-/upgrade     POST has a new process take over
//	/api/v1/       JSON for programs (package api)
//	/              the same for people (package page); /-/login and /-/logout are its forms
//
// The type to know is [Server]. Without a token it wants no login: bind it to a network
// whose clients may all read broker addresses and counts. With a token, statuses are for
// all, as probes of an orchestrator need them, and their bodies are for clients that send
// it. Everything but /livez, /readyz and /metrics is served under known host names alone
// (hosts.go). A path that changes something takes POST, and has rules of its own
// (changing.go). Every response has the headers of headers.go. The number of connections is limited
// (connections.go).
//
// Readiness follows from the state of package proxy (proxy.Health) and from the rule in
// readiness.go. The server applies no configuration itself: it calls Site.Reload.
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
	"sync/atomic"
	"time"

	"kproxy/internal/api"
	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/internal/page"
	"kproxy/internal/sharedsocket"
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
	log     *slog.Logger
	present atomic.Pointer[served]
	lent    atomic.Bool

	ctx  context.Context // ends with the server
	stop context.CancelFunc
}

// Site is everything that a server serves.
type Site struct {
	Config  *Config
	TLS     *tlsconf.Server // of Config.Load; nil: HTTP
	Ready   *Readiness
	Metrics http.Handler
	API     http.Handler // package api's; nil: there is none
	Page    *page.Page   // the status page, which uses the API; nil: there is none
	// Reload applies the configuration file. Its error joins [*MistakeError]s. nil: there is no
	// such path.
	Reload func(context.Context, Reload) (Reloaded, error)
	// Upgrade has a new process take over. Its error joins [*MistakeError]s, or is a
	// [*RefusedError]. nil: there is no such path.
	Upgrade func(context.Context, Upgrade) (Upgraded, error)
}

// served is a site in use.
type served struct {
	handler http.Handler
	secure  *tlsconf.Server
	tls     *tls.Config // nil: HTTP
	ctx     context.Context
	stop    context.CancelFunc // ends ctx: another site is served, or none
}

// Listen binds, and serves until Close.
func Listen(ctx context.Context, site *Site, log *slog.Logger) (*Server, error) {
	s, err := Bind(ctx, site.Config, log)
	if err != nil {
		return nil, err
	}
	s.Use(site)
	return s, nil
}

// Bind binds the address of c. The server serves from the first call of Use on.
func Bind(ctx context.Context, c *Config, log *slog.Logger) (*Server, error) {
	var lc net.ListenConfig
	if c.ReusePort {
		lc.Control = sharedsocket.ReusePort
	}
	socket, err := lc.Listen(ctx, hostport.Network(c.Bind), c.Bind)
	if err != nil {
		return nil, fmt.Errorf("admin.bind: bind %s: %w", c.Bind, err)
	}
	return Take(ctx, socket, log), nil
}

// Take is Bind with a socket that is bound already.
func Take(ctx context.Context, socket net.Listener, log *slog.Logger) *Server {
	open := newConnections(log.With(slog.String(logkey.Bind, socket.Addr().String())))
	s := &Server{
		socket: socket,
		log:    log,
		http: http.Server{
			ConnState:         open.state,
			ConnContext:       open.withReceipt,
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       requestTimeout,
			WriteTimeout:      responseTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients that leave
		},
	}
	s.http.Handler = http.HandlerFunc(s.serve)
	s.http.RegisterOnShutdown(func() { // or it would wait for streams
		if now := s.present.Load(); now != nil {
			now.stop()
		}
	})
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	return s
}

// StopAccepting ends the server's use of a socket that it has lent. Connections that are there are
// served until Close.
func (s *Server) StopAccepting() {
	s.lent.Store(true)
	_ = s.socket.Close() // it only accepts
}

// Lend returns the server's listening socket for another server of the process, which closes it
// and must not accept before StopAccepting. It stays open when this server is closed.
func (s *Server) Lend() (net.Listener, error) { return sharedsocket.Duplicate(s.socket) }

// serve serves a request by the present site. It is the last one of its connection if that
// site has TLS and the connection has not, or the other way round.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	now := s.present.Load()
	if (now.tls == nil) != (r.TLS == nil) {
		w.Header().Set("Connection", "close")
	}
	awaitBody(r)
	now.handler.ServeHTTP(w, r.WithContext(api.WithStop(r.Context(), now.ctx.Done())))
}

// Use serves a site from now on, at the same address. A request that has begun is finished
// as it began. It must not be called at the same time as itself or Close.
func (s *Server) Use(site *Site) {
	c := site.Config
	next := &served{handler: withBaseHeaders(newHosts(c).only(site.handler(s.log))), secure: site.TLS}
	next.ctx, next.stop = context.WithCancel(s.ctx)
	if site.TLS != nil {
		next.tls = site.TLS.Config()
		if c.WatchInterval > 0 {
			s.serving.Go(func() { tlsconf.Watch(next.ctx, c.WatchInterval, site.TLS) })
		}
	} else if c.TokenFile != "" && c.isExposed() {
		s.log.Warn("the admin token travels in plain text", slog.String(logkey.Bind, c.Bind), slog.String(logkey.Fix, "set admin.tls"))
	}
	before := s.present.Swap(next)
	if before != nil {
		before.stop()
		return
	}
	s.serving.Go(func() {
		if err := s.http.Serve(&siteListener{s.socket, &s.present}); !errors.Is(err, http.ErrServerClosed) && !s.lent.Load() {
			s.log.Error("the admin server has stopped", slog.Any(logkey.Error, err))
		}
	})
}

// siteListener begins TLS on new connections if the present site has it.
type siteListener struct {
	net.Listener

	present *atomic.Pointer[served]
}

// Accept waits for a connection.
func (l *siteListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if secure := l.present.Load().tls; secure != nil {
		return tls.Server(conn, secure), nil
	}
	return conn, nil
}

// handler serves all paths.
func (site *Site) handler(log *slog.Logger) http.Handler {
	return site.handlerWith(newGuard(site.Config.TokenFile, log))
}

func (site *Site) handlerWith(g *guard) http.Handler {
	c := site.Config
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", live)
	mux.Handle("GET /readyz", &briefly{site.Ready, g})
	mux.Handle("GET /metrics", only(g.admitsReader, site.Metrics))
	if c.Pprof {
		mux.Handle("GET /debug/pprof/", only(g.admits, profiles()))
	}
	if site.API != nil {
		mux.Handle(api.Prefix+"/", c.changing(g, site.API)) // reads too: they are about clients and their users
	}
	if site.Page != nil {
		mux.Handle("GET /{$}", c.page(g, site.Page))
		mux.Handle("POST /-/login", c.forms(g.logins.in))
		mux.Handle("POST /-/logout", c.forms(g.logins.out))
	}
	if site.Reload != nil {
		mux.Handle("POST /-/reload", c.changing(g, reloads(site.Reload)))
	}
	if site.Upgrade != nil {
		mux.Handle("POST /-/upgrade", c.changing(g, c.withToken(upgrades(site.Upgrade))))
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

// Socket is the server's listening socket, which stays its own.
func (s *Server) Socket() net.Listener { return s.socket }

// ReadFiles reads certificate and key now, and uses them for new connections if they are
// valid. It logs the result.
func (s *Server) ReadFiles() {
	if now := s.present.Load(); now != nil && now.secure != nil {
		_ = now.secure.Reload() // the log has the error
	}
}

// Close stops accepting, and waits for the responses that are being written until
// ctx ends; then it cuts them.
func (s *Server) Close(ctx context.Context) {
	if s.present.Load() == nil {
		_ = s.socket.Close() // it has not served
	}
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // it closes sockets only
	}
	s.stop()
	s.serving.Wait()
}

// live says that the process serves. It depends on nothing else: an orchestrator kills a
// process that is not live, and a fault elsewhere must not cause that.
func live(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // a client that is gone wants no response
}
