package top

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/mattn/go-runewidth"

	"kproxy/internal/api"
	"kproxy/internal/foreign"
)

var (
	bold    = lipgloss.NewStyle().Bold(true)
	faint   = lipgloss.NewStyle().Faint(true)
	reverse = lipgloss.NewStyle().Reverse(true)
)

// column is a column of a table. The last one has the rest of the width.
type column struct {
	name  string
	width int
	right bool
}

// wide is the width from which the connections have their listener beside them.
const wide = 110

func (m *Model) connectionColumns() []column {
	all := []column{
		{"ID", 7, true}, {"CLIENT", 21, false}, {"NODE", 4, true}, {"IDLE", 5, true}, {"BYTES", 7, true}, {"B/S", 7, true}, {"FL", 3, true}, {"WHO", 0, false},
	}
	if m.width >= wide {
		all = slices.Insert(all, 2, column{"LISTENER", 24, false})
	}
	return all
}

func (m *Model) brokerColumns() []column {
	address := max(24, (m.width-14)/3)
	return []column{{"NODE", 5, true}, {"OPEN", 5, true}, {"BROKER", address, false}, {"ADVERTISED", address, false}, {"DIALLED", 0, false}}
}

// View returns the screen: as many lines as the terminal has, none wider than it.
func (m *Model) View() tea.View {
	view := tea.NewView(m.screen())
	view.AltScreen = true
	return view
}

func (m *Model) screen() string {
	lines := []string{bold.Render(m.fit(m.heading()))}
	room := m.height - 2
	switch {
	case m.help:
		lines = append(lines, m.part(m.helpLines(), room)...)
	case m.view == brokers:
		lines = append(lines, m.part(m.brokerLines(), room)...)
	default:
		lines = append(lines, m.connectionLines(room)...)
	}
	for len(lines) < room+1 {
		lines = append(lines, "")
	}
	return strings.Join(append(lines, faint.Render(m.fit(m.footer()))), "\n")
}

// part returns the lines of a text from the one that was scrolled to.
func (m *Model) part(lines []string, room int) []string {
	if len(lines) <= room {
		m.scrolled = 0
		return lines
	}
	room-- // for the last line
	m.scrolled = min(max(0, m.scrolled), len(lines)-room)
	shown := slices.Clone(lines[m.scrolled : m.scrolled+room])
	return append(shown, faint.Render(m.fit(fmt.Sprintf("lines %d to %d of %d; ↑ ↓ PgUp PgDn", m.scrolled+1, m.scrolled+room, len(lines)))))
}

// fit cuts a text to the width. It may be another party's: a server that is not kproxy may respond.
func (m *Model) fit(text string) string {
	return runewidth.Truncate(foreign.LineOf(text, maxLine), m.width, "…")
}

// maxLine is the most characters of a line: no terminal is wider.
const maxLine = 1000

// row writes cells under columns.
func (m *Model) row(columns []column, cells []string) string {
	var b strings.Builder
	for i, c := range columns {
		width := c.width
		if i == len(columns)-1 {
			width = max(1, m.width-runewidth.StringWidth(b.String()))
		}
		text := runewidth.Truncate(foreign.Line(cells[i]), width, "…")
		switch {
		case i == len(columns)-1:
			b.WriteString(text)
		case c.right:
			b.WriteString(runewidth.FillLeft(text, width) + " ")
		default:
			b.WriteString(runewidth.FillRight(text, width) + " ")
		}
	}
	return m.fit(b.String())
}

func names(columns []column) []string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = c.name
	}
	return all
}

// connectionLines are the table of the connections, with the selected one in sight.
func (m *Model) connectionLines(room int) []string {
	columns := m.connectionColumns()
	lines := []string{
		m.fit(fmt.Sprintf("connections by %s%s", orders[m.order], suffix(" with ", m.filter))),
		faint.Render(m.row(columns, names(columns))),
	}
	all := m.list()
	if len(all) == 0 && m.last.connections != nil {
		lines = append(lines, "none")
	}
	space := max(1, room-len(lines))
	first := 0
	if i := m.index(all); i >= space {
		first = i - space + 1
	}
	for i := first; i < min(len(all), first+space); i++ {
		c := &all[i]
		cells := []string{
			strconv.FormatUint(c.ID, 10), c.Client, node(c), Duration(c.Idle), Bytes(float64(c.BytesUp + c.BytesDown)), m.rateText(c), strconv.Itoa(c.InFlight), Who(c),
		}
		if m.width >= wide {
			cells = slices.Insert(cells, 2, c.Cluster+"/"+c.Listener)
		}
		line := m.row(columns, cells)
		if c.ID == m.chosen {
			line = reverse.Render(line)
		}
		lines = append(lines, line)
	}
	return lines
}

func suffix(word, text string) string {
	if text == "" {
		return ""
	}
	return word + text
}

func node(c *api.Connection) string {
	if c.Node == nil {
		return "-"
	}
	return strconv.Itoa(int(*c.Node))
}

func (m *Model) rateText(c *api.Connection) string {
	if rate := m.rate(c); rate >= 0 {
		return Bytes(rate)
	}
	return "-"
}

// brokerLines are the clusters, with their listeners and brokers.
func (m *Model) brokerLines() []string {
	if m.last.topology == nil {
		return nil
	}
	var lines []string
	columns := m.brokerColumns()
	for _, c := range m.last.topology.Clusters {
		state := "up"
		switch {
		case !c.Up && c.LastError != "":
			state = "down: " + c.LastError
		case !c.Up:
			state = "no response yet"
		}
		lines = append(lines, m.fit("cluster "+c.Name+" "+state))
		for _, l := range c.Listeners {
			name := l.Name
			if refusals := l.Refusals(); refusals != "" {
				name += " (" + refusals + ")"
			}
			lines = append(lines, m.fit(fmt.Sprintf("  listener %s at %s, advertised as %s, %s", name, l.Bind, l.Advertised, count(l.Connections))))
			if len(l.Nodes) > 0 {
				lines = append(lines, faint.Render(m.row(columns, names(columns))))
			}
			for _, n := range l.Nodes {
				lines = append(lines, m.row(columns, []string{strconv.Itoa(int(n.Node)), strconv.Itoa(n.Connections), n.Broker, n.Advertised, api.Dialled(n.Dialled)}))
			}
		}
	}
	return lines
}

func (m *Model) helpLines() []string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(`
Tab, b, c   brokers, connections
s           the next order of the connections
/           only connections that contain a text
↑ ↓, k j    select a connection, or scroll; PgUp and PgDn scroll by a screen
x, then y   close it, once its responses in flight are delivered
p           pause, and go on
q           quit

NODE  whose endpoint the client chose; - is the bootstrap endpoint
IDLE  since the last byte to either side
B/S   bytes a second, to both sides
FL    requests in flight`), "\n") {
		lines = append(lines, m.fit(line))
	}
	return lines
}

// Who is everything that a connection says about its client, in one line.
func Who(c *api.Connection) string {
	var words []string
	if c.State != "open" {
		words = append(words, c.State)
	}
	if c.ClientID != "" {
		words = append(words, c.ClientID)
	}
	if c.User != "" {
		words = append(words, "user "+c.User)
	}
	if c.Software != "" {
		words = append(words, c.Software+" "+c.SoftwareVersion)
	}
	return cmp.Or(strings.Join(words, ", "), "-")
}

// Duration writes seconds as the largest unit that fits, in at most 5 characters.
func Duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// Bytes writes a number of bytes with a unit of 1024.
func Bytes(n float64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
	unit := -1
	for n >= 1<<10 && unit < len(units)-1 {
		n /= 1 << 10
		unit++
	}
	return strconv.FormatFloat(n, 'f', 1, 64) + units[unit:unit+1]
}
