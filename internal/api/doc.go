// Package api is the part of the admin server that programs read: JSON under /api/v1.
//
//	GET    /topology          clusters, listeners and brokers, with the addresses advertised, bound and dialled
//	GET    /connections       the open connections; filters, an order, pages
//	GET    /connections/{id}  one of them
//	DELETE /connections/{id}  has it end, once its responses in flight are delivered
//	GET    /config            the configuration in use, without secrets, and where each value comes from
//	GET    /recent            the traffic of the last ten minutes
//	GET    /events            the last lines of the log; as text/event-stream also those that follow
//	GET    /log-level         the level of the log
//	PUT    /log-level         changes it for a time
//	GET    /openapi.json      this interface, as OpenAPI 3.0
//
// The type to know is [New]. It returns a handler that admits everyone: package admin checks the
// token, the Host and the Origin before, and sets the headers that all of its responses have. Text from brokers and clients is cleaned before it is shown.
package api

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"net/url"

	"kproxy/internal/events"
	"kproxy/internal/recent"
	"kproxy/proxy"
)

// Prefix is the path under which everything is served.
const Prefix = "/api/v1"

// Source is the proxy that is shown.
type Source interface {
	Topology() proxy.Topology
	Connections() []proxy.Connection
	Connection(id uint64) (c proxy.Connection, ok bool)
	Disconnect(id uint64) bool
}

//go:embed openapi.json
var document []byte

// Parts are everything that is shown.
type Parts struct {
	Source Source
	Recent *recent.Sampler
	Events *events.Ring
	Levels Levels
	Config func() Config
}

// New returns a handler for the paths under Prefix.
func New(parts Parts) http.Handler {
	source := parts.Source
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Prefix+"/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document) // a client that is gone wants no response
	})
	mux.HandleFunc("GET "+Prefix+"/topology", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, topologyOf(source))
	})
	c := connections{source}
	mux.HandleFunc("GET "+Prefix+"/connections", c.list)
	mux.HandleFunc("GET "+Prefix+"/connections/{id}", c.get)
	mux.HandleFunc("DELETE "+Prefix+"/connections/{id}", c.end)
	mux.Handle("GET "+Prefix+"/config", configs{parts.Config})
	mux.Handle("GET "+Prefix+"/recent", samples{parts.Recent})
	mux.Handle("GET "+Prefix+"/events", &eventLog{ring: parts.Events})
	level := logLevel{parts.Levels}
	mux.HandleFunc("GET "+Prefix+"/log-level", level.get)
	mux.HandleFunc("PUT "+Prefix+"/log-level", level.put)
	return problems{mux}
}

// problems responds by a Problem where mux has no such path, or no such method for it.
type problems struct{ mux *http.ServeMux }

func (p problems) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handler, pattern := p.mux.Handler(r)
	if pattern != "" {
		p.mux.ServeHTTP(w, r)
		return
	}
	refusal := unserved{header: http.Header{}}
	handler.ServeHTTP(&refusal, r)
	if allow := refusal.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		write(w, refusal.status, Problem{"this path has no such method", "use one of " + allow})
		return
	}
	write(w, refusal.status, Problem{"there is no such path", "look at " + Prefix + "/openapi.json"})
}

// unserved takes the response of a ServeMux to a request that it does not serve.
type unserved struct {
	header http.Header
	status int
}

func (u *unserved) Header() http.Header         { return u.header }
func (u *unserved) WriteHeader(status int)      { u.status = status }
func (u *unserved) Write(b []byte) (int, error) { return len(b), nil }

// queryOf returns the parameters of a request, each of which is there once. One that cannot be read is not
// left out: more than was asked for would be shown.
func queryOf(w http.ResponseWriter, r *http.Request) (values url.Values, ok bool) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		write(w, http.StatusBadRequest, Problem{"the query cannot be read: " + clean(err.Error()), "encode it as a URL wants it"})
		return nil, false
	}
	for name, texts := range values {
		if len(texts) > 1 {
			write(w, http.StatusBadRequest, Problem{clean(name) + " is there more than once", "write it once"})
			return nil, false
		}
	}
	return values, true
}

// Problem is the body of a response about a request that is not served.
type Problem struct {
	Error string `json:"error"`
	Fix   string `json:"fix,omitempty"`
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that is gone wants no response
}
