//go:build linux

package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

// row is a fault in the table.
type row struct {
	Fault, Done       string
	Direct, Near, Far string
	Verdict           string
	Run               string // when, and of which kproxy
	Machine           string // where
	Good              bool

	hashed   bool // every socket was in a sockhash
	outcomes map[place]*outcome
}

// cell is an outcome in the table.
func (o *outcome) cell() string {
	if o == nil {
		return "—"
	}
	parts := []string{fmt.Sprintf("%d acknowledged", o.Acked)}
	bad := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("**%d %s**", n, what))
		}
	}
	bad(o.Lost, "lost")
	bad(o.Twice, "twice")
	bad(o.Unread, "not read")
	bad(o.Findings, "findings")
	for _, err := range slices.Sorted(maps.Keys(o.Refused)) {
		bad(o.Refused[err], "refused: "+err)
	}
	bad(len(o.Others), "other addresses dialled")
	switch {
	case o.FromStart:
		parts = append(parts, "first acknowledgement after "+seconds(o.Pause))
	case o.Read == 0:
		parts = append(parts, "pause "+seconds(o.Pause))
	default:
		parts = append(parts, fmt.Sprintf("pause %s, reading %s", seconds(o.Pause), seconds(o.ReadPause)))
	}
	if o.Away > 0 {
		parts = append(parts, "kproxy away for "+seconds(o.Away))
	}
	if len(o.Reasons) > 0 {
		var reasons []string
		for _, reason := range slices.Sorted(maps.Keys(o.Reasons)) {
			reasons = append(reasons, fmt.Sprintf("%s %d", reason, o.Reasons[reason]))
		}
		parts = append(parts, "closed: "+strings.Join(reasons, ", "))
	}
	return strings.Join(append(append(parts, o.Notes...), o.Wrong...), "<br>")
}

func (o *outcome) String() string { return strings.ReplaceAll(o.cell(), "<br>", "; ") }

// document is docs/faults.md. The rows of hashed are those with sockets in a sockhash.
func document(plain, hashed []row) string {
	var b strings.Builder
	b.WriteString(`# Faults

Faults of a real Kafka cluster, as its clients see them: without kproxy, with kproxy near the clients (the
fault is between kproxy and the brokers), and with kproxy near the brokers (the fault is between the clients and
kproxy). Written by ` + "`make faults`" + `, not to be edited. The last columns say when, with which commit, and on which
machine. There are three brokers; kproxy has its defaults and a ` + "`state_dir`" + `.
`)
	table(&b, plain)
	b.WriteString(legend)
	if len(hashed) > 0 {
		b.WriteString(hashedIntroduction)
		table(&b, hashed)
	}
	return b.String()
}

// table writes rows, below the machines on which they were made.
func table(b *strings.Builder, rows []row) {
	var machines []string
	number := func(machine string) string {
		if !slices.Contains(machines, machine) {
			machines = append(machines, machine)
		}
		return strconv.Itoa(slices.Index(machines, machine) + 1)
	}
	var body strings.Builder
	for _, r := range rows {
		r.Machine = number(r.Machine)
		for _, cell := range r.cells() {
			if *cell == "" {
				*cell = "—"
			}
			body.WriteString("| " + strings.ReplaceAll(*cell, "|", `\|`) + " ")
		}
		body.WriteString("|\n")
	}
	b.WriteString("\n")
	for _, machine := range machines {
		fmt.Fprintf(b, "- Machine %s: %s.\n", number(machine), machine)
	}
	b.WriteString("\n| fault | action | direct | kproxy near the clients | kproxy near the brokers | verdict | run | machine |\n" + ruler + "\n")
	b.WriteString(body.String())
}

// ruler is between the table's head and its rows.
const ruler = "|---|---|---|---|---|---|---|--:|"

func (r *row) cells() []*string {
	return []*string{&r.Fault, &r.Done, &r.Direct, &r.Near, &r.Far, &r.Verdict, &r.Run, &r.Machine}
}

// tables are the rows of a document.
func tables(doc string) (plain, hashed []row, err error) {
	parts := strings.Split(doc, ruler+"\n")
	if len(parts) < 2 {
		return nil, nil, errors.New("there is no table to put rows into")
	}
	if plain, err = parse(parts[0], parts[1]); err == nil && len(parts) > 2 {
		hashed, err = parse(parts[1], parts[2])
	}
	return plain, hashed, err
}

var machineLine = regexp.MustCompile(`(?m)^- Machine (\d+): (.*)\.$`)

// parse reads rows up to the table's end. The text before the table has its machines.
func parse(before, table string) (rows []row, err error) {
	machines := map[string]string{}
	for _, m := range machineLine.FindAllStringSubmatch(before, -1) {
		machines[m[1]] = m[2]
	}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		r := row{}
		if len(cells) != len(r.cells()) {
			break
		}
		for i, cell := range r.cells() {
			*cell = strings.ReplaceAll(cells[i], `\|`, "|")
		}
		machine, known := machines[r.Machine]
		if !known {
			return nil, fmt.Errorf("%s: the page does not describe machine %s", r.Fault, r.Machine)
		}
		r.Machine = machine
		rows = append(rows, r)
	}
	return rows, nil
}

// merge puts rows in the place of those of the same fault, or behind them, in the order of the
// campaign.
func merge(old, rows []row) (merged []row) {
	byFault := map[string]row{}
	for _, r := range slices.Concat(old, rows) {
		byFault[r.Fault] = r
	}
	for _, f := range faults() {
		if r, ok := byFault[f.Name]; ok {
			merged = append(merged, r)
		}
	}
	return merged
}

// today is when a row was made, and with which kproxy.
func today() string { return time.Now().UTC().Format(time.DateOnly) + " " + lab.Revision() }

// machine is where a row was made, and with which Kafka.
func machine() string { return lab.Machine() + ", Kafka " + lab.Newest }

const legend = `
- **The load** is franz-go's: an idempotent producer with acks=all, 200 records a second on six partitions, every 20th
  record of 100 KB, and a member of a group. Requests time out after 3 s more than the broker may take, the group's
  session after 6 s. In the rolling restart it is Java's, with Java's defaults.
- **Brokers that move** are two of five, which lead all partitions; their replicas are on two others, too. The load is
  one idempotent producer of the client that the row names, with acks=all and 200 records a second, and nothing else
  uses kproxy, unless the row has a group. ` + "`sasl`" + `: kproxy logs in at the brokers
  (SCRAM-SHA-512). Client's login: the client's own passes through (SCRAM-SHA-512; kcat: PLAIN), and kproxy cannot ask.
  kcat's pauses are those between records of the log, by the brokers' clocks.
- **acknowledged**: records. Each was looked for in the log afterwards, at the brokers. *Lost*: not there. *Twice*: at
  two places. *Not read*: the group had not read it a minute after the end. *Refused*: the producer reported an error. A count that
  is not mentioned is 0.
- **findings**: the history of franz-go's load, but where brokers move, is checked by e2e/history: for records that are
  damaged, out of order, in another partition, or passed by a reader, too.
- **pause**: the longest time without an acknowledgement; *reading*: without a record read. *First acknowledgement*: that
  long after the client's start.
- **closed**: why kproxy's sessions had ended before the end of the run, since kproxy was started last.
- **other addresses dialled**: the clients may dial kproxy alone; whatever else they try is refused and counted.
- **same**: nothing lost, twice, unread or refused beyond direct, no findings, no other address dialled, every session
  closed for a harmless reason, and a pause of at most the direct one times 1.5 plus 2 s, or, where brokers move, of at
  most the direct one plus 1 s (reading: as elsewhere). **As it must be**: the same; direct is then the run in
  which nothing happens, and its pause is the time for which kproxy was away.
`

const hashedIntroduction = `
## With every socket in a sockhash

The same campaign by ` + "`make faults-sockhash`" + `: an eBPF program puts every TCP socket of the brokers, of kproxy and of
all clients into a sockhash as soon as it is connected, in the direct runs too, as agents that observe or secure a machine
do. Received bytes pass its stream verdict. ` + "`splice`" + ` finds none of them, and kproxy copies
([limits.md](limits.md#pipes)). *Directions copied* is ` + "`kproxy_splice_hidden_total`" + ` at the end of the run; the log says
it, too. **Same** allows no pause, of reading neither, that is more than 1 s longer than the direct one: no socket may
stall because kproxy copies. Two kinds of rows have the rule of the first table, because their pauses are not those of
sockets. Where kproxy was away, clients wait longer and longer between their attempts to connect. Where brokers move,
the addresses of kproxy stay: franz-go's consumer asks for offsets on connections that have ended, and waits a second
before it asks again, as it does without kproxy when brokers restart at their own addresses.
`
