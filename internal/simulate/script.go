package simulate

import (
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"kproxy/internal/auth"
)

// Script is one run: the settings of the proxy and of the network, and the steps in the order
// of their times.
type Script struct {
	Settings Settings
	Steps    []Step
}

// Settings are those of a run. A text of a Script has the ones that differ from the default.
type Settings struct {
	Seed     uint64        // of the network's delays
	Delay    time.Duration // Weather
	Piece    int
	Window   int
	Stall    time.Duration
	Idle     time.Duration // idle_timeout
	MaxAge   time.Duration // max_age
	Drain    time.Duration // drain.timeout
	Held     int64         // max_held_bytes
	Limit    int           // bob's max_connections
	Source   int           // bob's max_per_source
	Lifetime time.Duration // of kproxy's login at a broker; 0: kproxy does not log in
	TLS      string        // who speaks TLS with kproxy: "clients", "brokers" or "both"
	Header   string        // whose connections begin with a PROXY header: the clients', those to "brokers", or "both"
	Login    string        // where clients log in: at "kproxy", or through it at "brokers"
	Again    time.Duration // after which clients log in again; 0: when a step says so
	// Mechanism is that of all logins, of the clients and of kproxy.
	Mechanism string
	Raw       bool // clients log in once, by SaslHandshake v0 and tokens without headers
}

// flags binds the settings to their names, with their defaults.
func (s *Settings) flags() *flag.FlagSet {
	f := flag.NewFlagSet("settings", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Uint64Var(&s.Seed, "seed", 0, "")
	f.DurationVar(&s.Delay, "delay", 0, "")
	f.IntVar(&s.Piece, "piece", 0, "")
	f.IntVar(&s.Window, "window", 64<<10, "")
	f.DurationVar(&s.Stall, "stall", 0, "")
	f.DurationVar(&s.Idle, "idle", 0, "")
	f.DurationVar(&s.MaxAge, "max_age", 0, "")
	f.DurationVar(&s.Drain, "drain", time.Minute, "")
	f.Int64Var(&s.Held, "held", 0, "")
	f.IntVar(&s.Limit, "limit", 0, "")
	f.IntVar(&s.Source, "source", 0, "")
	f.DurationVar(&s.Lifetime, "lifetime", 0, "")
	f.StringVar(&s.TLS, "tls", "", "")
	f.StringVar(&s.Header, "header", "", "")
	f.StringVar(&s.Login, "login", "", "")
	f.DurationVar(&s.Again, "again", 0, "")
	f.StringVar(&s.Mechanism, "mechanism", auth.Plain, "")
	f.BoolVar(&s.Raw, "raw", false, "")
	return f
}

// The values of TLS, Header and Login.
const (
	ofClients = "clients"
	ofBrokers = "brokers"
	ofBoth    = "both"
	atKproxy  = "kproxy"
)

// has reports whether a setting is for one side.
func has(setting, side string) bool { return setting == side || setting == ofBoth }

// Step is one step of a Script.
type Step struct {
	At   time.Duration // since the start
	Who  string        // "client", "broker" or "proxy"
	N    int           // which one
	Verb string
	Args []string
}

// String is the line of a Step.
func (s Step) String() string {
	words := []string{s.At.String(), s.Who}
	if s.Who != proxyItself {
		words = append(words, strconv.Itoa(s.N))
	}
	return strings.Join(append(append(words, s.Verb), s.Args...), " ")
}

// proxyItself is the Who of a Step that has no number.
const proxyItself = "proxy"

// String is the text of a Script, which Parse reads.
func (s Script) String() string {
	var text strings.Builder
	var defaults Settings
	values := s.Settings.values()
	defaults.flags().VisitAll(func(f *flag.Flag) {
		if value := values[f.Name]; value != f.DefValue {
			fmt.Fprintf(&text, "set %s %s\n", f.Name, value)
		}
	})
	for _, step := range s.Steps {
		fmt.Fprintln(&text, step)
	}
	return text.String()
}

// values returns the settings by name.
func (s Settings) values() map[string]string {
	kept := s
	f := s.flags() // which sets the defaults
	s = kept
	all := map[string]string{}
	f.VisitAll(func(f *flag.Flag) { all[f.Name] = f.Value.String() })
	return all
}

// Parse reads a Script. Empty lines and those that begin with # are comments.
func Parse(text string) (Script, error) {
	var s Script
	settings := s.Settings.flags()
	number := 0
	for line := range strings.Lines(text) {
		number++
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if words[0] == "set" && len(words) == 3 {
			if err := settings.Set(words[1], words[2]); err != nil {
				return s, fmt.Errorf("line %d: %w", number, err)
			}
			continue
		}
		step, err := parseStep(words)
		if err != nil {
			return s, fmt.Errorf("line %d: %w", number, err)
		}
		s.Steps = append(s.Steps, step)
	}
	return s, nil
}

func parseStep(words []string) (Step, error) {
	if len(words) < 3 {
		return Step{}, fmt.Errorf("%d words are no step", len(words))
	}
	at, err := time.ParseDuration(words[0])
	if err != nil {
		return Step{}, err
	}
	step := Step{At: at, Who: words[1]}
	rest := words[2:]
	if step.Who != proxyItself {
		if step.N, err = strconv.Atoi(rest[0]); err != nil {
			return Step{}, err
		}
		rest = rest[1:]
	}
	if len(rest) == 0 || !verbs[step.Who][rest[0]] {
		return Step{}, fmt.Errorf("%s has no such verb: %q", step.Who, rest)
	}
	step.Verb, step.Args = rest[0], rest[1:]
	return step, nil
}

// verbs are those of each actor.
var verbs = map[string]map[string]bool{
	"client": {
		"dials":       true, // a listener, and maybe a node; "hurried": it does not wait for its TLS handshake
		"logs-in":     true, // again; "wrong": by another password
		"sends":       true, // an exchange, how often, and the bytes of its records
		"begins":      true, // the same, once: a part of the request
		"half-closes": true, // ends its side, and reads on
		"closes":      true,
		"resets":      true,
		"pauses":      true, // reads nothing
		"reads":       true, // again
	},
	"broker": {
		"delays":  true, // each response, by a time
		"holds":   true, // all responses
		"goes-on": true,
		"ends":    true, // its connections, and serves on
		"resets":  true, // likewise
		"stops":   true, // serves no more
		"starts":  true,
		"moves":   true, // to another address; connections to the old one stay
		"swaps":   true, // its address with another broker's
	},
	proxyItself: {
		"reloads": true, // with changes: fred, -fred, renewed, idle=…, limit=…
		"jumps":   true, // its clock, by a time in which no byte arrives
		"settles": true, // brokers respond, clients read: everything is delivered
		"drains":  true,
	},
}
