package api

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kproxy/proxy"
)

// Connections is the body of /connections.
type Connections struct {
	Connections []Connection `json:"connections"`
	Total       int          `json:"total"`          // that the filters admit, on all pages
	Next        string       `json:"next,omitempty"` // cursor of the next page; "": this is the last
}

// IsComplete reports whether the body has the list that kproxy always sends.
func (c *Connections) IsComplete() bool { return c.Connections != nil }

// Connection is one client's connection.
type Connection struct {
	ID              uint64    `json:"id"` // of no other process that has handed over to this one; higher ones are younger
	Cluster         string    `json:"cluster,omitempty"`
	Listener        string    `json:"listener,omitempty"`
	Node            *int32    `json:"node,omitempty"` // whose endpoint the client chose; missing: bootstrap, or not known yet
	State           string    `json:"state"`          // arriving, open or ending
	Client          string    `json:"client"`         // host:port
	ClientID        string    `json:"client_id,omitempty"`
	Software        string    `json:"software,omitempty"`
	SoftwareVersion string    `json:"software_version,omitempty"`
	User            string    `json:"user,omitempty"` // who has logged in at kproxy
	ServerName      string    `json:"server_name,omitempty"`
	Broker          string    `json:"broker,omitempty"` // host:port that was dialled
	TLS             bool      `json:"tls"`
	Path            string    `json:"path,omitempty"` // splice or copy: how large frames are moved
	Opened          time.Time `json:"opened"`
	Idle            float64   `json:"idle_seconds"`
	BytesUp         int64     `json:"bytes_up"`   // to the broker
	BytesDown       int64     `json:"bytes_down"` // to the client
	FramesUp        int64     `json:"frames_up"`
	FramesDown      int64     `json:"frames_down"`
	InFlight        int       `json:"in_flight"` // requests without a response yet
}

func connectionOf(c proxy.Connection) Connection {
	shown := Connection{
		ID: c.ID, Cluster: c.Cluster, Listener: c.Listener, State: string(c.State),
		Client: clean(c.Client), ClientID: clean(c.ClientID),
		Software: c.Software.Name, SoftwareVersion: c.Software.Version,
		User: clean(c.User), ServerName: clean(c.ServerName), Broker: clean(c.Broker),
		TLS: c.TLS, Opened: c.Opened.UTC(), Idle: c.Idle.Seconds(),
		BytesUp: c.Up.Copied + c.Up.Spliced, BytesDown: c.Down.Copied + c.Down.Spliced,
		FramesUp: c.Up.Frames, FramesDown: c.Down.Frames, InFlight: c.InFlight,
	}
	if c.Node >= 0 {
		shown.Node = &c.Node
	}
	if c.State != proxy.Arriving {
		shown.Path = "copy"
		if c.Splices {
			shown.Path = "splice"
		}
	}
	return shown
}

// orders are the orders of /connections. Each gives a number: the list begins with the lowest, and
// with "-" in front with the highest. Among equals the id decides.
var orders = map[string]func(*Connection) int64{
	"id":        func(c *Connection) int64 { return int64(c.ID) },
	"opened":    func(c *Connection) int64 { return c.Opened.UnixNano() },
	"idle":      func(c *Connection) int64 { return int64(c.Idle * float64(time.Second)) },
	"bytes":     func(c *Connection) int64 { return c.BytesUp + c.BytesDown },
	"in_flight": func(c *Connection) int64 { return int64(c.InFlight) },
}

// filters are the texts that a filter of that name compares. A filter admits a connection whose text
// contains it.
var filters = map[string]func(*Connection) string{
	"client":    func(c *Connection) string { return c.Client },
	"client_id": func(c *Connection) string { return c.ClientID },
	"user":      func(c *Connection) string { return c.User },
	"software":  func(c *Connection) string { return c.Software + " " + c.SoftwareVersion },
	"broker":    func(c *Connection) string { return c.Broker },
	"text": func(c *Connection) string {
		return strings.Join([]string{c.Client, c.ClientID, c.User, c.Software, c.SoftwareVersion, c.Cluster + "/" + c.Listener, c.Broker, c.ServerName}, "\n")
	},
}

// exact are the texts that must be equal to a filter of that name.
var exact = map[string]func(*Connection) string{
	"cluster":  func(c *Connection) string { return c.Cluster },
	"listener": func(c *Connection) string { return c.Listener },
	"state":    func(c *Connection) string { return c.State },
	"path":     func(c *Connection) string { return c.Path },
	"node": func(c *Connection) string {
		if c.Node == nil {
			return ""
		}
		return strconv.Itoa(int(*c.Node))
	},
}

// allowed are the only values of some filters: another one would admit nothing, and look like no connection.
var allowed = map[string][]string{
	"state": {string(proxy.Arriving), string(proxy.Open), string(proxy.Ending)},
	"path":  {"splice", "copy"},
}

// Limits of a page.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// query is a request for a page.
type query struct {
	filters    url.Values
	order      func(*Connection) int64
	descending bool
	limit      int
	after      *position // nil: the first page
}

// position is a place in an order. Connections whose number changes between two pages may be on
// both or on none; the others are on one.
type position struct {
	number int64
	id     uint64
}

func (p position) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%d", p.number, p.id))
}

func parsePosition(cursor string) (*position, error) {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, err
	}
	number, id, _ := strings.Cut(string(text), ".")
	var p position
	if p.number, err = strconv.ParseInt(number, 10, 64); err == nil {
		p.id, err = parseID(id)
	}
	return &p, err
}

// parse reads the parameters of a request. A problem names the parameter and its fix.
func parse(values url.Values) (q query, problem *Problem) {
	q = query{filters: url.Values{}, limit: defaultLimit, order: orders["id"]}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values.Get(name)
		switch {
		case allowed[name] != nil && !slices.Contains(allowed[name], value):
			return q, &Problem{name + ": there is no such " + name, "write one of " + strings.Join(allowed[name], ", ")}
		case name == "node" && strings.Trim(value, "0123456789") != "":
			return q, &Problem{"node: it is no id of a node", "write a number; an empty text is for the connections of no node"}
		case filters[name] != nil || exact[name] != nil:
			q.filters.Set(name, value)
		case name == "sort":
			order, descending := strings.CutPrefix(value, "-")
			if q.order, q.descending = orders[order], descending; q.order == nil {
				return q, &Problem{"sort: there is no such order", "write one of " + list(orders) + ", or one with - in front"}
			}
		case name == "limit":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > maxLimit {
				return q, &Problem{"limit: it is no number from 1 to 1000", "write limit=100"}
			}
			q.limit = n
		case name == "cursor" && value == "": // the first page
		case name == "cursor":
			p, err := parsePosition(value)
			if err != nil {
				return q, &Problem{"cursor: it comes from no response", "write the text of next, or leave it out"}
			}
			q.after = p
		default:
			return q, &Problem{clean(name) + ": there is no such parameter", "write one of cursor, limit, sort, " + list(exact) + ", " + list(filters)}
		}
	}
	return q, nil
}

func list[V any](of map[string]V) string { return strings.Join(slices.Sorted(maps.Keys(of)), ", ") }

func (q *query) admits(c *Connection) bool {
	for name, values := range q.filters {
		if text := exact[name]; text != nil && text(c) != values[0] {
			return false
		}
		if text := filters[name]; text != nil && !strings.Contains(strings.ToLower(text(c)), strings.ToLower(values[0])) {
			return false
		}
	}
	return true
}

func (q *query) compare(a, b position) int {
	by := cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.id, b.id))
	if q.descending {
		return -by
	}
	return by
}

// page returns the page of the connections that q asks for.
func (q *query) page(all []proxy.Connection) Connections {
	type placed struct { // small, for the sort
		position

		i int
	}
	var admitted []placed
	shown := make([]Connection, len(all))
	page := Connections{Connections: []Connection{}}
	for i := range all {
		c := &shown[i]
		if *c = connectionOf(all[i]); !q.admits(c) {
			continue
		}
		page.Total++
		at := position{q.order(c), c.ID}
		if q.after == nil || q.compare(at, *q.after) > 0 {
			admitted = append(admitted, placed{at, i})
		}
	}
	slices.SortFunc(admitted, func(a, b placed) int { return q.compare(a.position, b.position) })
	for _, p := range admitted[:min(q.limit, len(admitted))] {
		page.Connections = append(page.Connections, shown[p.i])
	}
	if len(admitted) > q.limit {
		page.Next = admitted[q.limit-1].String()
	}
	return page
}

// connections serves /connections.
type connections struct{ source Source }

func (c connections) list(w http.ResponseWriter, r *http.Request) {
	values, ok := queryOf(w, r)
	if !ok {
		return
	}
	q, problem := parse(values)
	if problem != nil {
		write(w, http.StatusBadRequest, problem)
		return
	}
	write(w, http.StatusOK, q.page(c.source.Connections()))
}

func (c connections) get(w http.ResponseWriter, r *http.Request) {
	id, ok := idOf(w, r)
	if !ok {
		return
	}
	one, ok := c.source.Connection(id)
	if !ok {
		write(w, http.StatusNotFound, noConnection)
		return
	}
	write(w, http.StatusOK, connectionOf(one))
}

// end responds as soon as the connection is asked to end: it may be owed responses.
func (c connections) end(w http.ResponseWriter, r *http.Request) {
	id, ok := idOf(w, r)
	if !ok {
		return
	}
	if !c.source.Disconnect(id) {
		write(w, http.StatusNotFound, noConnection)
		return
	}
	write(w, http.StatusAccepted, struct {
		ID uint64 `json:"id"`
	}{id})
}

var noConnection = Problem{"there is no connection with this id", "it may have ended; look at " + Prefix + "/connections"}

// parseID reads an id of a connection or an event: they fit into an int64, which programs of most languages have.
func parseID(text string) (uint64, error) { return strconv.ParseUint(text, 10, 63) }

func idOf(w http.ResponseWriter, r *http.Request) (id uint64, ok bool) {
	id, err := parseID(r.PathValue("id"))
	if err != nil {
		write(w, http.StatusBadRequest, Problem{"the id is no number", "write that of a connection"})
	}
	return id, err == nil
}
