package simulate

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"kproxy/internal/auth"
)

// Generate makes the Script of a seed.
func Generate(seed uint64) Script {
	g := &generator{numbers: random(seed, 0)}
	g.settings(seed)
	g.logins(seed)
	g.traffic(0)
	g.faults(0)
	if g.one(2) {
		settled := g.end() + 10*time.Millisecond
		g.add(settled, proxyItself, 0, "settles")
		if g.one(2) {
			g.first = len(g.script.Steps)
			g.traffic(settled)
			g.faults(settled)
		}
	}
	g.add(g.drainAt(), proxyItself, 0, "drains")
	slices.SortStableFunc(g.script.Steps, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
	return g.script
}

// generator draws a Script.
type generator struct {
	numbers *rand.Rand
	script  Script
	clients int
	first   int // of the steps of this part
}

// one reports whether a choice of one in n was drawn.
func (g *generator) one(n int) bool { return g.numbers.IntN(n) == 0 }

// between draws a number from least to most.
func (g *generator) between(least, most int) int { return least + g.numbers.IntN(most-least+1) }

// pick draws one of several values.
func pick[T any](g *generator, values ...T) T { return values[g.numbers.IntN(len(values))] }

func (g *generator) settings(seed uint64) {
	s := &g.script.Settings
	s.flags() // the defaults
	s.Seed = seed
	s.Delay = pick(g, 0, time.Millisecond, 20*time.Millisecond, 60*time.Millisecond)
	s.Piece = pick(g, 0, 3, 40, 2000)
	s.Window = pick(g, 3000, 20_000, 64<<10, 256<<10)
	s.Stall = pick(g, 0, 0, 0, time.Millisecond, 20*time.Millisecond, 100*time.Millisecond)
	if g.one(4) {
		s.Idle = pick(g, 300*time.Millisecond, 5*time.Second)
	}
	if g.one(5) {
		s.MaxAge = pick(g, 1500*time.Millisecond, 3*time.Second, 40*time.Second)
	}
	if g.one(4) {
		s.Drain = pick(g, time.Second, 10*time.Second)
	}
	if g.one(4) {
		s.Held = 1 << 20
	}
	if g.one(6) {
		s.Limit = g.between(1, 5)
	}
	if g.one(8) {
		s.Source = g.between(1, 3)
		s.Limit = max(s.Limit, min(s.Limit*s.Source, s.Source)) // a larger one is a mistake
	}
	if g.one(4) {
		s.Lifetime = pick(g, 2*time.Second, 20*time.Second)
	}
	if g.one(4) {
		s.TLS = pick(g, ofClients, ofBrokers, ofBoth, ofBoth)
	}
	if g.one(5) {
		s.Header = pick(g, ofClients, ofBrokers, ofBoth)
	}
	if g.one(5) {
		if s.Login = atKproxy; s.Lifetime == 0 {
			s.Login = pick(g, atKproxy, ofBrokers)
		}
		s.Again = pick(g, 0, 500*time.Millisecond, 8*time.Second)
	}
}

// logins draws the way of the logins. Its numbers are its own: the scripts of seeds are otherwise the
// same as before there was another way.
func (g *generator) logins(seed uint64) {
	s, own := &g.script.Settings, &generator{numbers: random(seed, 3)}
	if s.Lifetime == 0 && s.Login == "" {
		return
	}
	if own.one(3) {
		s.Mechanism = pick(own, auth.ScramSHA256, auth.ScramSHA512)
	}
	s.Raw = s.Login != "" && own.one(3)
}

// add adds a step.
func (g *generator) add(at time.Duration, who string, n int, verb string, args ...string) {
	g.script.Steps = append(g.script.Steps, Step{At: at, Who: who, N: n, Verb: verb, Args: args})
}

// end is the time of the last step.
func (g *generator) end() time.Duration {
	var last time.Duration
	for _, step := range g.script.Steps {
		last = max(last, step.At)
	}
	return last
}

// drainAt is when the proxy drains: behind all steps, or among the last ones.
func (g *generator) drainAt() time.Duration {
	steps := g.script.Steps[g.first:]
	if g.one(2) {
		return g.end()
	}
	settled := time.Duration(0)
	for _, step := range g.script.Steps {
		if step.Verb == "settles" {
			settled = step.At
		}
	}
	return max(settled, steps[g.numbers.IntN(len(steps))].At)
}

// gap draws a pause: none, a short one, seconds, or now and then a minute or two.
func (g *generator) gap() time.Duration {
	switch n := g.numbers.IntN(40); {
	case n < 14:
		return 0
	case n < 32:
		return time.Duration(g.between(1, 30_000)) * time.Microsecond
	case n < 39:
		return time.Duration(g.between(30, 2500)) * time.Millisecond
	default:
		return time.Duration(g.between(20, 130)) * time.Second
	}
}

// traffic draws the clients.
func (g *generator) traffic(from time.Duration) {
	for range g.between(1, 8) {
		g.clients++
		g.client(from, g.clients)
	}
}

// client draws the steps of one client.
func (g *generator) client(at time.Duration, number int) {
	args := []string{pick(g, "bob", "bob", "fred")}
	if g.one(2) {
		args = append(args, strconv.Itoa(g.numbers.IntN(brokerCount)))
	}
	if has(g.script.Settings.TLS, ofClients) && g.one(6) {
		args = append(args, "hurried")
	}
	at += g.gap()
	g.add(at, "client", number, "dials", args...)
	for range g.between(0, 9) {
		at += g.gap()
		switch n := g.numbers.IntN(20); {
		case n < 15:
			g.add(at, "client", number, "sends", g.requests()...)
		case n < 16:
			g.add(at, "client", number, "begins", g.requests()...)
			at += g.gap()
			g.add(at, "client", number, "sends", g.requests()...)
		case n < 18:
			g.add(at, "client", number, "pauses")
			g.add(at+g.gap(), "client", number, "reads")
		case n < 19 && g.script.Settings.Login != "":
			g.add(at, "client", number, "logs-in", pick(g, []string{}, []string{}, []string{"wrong"})...)
		}
	}
	at += g.gap()
	if verb := pick(g, "half-closes", "half-closes", "closes", "resets", "", ""); verb != "" {
		g.add(at, "client", number, verb)
	}
}

// requests draws the arguments of sends: an exchange, how often, and how long.
func (g *generator) requests() []string {
	name := exchangeNames[g.numbers.IntN(len(exchangeNames))]
	count, size := g.between(1, 6), g.between(0, 4000)
	switch g.numbers.IntN(30) {
	case 0, 1:
		count, size = g.between(50, 300), 10
	case 2:
		name, count = pick(g, "heartbeat", future), 1100 // more than a session has in flight
	case 3, 4, 5, 6:
		count, size = g.between(1, 3), g.between(16<<10, 100<<10)
	case 7:
		count, size = 1, g.between(100<<10, 400<<10)
	}
	return []string{name, strconv.Itoa(count), strconv.Itoa(size)}
}

// faults draws the steps of brokers, and reloads.
func (g *generator) faults(from time.Duration) {
	for range g.between(0, 5) {
		at, b := from+g.gap()+g.gap(), g.numbers.IntN(brokerCount)
		switch g.numbers.IntN(12) {
		case 0, 1:
			g.add(at, "broker", b, "delays", fmt.Sprint(time.Duration(g.between(1, 200))*time.Millisecond))
		case 2, 3:
			g.add(at, "broker", b, "holds")
			g.add(at+g.gap(), "broker", b, "goes-on")
		case 4:
			g.add(at, "broker", b, pick(g, "ends", "resets"))
		case 5:
			g.add(at, "broker", b, "stops", pick(g, "hard", "soft"))
			g.add(at+g.gap(), "broker", b, "starts")
		case 6:
			g.add(at, "broker", b, "moves")
		case 7:
			g.add(at, "broker", b, "swaps", strconv.Itoa((b+1)%brokerCount))
		case 8:
			g.add(at, proxyItself, 0, "jumps", fmt.Sprint(pick(g, 3*time.Second, 12*time.Second, 50*time.Second, 10*time.Minute)))
		case 9:
			g.add(at, proxyItself, 0, "reloads", pick(g, "renewed", "limit=2", "limit=0", "source=1", "source=0"))
		default:
			g.add(at, proxyItself, 0, "reloads", pick(g, "-fred", "fred", "idle=4s", "max_age=1h", "drain=30s"))
		}
	}
}
