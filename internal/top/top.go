// Package top is the screen of kproxy top: the clusters, brokers and connections of a running kproxy, in a
// terminal.
//
// The type to know is [Model], a model of bubbletea: messages in, text out. It asks a [Source] at
// intervals, one question at a time. While the source does not respond, the screen keeps the last state
// and says since when it is old.
package top

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"kproxy/internal/api"
)

// Source is a running kproxy.
type Source interface {
	Topology(ctx context.Context) (*api.Topology, error)
	Connections(ctx context.Context, query url.Values) (*api.Connections, error)
	Disconnect(ctx context.Context, id uint64) error
}

const (
	// every is the time between a response and the next question.
	every = 2 * time.Second
	// patience is how long a response may take.
	patience = 5 * time.Second
	// fetched is how many connections are asked for: more than a screen has.
	fetched = 200
	// maxFilter bounds the filter, in bytes.
	maxFilter = 100
)

// view is one of the screens.
type view int

const (
	connections view = iota
	brokers
	views
)

// orders are the orders of the connections, in the order of the key s; each begins with the highest.
var orders = []string{"-bytes", "-in_flight", "-idle", "idle", "-opened", "id"}

// state is a response, and when it came.
type state struct {
	at          time.Time
	topology    *api.Topology
	connections *api.Connections
}

// Model is the screen. It is a tea.Model.
type Model struct {
	source Source
	name   string // of kproxy, in the heading
	now    func() time.Time

	width, height int
	view          view
	order         int
	filter        string
	typing        bool // keys go to the filter
	paused        bool
	help          bool
	scrolled      int    // lines above those that are shown, of the brokers or the help
	chosen        uint64 // id of the selected connection; 0: none
	asked         uint64 // id of the connection that is to be closed, if the user says so; 0: none
	note          string // the result of the last command

	asking   bool
	stale    bool // the order or the filter has changed since the question
	last     state
	before   state // for rates
	failed   error // of the last question; nil: it had a response
	failedAt time.Time
}

// New returns the screen of a kproxy that is called name.
func New(source Source, name string) *Model {
	return &Model{source: source, name: name, now: time.Now, width: 80, height: 24}
}

type (
	response struct {
		state
		err error
	}
	due    struct{}
	closed struct {
		id  uint64
		err error
	}
)

// Init asks for the first state.
func (m *Model) Init() tea.Cmd { return m.ask() }

// ask returns a question, unless one is under way.
func (m *Model) ask() tea.Cmd {
	if m.asking {
		m.stale = true
		return nil
	}
	m.asking, m.stale = true, false
	query := url.Values{"sort": {orders[m.order]}, "limit": {strconv.Itoa(fetched)}}
	if m.filter != "" {
		query.Set("text", m.filter)
	}
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var r response
		if r.topology, r.err = m.source.Topology(ctx); r.err == nil {
			r.connections, r.err = m.source.Connections(ctx, query)
		}
		r.at = m.now()
		return r
	}
}

// Update handles a key, a response, or the time.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = max(20, msg.Width), max(5, msg.Height)
	case response:
		return m, m.take(msg)
	case due:
		if !m.paused {
			return m, m.ask()
		}
	case closed:
		m.note = fmt.Sprintf("connection %d ends", msg.id)
		if msg.err != nil {
			m.note = msg.err.Error()
		}
		return m, m.ask()
	case tea.PasteMsg:
		if m.typing {
			m.extend(msg.Content)
			return m, m.ask()
		}
	case tea.KeyPressMsg:
		return m, m.key(msg)
	}
	return m, nil
}

// take takes a response, and orders the next question.
func (m *Model) take(r response) tea.Cmd {
	m.asking = false
	if m.failed = r.err; r.err != nil {
		m.failedAt = r.at
	} else {
		m.before, m.last = m.last, r.state
	}
	if m.stale {
		return m.ask()
	}
	return tea.Tick(every, func(time.Time) tea.Msg { return due{} })
}

// key handles a key.
func (m *Model) key(k tea.KeyPressMsg) tea.Cmd {
	switch {
	case k.String() == "ctrl+c":
		return tea.Quit
	case m.typing:
		return m.typed(k)
	case m.asked != 0:
		return m.decide(k.String() == "y")
	}
	m.note = ""
	switch k.String() {
	case "q":
		if m.help {
			m.help = false
			return nil
		}
		return tea.Quit
	case "esc":
		if m.help || m.filter == "" {
			m.help = false
			return nil
		}
		m.filter = ""
		return m.ask()
	case "?", "h":
		m.help, m.scrolled = !m.help, 0
	case "tab", "shift+tab":
		m.view, m.scrolled = (m.view+1)%views, 0
	case "c":
		m.view = connections
	case "b":
		m.view, m.scrolled = brokers, 0
	case "s":
		m.order = (m.order + 1) % len(orders)
		return m.ask()
	case "/":
		m.view, m.typing = connections, true
	case "p", "space":
		if m.paused = !m.paused; !m.paused {
			return m.ask()
		}
	case "x":
		if m.view == connections && m.selected() != nil {
			m.asked = m.chosen
		}
	default:
		m.move(m.linesOf(k.String()))
	}
	return nil
}

// decide closes the connection that the user was asked about, or does not.
func (m *Model) decide(yes bool) tea.Cmd {
	id := m.asked
	m.asked = 0
	if !yes {
		m.note = "nothing is closed"
		return nil
	}
	return m.disconnect(id)
}

// linesOf is how many lines down a key moves; 0: it is no such key.
func (m *Model) linesOf(key string) int {
	switch key {
	case "up", "k":
		return -1
	case "down", "j":
		return 1
	case "pgup":
		return 3 - m.height
	case "pgdown":
		return m.height - 3
	default:
		return 0
	}
}

// typed handles a key of the filter.
func (m *Model) typed(k tea.KeyPressMsg) tea.Cmd {
	switch k.String() {
	case "enter":
		m.typing = false
		return nil
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		_, size := utf8.DecodeLastRuneInString(m.filter)
		m.filter = m.filter[:len(m.filter)-size]
	default:
		m.extend(k.Text)
	}
	return m.ask()
}

func (m *Model) extend(text string) {
	if len(m.filter)+len(text) <= maxFilter {
		m.filter += text
	}
}

func (m *Model) disconnect(id uint64) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return closed{id, m.source.Disconnect(ctx, id)}
	}
}

// selected returns the selected connection; nil if it is not there any more.
func (m *Model) selected() *api.Connection {
	all := m.list()
	if i := m.index(all); i >= 0 {
		return &all[i]
	}
	return nil
}

func (m *Model) list() []api.Connection {
	if m.last.connections == nil {
		return nil
	}
	return m.last.connections.Connections
}

func (m *Model) index(all []api.Connection) int {
	return slices.IndexFunc(all, func(c api.Connection) bool { return c.ID == m.chosen })
}

// move moves the selection, which follows a connection when the order changes. Where there is nothing to
// select, it scrolls.
func (m *Model) move(by int) {
	if by == 0 {
		return
	}
	if m.help || m.view != connections {
		m.scrolled = max(0, m.scrolled+by)
		return
	}
	all := m.list()
	if len(all) == 0 {
		return
	}
	i := m.index(all)
	if i < 0 && by > 0 {
		i = -1
	}
	m.chosen = all[min(max(i+by, 0), len(all)-1)].ID
}

// rate returns the bytes a second of a connection between the last two responses; -1: it is not known.
func (m *Model) rate(c *api.Connection) float64 {
	if m.before.connections == nil {
		return -1
	}
	past := m.last.at.Sub(m.before.at).Seconds()
	for i := range m.before.connections.Connections {
		if b := &m.before.connections.Connections[i]; b.ID == c.ID && past > 0 {
			return float64(c.BytesUp+c.BytesDown-b.BytesUp-b.BytesDown) / past
		}
	}
	return -1
}

// heading is the first line: whose screen it is, and how old.
func (m *Model) heading() string {
	words := []string{"kproxy " + m.name}
	if m.last.connections != nil {
		words = append(words, m.connectionCount())
	}
	switch {
	case m.failed != nil && m.last.at.IsZero():
		words = append(words, "no response yet: "+m.failed.Error())
	case m.failed != nil:
		words = append(words, fmt.Sprintf("no response for %v: %v", m.failedAt.Sub(m.last.at).Round(time.Second), m.failed))
	case m.paused:
		words = append(words, "paused")
	case m.last.at.IsZero():
		words = append(words, "asking")
	}
	return strings.Join(words, " · ")
}

// footer is the last line.
func (m *Model) footer() string {
	switch {
	case m.typing:
		return "filter: " + m.filter + "▏  Enter keeps it, Esc drops it"
	case m.asked != 0:
		return fmt.Sprintf("close connection %d? y closes it, any other key does not", m.asked)
	}
	return cmp.Or(m.note, "Tab brokers/connections  s sort  / filter  p pause  x close  ? help  q quit")
}

// connectionCount says how many connections there are, and how many the filter admits.
func (m *Model) connectionCount() string {
	shown := m.last.connections.Total
	if m.filter == "" || m.last.topology == nil {
		return count(shown)
	}
	all := 0
	for _, c := range m.last.topology.Clusters {
		for _, l := range c.Listeners {
			all += l.Connections
		}
	}
	return fmt.Sprintf("%d of %s", min(shown, all), count(all))
}

func count(connections int) string {
	if connections == 1 {
		return "1 connection"
	}
	return strconv.Itoa(connections) + " connections"
}
