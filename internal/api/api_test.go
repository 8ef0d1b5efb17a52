package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"kproxy/internal/api"
	"kproxy/internal/cluster"
	"kproxy/internal/endpoints"
	"kproxy/internal/events"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// fake is a Source.
type fake struct {
	topology    proxy.Topology
	connections []proxy.Connection
	ended       []uint64
}

func (f *fake) Topology() proxy.Topology        { return f.topology }
func (f *fake) Connections() []proxy.Connection { return f.connections }

func (f *fake) Connection(id uint64) (c proxy.Connection, ok bool) {
	i := slices.IndexFunc(f.connections, func(c proxy.Connection) bool { return c.ID == id })
	if i < 0 {
		return c, false
	}
	return f.connections[i], true
}

func (f *fake) Disconnect(id uint64) bool {
	f.ended = append(f.ended, id)
	return slices.ContainsFunc(f.connections, func(c proxy.Connection) bool { return c.ID == id })
}

// some has every field set, and texts of peers that lie.
func some() *fake {
	broken := endpoints.Broker{Node: 2, Host: "b2\x1b[31m", Port: 9092}
	f := &fake{topology: proxy.Topology{Clusters: []proxy.ClusterTopology{
		{
			ClusterHealth: proxy.ClusterHealth{
				Name: "orders", Up: true, LastAnswer: time.Now(), LastError: errors.New("refused\nby\x00it"), LastFailed: time.Now(), Hidden: []string{"Produce"},
			},
			ID: "id",
			Listeners: []proxy.ListenerTopology{{
				Name: "bob", Bind: "127.0.0.1:9092", Advertised: "bob.test:9092", TLS: true,
				APIs:  config.APIs{Preset: config.ReadOnly, Allow: []string{"CreateTopics"}, Deny: []string{"DescribeAcls"}},
				Nodes: []cluster.Place{{Broker: broken, Bind: "127.0.0.1:9102", Advertised: "bob.test:9102", Dialled: "b2:9092"}},
			}, {Name: "fred", Bind: "127.0.0.1:9093", Advertised: "fred.test:9093"}},
		},
		{ClusterHealth: proxy.ClusterHealth{Name: "empty"}},
	}}}
	states := []proxy.ConnectionState{proxy.Arriving, proxy.Open, proxy.Ending}
	for i := range 25 {
		c := proxy.Connection{
			ID: uint64(1 + i*7%25), Cluster: "orders", Listener: "bob", Node: int32(i%4) - 2, State: states[i%3], Client: fmt.Sprintf("10.0.0.%d:5000", i),
			Opened: time.Now().Add(-time.Duration(i) * time.Second), Idle: time.Duration(i%5) * time.Second,
			Up: proxy.Direction{Copied: int64(i), Frames: int64(i)}, Down: proxy.Direction{Copied: 1, Spliced: int64(i % 3), Frames: 3}, InFlight: i % 2, TLS: true,
		}
		if c.State != proxy.Arriving {
			c.ClientID, c.User, c.ServerName, c.Broker, c.Splices = "client\x1b", "alice", "b1.example.com", "b1:9092", i%2 == 0
			c.Software = proxy.Software{Name: "apache-kafka-java", Version: "4.1.0"}
		}
		f.connections = append(f.connections, c)
	}
	return f
}

// tester asks a handler, and holds each request and each response to the document.
type tester struct {
	*testing.T

	handler http.Handler
	router  routers.Router
	asked   map[string]bool // operations that were
}

func newTester(t *testing.T, parts api.Parts) *tester {
	t.Helper()
	handler := api.New(parts)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, api.Prefix+"/openapi.json", nil))
	doc, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &tester{t, handler, router, map[string]bool{}}
}

// ask returns the response, decoded into a value. invalid says that the document forbids the request.
func (t *tester) ask(method, path string, invalid bool, into any) (status int) {
	t.Helper()
	return t.send(method, path, "", invalid, into)
}

// send is ask with a body.
func (t *tester) send(method, path, content string, invalid bool, into any) (status int) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, api.Prefix+path, strings.NewReader(content))
	if content != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	route, params, err := t.router.FindRoute(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	t.asked[route.Operation.OperationID] = true
	input := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc:  func(context.Context, *openapi3filter.AuthenticationInput) error { return nil },
			SkipSettingDefaults: true, // the request is sent as it is
		},
	}
	if err := openapi3filter.ValidateRequest(t.Context(), input); (err != nil) != invalid {
		t.Fatalf("%s %s: by the document: %v", method, path, err)
	}
	w := httptest.NewRecorder()
	t.handler.ServeHTTP(w, r)
	body := w.Body.Bytes()
	if err := openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: w.Code, Header: w.Header(), Body: io.NopCloser(strings.NewReader(string(body))),
	}); err != nil {
		t.Fatalf("%s %s: %d %s: %v", method, path, w.Code, body, err)
	}
	if strings.ContainsAny(strings.TrimSuffix(string(body), "\n"), "\x1b\x00") {
		t.Errorf("%s %s: text of a peer is not cleaned: %q", method, path, body)
	}
	if into != nil {
		if err := json.Unmarshal(body, into); err != nil {
			t.Fatal(err)
		}
	}
	return w.Code
}

// Every operation of the document is served as it says, and no field that is served is missing there.
func TestDocument(t *testing.T) {
	t.Parallel()
	f := some()
	a := newTester(t, api.Parts{Source: f, Recent: someRecent(t), Events: new(events.Ring), Levels: &levels{level: "info"}, Config: someConfig})
	var topology api.Topology
	a.ask(http.MethodGet, "/topology", false, &topology)
	if n := topology.Clusters[0].Listeners[0]; n.Connections != 25 || n.Nodes[0].Connections != 0 || n.Nodes[0].Broker != `b2\x1b[31m:9092` {
		t.Errorf("%+v", n)
	}
	if got, none := topology.Clusters[0].Listeners[0].Refusals(), topology.Clusters[0].Listeners[1]; got != "read-only, but allows CreateTopics, refuses DescribeAcls" || none.APIs != nil || none.Refusals() != "" {
		t.Errorf("refusals %q, and %+v", got, none)
	}
	for _, c := range []struct {
		method, path string
		status       int
		invalid      bool
	}{
		{http.MethodGet, "/connections", http.StatusOK, false},
		{http.MethodGet, "/connections?limit=0", http.StatusBadRequest, true},
		{http.MethodGet, "/connections?limit=many", http.StatusBadRequest, true},
		{http.MethodGet, "/connections?sort=size", http.StatusBadRequest, true},
		{http.MethodGet, "/connections?cursor=%00", http.StatusBadRequest, true},
		{http.MethodGet, "/connections?cursor=MS54", http.StatusBadRequest, false}, // 1.x
		{http.MethodGet, "/connections?state=opne", http.StatusBadRequest, true},
		{http.MethodGet, "/connections?path=", http.StatusBadRequest, true},
		{http.MethodGet, "/connections?node=x", http.StatusBadRequest, true},
		{http.MethodGet, "/connections?node=", http.StatusOK, false},
		{http.MethodGet, "/connections/18446744073709551616", http.StatusBadRequest, true},
		{http.MethodGet, "/connections?nod=1", http.StatusBadRequest, false},
		{http.MethodGet, "/connections?node=1&node=2", http.StatusBadRequest, false},
		{http.MethodGet, "/connections/3", http.StatusOK, false},
		{http.MethodGet, "/connections/26", http.StatusNotFound, false},
		{http.MethodGet, "/connections/x", http.StatusBadRequest, true},
		{http.MethodDelete, "/connections/3", http.StatusAccepted, false},
		{http.MethodDelete, "/connections/26", http.StatusNotFound, false},
		{http.MethodDelete, "/connections/-1", http.StatusBadRequest, true},
		{http.MethodGet, "/config", http.StatusOK, false},
		{http.MethodGet, "/config?from=heaven", http.StatusBadRequest, true},
		{http.MethodGet, "/config?keys=x", http.StatusBadRequest, false},
		{http.MethodGet, "/config?key=x&key=y", http.StatusBadRequest, false},
		{http.MethodGet, "/recent", http.StatusOK, false},
		{http.MethodGet, "/recent?limit=0", http.StatusOK, false},
		{http.MethodGet, "/recent?limit=101", http.StatusBadRequest, true},
		{http.MethodGet, "/recent?limit=x", http.StatusBadRequest, true},
		{http.MethodGet, "/recent?after=1", http.StatusBadRequest, false},
		{http.MethodGet, "/recent?cluster=a&cluster=b", http.StatusBadRequest, false},
		{http.MethodGet, "/events", http.StatusOK, false},
		{http.MethodGet, "/events?after=-1", http.StatusBadRequest, true},
		{http.MethodGet, "/events?after=9223372036854775808", http.StatusBadRequest, true},
		{http.MethodGet, "/connections/9223372036854775808", http.StatusBadRequest, true},
		{http.MethodGet, "/events?level=debug", http.StatusBadRequest, true},
		{http.MethodGet, "/events?client=x", http.StatusBadRequest, false},
		{http.MethodGet, "/events?reason=x&reason=y", http.StatusBadRequest, false},
		{http.MethodGet, "/log-level", http.StatusOK, false},
		{http.MethodGet, "/openapi.json", http.StatusOK, false},
	} {
		if status := a.ask(c.method, c.path, c.invalid, nil); status != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, status, c.status)
		}
	}
	if want := []uint64{3, 26}; !slices.Equal(f.ended, want) {
		t.Errorf("asked to end: %v, want %v", f.ended, want)
	}
	checkLevels(t, a)
	if got, want := len(a.asked), 10; got != want {
		t.Errorf("operations %v were asked, want %d", slices.Sorted(maps.Keys(a.asked)), want)
	}
}

// Pages have each connection once, in the order that was asked for.
func TestPages(t *testing.T) {
	t.Parallel()
	a := newTester(t, api.Parts{Source: some()})
	for order, number := range map[string]func(c api.Connection) float64{
		"id":        func(c api.Connection) float64 { return float64(c.ID) },
		"opened":    func(c api.Connection) float64 { return float64(c.Opened.UnixMicro()) },
		"idle":      func(c api.Connection) float64 { return c.Idle },
		"bytes":     func(c api.Connection) float64 { return float64(c.BytesUp + c.BytesDown) },
		"in_flight": func(c api.Connection) float64 { return float64(c.InFlight) },
	} {
		for _, sign := range []string{"", "-"} {
			seen := map[uint64]bool{}
			var last *api.Connection
			for next, pages := "", 0; pages == 0 || next != ""; pages++ {
				var page api.Connections
				a.ask(http.MethodGet, "/connections?limit=4&sort="+sign+order+"&cursor="+next, false, &page)
				if page.Total != 25 || len(page.Connections) > 4 || pages > 7 {
					t.Fatalf("%s%s: page %d: %d connections of %d", sign, order, pages, len(page.Connections), page.Total)
				}
				for _, c := range page.Connections {
					if seen[c.ID] {
						t.Errorf("%s%s: %d is there twice", sign, order, c.ID)
					}
					if last != nil && (number(c) < number(*last)) != (sign == "-") && number(c) != number(*last) {
						t.Errorf("%s%s: %v behind %v", sign, order, number(c), number(*last))
					}
					seen[c.ID], last = true, &c
				}
				next = page.Next
			}
			if len(seen) != 25 {
				t.Errorf("%s%s: %d connections", sign, order, len(seen))
			}
		}
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	a := newTester(t, api.Parts{Source: some()})
	for query, want := range map[string]int{
		"cluster=orders":             25,
		"cluster=order":              0,
		"listener=bob&state=open":    8,
		"node=1":                     6,
		"node=":                      13,
		"client=10.0.0.2":            6, // and 10.0.0.20 to 24
		"client_id=CLIENT":           16,
		"user=ali":                   16,
		"user=bob":                   0,
		"software=java+4.1":          16,
		"broker=b1":                  16,
		"text=ORDERS/bob":            25,
		"text=b1.example":            16,
		"text=10.0.0.2":              6,
		"path=splice":                8,
		"path=copy&state=ending":     4,
		"software=java&user=nothing": 0,
	} {
		var page api.Connections
		if a.ask(http.MethodGet, "/connections?"+query, false, &page); page.Total != want {
			t.Errorf("%s: %d connections, want %d", query, page.Total, want)
		}
	}
}

func someConfig() api.Config {
	c := api.Config{File: "k.yaml", Generation: 2, Settings: []api.Setting{
		{Key: "admin.bind", Value: "127.0.0.1:9400", From: api.FromFile, Line: 1},
		{Key: "clusters.orders.dial[0].to", Value: "h:1", From: api.FromFile, Line: 5},
		{Key: "clusters.orders2.bootstrap", Value: "[h:1]", From: api.FromFile, Line: 9},
		{Key: "log.level", Value: "warn", From: api.FromEnvironment, Variable: "KPROXY_LOG_LEVEL"},
		{Key: "log.format", Value: "text", From: api.FromDefault},
	}}
	return c
}

func TestSettingsAreSelected(t *testing.T) {
	t.Parallel()
	many := func() api.Config {
		c := someConfig()
		for i := range 20_000 {
			c.Settings = append(c.Settings, api.Setting{Key: fmt.Sprintf("clusters.many.listeners.l%d.bind", i), Value: "x", From: api.FromFile, Line: 10 + i})
		}
		return c
	}
	a := newTester(t, api.Parts{Source: some(), Config: many})
	for query, want := range map[string]struct{ settings, left int }{
		"":                              {10_000, 10_005},
		"key=log":                       {2, 0},
		"key=log.level":                 {1, 0},
		"key=lo":                        {0, 0},
		"key=clusters.orders":           {1, 0},
		"key=clusters.orders.dial":      {1, 0},
		"from=environment":              {1, 0},
		"from=default":                  {1, 0},
		"from=default&key=log.level":    {0, 0},
		"from=file&key=clusters.many":   {10_000, 10_000},
		"from=file&key=clusters.orders": {1, 0},
	} {
		var c api.Config
		a.ask(http.MethodGet, "/config?"+query, false, &c)
		if len(c.Settings) != want.settings || c.LeftOut != want.left || c.File != "k.yaml" || c.Generation != 2 {
			t.Errorf("%s: %d settings, %d left out, want %+v", query, len(c.Settings), c.LeftOut, want)
		}
	}
}

// A path or a method that there is not has an error as JSON, too, and so has a query that cannot be read.
func TestUnservedRequests(t *testing.T) {
	t.Parallel()
	handler := api.New(api.Parts{Source: some(), Events: new(events.Ring)})
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{http.MethodGet, "/nothing", http.StatusNotFound, ""},
		{http.MethodGet, "/connections/1/more", http.StatusNotFound, ""},
		{http.MethodPost, "/connections", http.StatusMethodNotAllowed, "GET, HEAD"},
		{http.MethodGet, "/connections?user=%zz", http.StatusBadRequest, ""},
		{http.MethodGet, "/connections?node=1;state=open", http.StatusBadRequest, ""},
		{http.MethodGet, "/config?key=%zz", http.StatusBadRequest, ""},
		{http.MethodGet, "/events?level=%zz", http.StatusBadRequest, ""},
		{http.MethodOptions, "/log-level", http.StatusMethodNotAllowed, "GET, HEAD, PUT"},
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, api.Prefix+c.path, nil))
		var got api.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Error == "" || got.Fix == "" {
			t.Errorf("%s %s: %q, %v", c.method, c.path, w.Body, err)
		}
		if w.Code != c.status || w.Header().Get("Allow") != c.allow || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d %v", c.method, c.path, w.Code, w.Header())
		}
	}
}
