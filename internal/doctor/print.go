package doctor

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	"kproxy/internal/foreign"
)

// Print writes a report for a person: a line for each address, then the causes of the failures,
// and the fixes.
func (r *Report) Print(w io.Writer, s Style) error {
	if s.Width < leastWidth {
		s.Width = usualWidth
	}
	p := &printer{Style: s}
	p.table(r)
	for _, group := range groups(r) {
		p.group(group)
	}
	p.connect(r)
	p.close(r)
	_, err := io.WriteString(w, p.out.String())
	return err
}

// table is a row for each address. Where addresses are too long for it, each has a line
// of its own below its row.
func (p *printer) table(r *Report) {
	head := []string{"WHO", "NAME", "CONNECT", "TLS", "KAFKA", "LOGIN", "ITSELF", "TOOK"}
	rows := [][]string{head}
	longest := len("ADDRESS")
	for i := range r.Findings {
		f := &r.Findings[i]
		row := []string{f.Who()}
		for s := range Arrived {
			row = append(row, f.Outcome(s))
		}
		rows = append(rows, append(row, took(f.Took)))
		longest = max(longest, uniseg.StringWidth(f.Shown()))
	}
	widths := make([]int, len(head))
	used := 0
	for col := range head {
		for _, row := range rows {
			widths[col] = max(widths[col], uniseg.StringWidth(row[col]))
		}
		used += widths[col] + 2
	}
	inline := used+longest <= p.Width
	for i, row := range rows {
		var line strings.Builder
		for col, cell := range row {
			if last := col == len(row)-1; !last || inline {
				line.WriteString(p.cell(i, cell) + strings.Repeat(" ", widths[col]+2-uniseg.StringWidth(cell)))
			} else {
				line.WriteString(cell)
			}
		}
		switch {
		case i == 0 && inline:
			line.WriteString(p.paint(bold, "ADDRESS"))
		case i > 0 && inline:
			line.WriteString(r.Findings[i-1].Shown())
		}
		p.out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		if i > 0 && !inline {
			p.out.WriteString("  " + r.Findings[i-1].Shown() + "\n")
		}
	}
}

// cell paints an outcome.
func (p *printer) cell(row int, cell string) string {
	if row == 0 {
		return p.paint(bold, cell)
	}
	return p.Mark(cell)
}

func took(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(100 * time.Millisecond).String()
	}
}

// groups puts findings together that have one verdict and one advice.
func groups(r *Report) [][]*Finding {
	var all [][]*Finding
	for _, f := range r.Failed() {
		i := slices.IndexFunc(all, func(g []*Finding) bool { return sameAdvice(g[0], f) })
		if i < 0 {
			all = append(all, nil)
			i = len(all) - 1
		}
		all[i] = append(all[i], f)
	}
	return all
}

// sameAdvice reports whether two findings differ in their addresses only.
func sameAdvice(a, b *Finding) bool {
	return a.Verdict == b.Verdict && a.Fix.Text == b.Fix.Text && a.Fix.Command == b.Fix.Command
}

// group writes the causes of the failures of one verdict, and the fix once.
func (p *printer) group(group []*Finding) {
	for i, f := range group {
		if i > 0 && group[i-1].Reason == f.Reason {
			continue // its addresses are printed with the first one
		}
		p.out.WriteString("\n")
		for _, same := range group[i:] {
			if same.Reason != f.Reason {
				break
			}
			line := same.Who()
			if same.Address != "" {
				line += ", " + same.Shown()
			}
			if same.Resolved != "" {
				line += " (" + same.Resolved + ")"
			}
			p.out.WriteString(p.paint(bold, line) + "\n")
		}
		p.wrap("  ", "  ", p.paint(red, "wrong:")+" "+foreign.LineOf(f.Reason, maxReason))
	}
	fix := group[0].Fix
	p.wrap("  ", "  ", p.paint(green, "fix:")+" "+foreign.LineOf(fix.Text, maxFix)+".")
	for i, f := range group {
		if i == maxShown {
			p.wrap("  ", "  ", fmt.Sprintf("(%d more of these; --json has the lines of all)", len(group)-i))
			break
		}
		p.lines(f.Fix, i == 0)
	}
	if fix.Bootstrap != "" {
		p.code("# the client's file, for clients from here")
		p.code("bootstrap.servers=" + fix.Bootstrap)
	}
	p.notes(group)
	if fix.Command != "" {
		p.code(fix.Command)
	}
	if fix.Docs != "" {
		p.out.WriteString("  see: " + p.paint(cyan, fix.Docs) + "\n")
	}
}

// maxFix is the most characters of a fix's sentences.
const maxFix = 1200

// lines writes the lines to paste into a file, and for the first of several the same for a
// container.
func (p *printer) lines(f Fix, first bool) {
	if len(f.Properties) == 0 {
		return
	}
	head := "# " + f.File
	if f.Partial {
		head += ", which could not be read"
	}
	p.code(head)
	for _, line := range f.Properties {
		p.code(line)
	}
	if len(f.Env) > 0 && first {
		p.code("# only if the broker runs in a container: these instead, in its environment")
		for _, line := range f.Env {
			p.code(line)
		}
	}
}

// The notes on lines that are pasted into a file.
const (
	noteReplace = "these lines take the place of the lines with the same names; add those that are missing"
	noteKproxy  = "if the client's first address is kproxy's, or leads to it, leave the brokers as they are: kproxy check --live, on its machine, names the key of kproxy to change"
	noteFile    = "for FILE, write the absolute path of a file in PEM with that certificate"
)

// notes returns the notes on the lines of a fix, its own last.
func (f *Fix) notes() []string {
	var all []string
	if len(f.Properties) > 0 {
		all = append(all, noteReplace)
	}
	if strings.HasPrefix(f.File, brokersFile) {
		all = append(all, noteKproxy)
	}
	if slices.ContainsFunc(f.Properties, func(line string) bool { return strings.HasSuffix(line, "=FILE") }) {
		all = append(all, noteFile)
	}
	return append(all, f.Notes...)
}

// notes writes the notes on the lines of a group, each once.
func (p *printer) notes(group []*Finding) {
	var told []string
	for _, f := range group[:min(len(group), maxShown)] {
		for _, note := range f.Fix.notes() {
			if !slices.Contains(told, note) {
				told = append(told, note)
				p.wrap("  note: ", "  ", note+".")
			}
		}
	}
}

// connect lists the addresses that kproxy connect would reach, with its command line.
func (p *printer) connect(r *Report) {
	var reached, lost []string
	for _, f := range r.Failed() {
		switch {
		case f.Fix.Docs == docsMissing || f.Verdict == BadID || f.Who() == "bootstrap":
		case f.Connect != "" || f.elsewhere() != "":
			reached = append(reached, fmt.Sprintf("%s at %s", f.Who(), foreign.Line(f.Connect+f.elsewhere())))
		default:
			lost = append(lost, f.Who())
		}
	}
	if len(reached) == 0 {
		return
	}
	p.out.WriteString("\n")
	p.wrap("", "  ", "Or, without a change to the brokers: kproxy connect reaches "+strings.Join(reached, ", ")+", and gives clients here addresses that work. It prints the address for the client's configuration, and has to keep running while the client does.")
	p.code(r.ConnectCommand())
	if len(lost) > 0 {
		p.wrap("  ", "  ", "It does not reach "+strings.Join(lost, ", ")+": add where each is from here, as another HOST:PORT or as --node ID=HOST:PORT.")
	}
}

// brokers are all brokers, in a sentence.
func (r *Report) brokers() string {
	if r.Brokers == 1 {
		return "the broker"
	}
	return fmt.Sprintf("all %d brokers", r.Brokers)
}

// ConnectCommand is the command line that makes the cluster usable from here.
func (r *Report) ConnectCommand() string {
	var nodes []string
	for _, f := range r.Failed() {
		if at := f.elsewhere(); at != "" {
			nodes = append(nodes, "--node", fmt.Sprintf("%d=%s", f.Node, at))
		}
	}
	return r.User.Line("connect", nodes...)
}

// close writes the checks that were not possible, and whether all is well.
func (p *printer) close(r *Report) {
	if r.NeedsLogin {
		p.out.WriteString("\n")
		by := ""
		if len(r.Mechanisms) > 0 {
			by = ", by " + strings.ReplaceAll(offered(r.Mechanisms), ", ", " or ")
		}
		p.wrap("", "  ", "The cluster wants clients to log in"+by+".")
		fix := r.loginFix()
		p.wrap("  ", "  ", p.paint(green, "fix:")+" "+fix.Text+".")
		p.lines(fix, true)
		p.notes([]*Finding{{Fix: fix}})
		if fix.Command != "" {
			p.code(fix.Command)
		}
		p.out.WriteString("  see: " + p.paint(cyan, fix.Docs) + "\n")
	}
	if u := r.User; u.File != "" && u.TLS == nil && u.SASL != nil && u.SASL.Mechanism == "PLAIN" {
		p.out.WriteString("\n")
		p.wrap("note: ", "  ", "PLAIN without TLS sends the password readable, from doctor as from the client.")
	}
	if r.Copies != "" {
		p.out.WriteString("\n")
		p.wrap("note: ", "  ", "A kproxy here copies large frames, which costs processor time only: "+r.Copies+".")
		p.out.WriteString("  see: " + p.paint(cyan, "docs/limits.md#pipes") + "\n")
	}
	if len(r.Unchecked) > 0 {
		p.out.WriteString("\nNot checked:\n")
		for _, what := range r.Unchecked {
			p.wrap("  - ", "    ", foreign.LineOf(what, maxReason)+".")
		}
	}
	if !r.Sound() {
		return
	}
	p.out.WriteString("\n")
	addresses := strings.Join(r.User.Addresses, ",")
	if r.User.Via == "" {
		p.wrap("", "  ", fmt.Sprintf("Every address works from here: a client of %s can use %s.", foreign.Line(addresses), r.brokers()))
		return
	}
	p.wrap("", "  ", fmt.Sprintf("Every address works from %s, which resolves and dials it (--via). A client on this machine cannot go that way by itself; through kproxy connect it can use %s:", r.User.Via, r.brokers()))
	p.code(r.ConnectCommand())
	p.wrap("", "  ", "Run doctor without --via to check the connections of a client without kproxy.")
}
