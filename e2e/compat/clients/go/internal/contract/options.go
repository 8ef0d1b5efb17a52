package contract

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"time"
)

// Options are the flags, which are the same for every client.
type Options struct {
	Work string

	Bootstrap     string
	BrokerVersion string        // a hint, for a client that does not find out
	Timeout       time.Duration // of the whole program; after Duration, where that is given
	Duration      time.Duration // of session and tail

	Topic, Group, From string
	TransactionalID    string

	Count  int
	First  int // number of the first record
	Prefix string
	Size   int
	Rate   float64 // records a second; 0 is as fast as possible

	Acks        string
	Compression string
	Idempotent  bool

	Isolation    string
	Rack         string
	Members      int
	Churn        bool
	Protocol     string
	MaxBytes     int
	StaticMember string

	Replication int

	Security    string
	Mechanism   string
	Username    string
	Password    string
	HandshakeV0 bool
}

// SASL says that the client logs in.
func (o *Options) SASL() bool { return o.Security == "SASL_PLAINTEXT" }

// oneOf is a flag's closed set of values.
type oneOf struct {
	flag, value string
	allowed     []string
}

func parse(args []string, stderr io.Writer) (Options, error) {
	var o Options
	if len(args) == 0 {
		return o, errors.New("no work named")
	}
	o.Work = args[0]
	f := flag.NewFlagSet(o.Work, flag.ContinueOnError)
	f.SetOutput(stderr)
	var timeout, duration float64
	f.StringVar(&o.Bootstrap, "bootstrap", "", "host:port")
	f.StringVar(&o.BrokerVersion, "broker-version", "", "the broker's version, a hint")
	f.Float64Var(&timeout, "timeout", 60, "seconds")
	f.Float64Var(&duration, "duration", 10, "seconds, of session and tail")
	f.StringVar(&o.Topic, "topic", "", "")
	f.StringVar(&o.Group, "group", "", "")
	f.StringVar(&o.From, "from", "", "transaction: the topic to read from")
	f.StringVar(&o.TransactionalID, "transactional-id", "", "transaction: PREFIX unless given")
	f.IntVar(&o.Count, "count", 100, "")
	f.IntVar(&o.First, "first", 0, "produce: number of the first record")
	f.StringVar(&o.Prefix, "prefix", "r", "records are PREFIX-%08d")
	f.IntVar(&o.Size, "size", 0, "pad values to this many bytes")
	f.Float64Var(&o.Rate, "rate", 0, "records a second")
	f.StringVar(&o.Acks, "acks", "all", "0, 1 or all")
	f.StringVar(&o.Compression, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	f.BoolVar(&o.Idempotent, "idempotent", false, "")
	f.StringVar(&o.Isolation, "isolation", "uncommitted", "committed or uncommitted")
	f.StringVar(&o.Rack, "rack", "", "")
	f.IntVar(&o.Members, "members", 1, "")
	f.BoolVar(&o.Churn, "churn", false, "each member leaves once and another joins")
	f.StringVar(&o.Protocol, "protocol", "classic", "classic, consumer or share")
	f.IntVar(&o.MaxBytes, "max-bytes", 0, "fetch sizes, where the default is too small")
	f.StringVar(&o.StaticMember, "static-member", "", "the members' group.instance.id, which gets a number")
	f.IntVar(&o.Replication, "replication", 1, "admin: of the topic")
	f.StringVar(&o.Security, "security", "PLAINTEXT", "PLAINTEXT or SASL_PLAINTEXT")
	f.StringVar(&o.Mechanism, "mechanism", "PLAIN", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER")
	f.StringVar(&o.Username, "username", "", "")
	f.StringVar(&o.Password, "password", "", "")
	f.BoolVar(&o.HandshakeV0, "handshake-v0", false, "SaslHandshake v0, then bare tokens")
	if err := f.Parse(args[1:]); err != nil {
		return o, err
	}
	o.Timeout = time.Duration(timeout * float64(time.Second))
	o.Duration = time.Duration(duration * float64(time.Second))
	if o.TransactionalID == "" {
		o.TransactionalID = o.Prefix
	}
	return o, o.validate(f.Args())
}

func (o *Options) validate(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q", rest[0])
	}
	for _, c := range []oneOf{
		{"acks", o.Acks, []string{"0", "1", "all"}},
		{"compression", o.Compression, []string{"none", "gzip", "snappy", "lz4", "zstd"}},
		{"isolation", o.Isolation, []string{"committed", "uncommitted"}},
		{"protocol", o.Protocol, []string{"classic", "consumer", "share"}},
		{"security", o.Security, []string{"PLAINTEXT", "SASL_PLAINTEXT"}},
		{"mechanism", o.Mechanism, []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"}},
	} {
		if !slices.Contains(c.allowed, c.value) {
			return fmt.Errorf("--%s %q: want one of %v", c.flag, c.value, c.allowed)
		}
	}
	need := map[string][]oneOf{
		"produce":     {{flag: "topic", value: o.Topic}},
		"consume":     {{flag: "topic", value: o.Topic}, {flag: "group", value: o.Group}},
		"transaction": {{flag: "topic", value: o.Topic}},
		"admin":       {{flag: "topic", value: o.Topic}},
		"session":     {{flag: "topic", value: o.Topic}, {flag: "group", value: o.Group}},
		"tail":        {{flag: "topic", value: o.Topic}},
	}[o.Work]
	if o.Work != "version" {
		need = append(need, oneOf{flag: "bootstrap", value: o.Bootstrap})
	}
	if o.From != "" {
		need = append(need, oneOf{flag: "group", value: o.Group})
	}
	for _, n := range need {
		if n.value == "" {
			return fmt.Errorf("%s needs --%s", o.Work, n.flag)
		}
	}
	return nil
}
