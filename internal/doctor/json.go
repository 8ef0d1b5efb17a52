package doctor

import (
	"encoding/json"
	"io"
	"strings"

	"kproxy/internal/foreign"
	"kproxy/internal/speaks"
)

// document, address, service, certificate and remedy are the output of --json. docs/doctor.md
// has the schema; a test holds it against these.
type document struct {
	Sound      bool      `json:"sound"`
	From       string    `json:"from"` // "here", or the machine of --via
	ClusterID  string    `json:"cluster_id,omitempty"`
	Brokers    int       `json:"brokers,omitempty"`
	NeedsLogin bool      `json:"needs_login,omitempty"`
	Mechanisms []string  `json:"mechanisms,omitempty"`
	Fix        *remedy   `json:"fix,omitempty"` // of needs_login
	Addresses  []address `json:"addresses"`
	Unchecked  []string  `json:"unchecked,omitempty"`
	Command    string    `json:"connect_command,omitempty"`
	Copies     string    `json:"copies,omitempty"`
}

type address struct {
	Node     *int32            `json:"node"` // null: for bootstrap
	Address  string            `json:"address"`
	Resolved string            `json:"resolved,omitempty"`
	Steps    map[string]string `json:"steps"`
	TookMS   float64           `json:"took_ms"`
	Verdict  Verdict           `json:"verdict,omitempty"`
	Error    string            `json:"error,omitempty"`
	Speaks   *service          `json:"speaks,omitempty"`
	Fix      *remedy           `json:"fix,omitempty"`
	Connect  string            `json:"connect,omitempty"` // where kproxy connect reaches it
}

type service struct {
	Kind        speaks.Kind  `json:"kind"`
	Text        string       `json:"text,omitempty"`
	TLS         bool         `json:"tls,omitempty"`
	WantsCert   bool         `json:"wants_certificate,omitempty"`
	Certificate *certificate `json:"certificate,omitempty"`
}

type certificate struct {
	Names      []string `json:"names"`
	Subject    string   `json:"subject"`
	Issuer     string   `json:"issuer"`
	SelfSigned bool     `json:"self_signed,omitempty"`
	NotAfter   string   `json:"not_after"`
}

type remedy struct {
	Text       string   `json:"text"`
	File       string   `json:"file,omitempty"`
	Properties []string `json:"properties,omitempty"`
	Partial    bool     `json:"partial,omitempty"`
	Env        []string `json:"env,omitempty"`
	Bootstrap  string   `json:"bootstrap,omitempty"`
	Notes      []string `json:"notes,omitempty"`
	Command    string   `json:"command,omitempty"`
	Docs       string   `json:"docs,omitempty"`
}

// JSON writes a report for a program.
func (r *Report) JSON(w io.Writer) error {
	out := document{
		Sound: r.Sound(), From: "here", ClusterID: foreign.Line(r.ClusterID), Brokers: r.Brokers,
		NeedsLogin: r.NeedsLogin, Addresses: []address{}, Copies: r.Copies,
	}
	for _, m := range r.Mechanisms[:min(len(r.Mechanisms), maxOffered)] {
		out.Mechanisms = append(out.Mechanisms, foreign.LineOf(m, maxMechanism))
	}
	for _, what := range r.Unchecked {
		out.Unchecked = append(out.Unchecked, foreign.LineOf(what, maxReason))
	}
	if r.User.Via != "" {
		out.From = r.User.Via
	}
	if r.NeedsLogin {
		out.Fix = remedyOf(r.loginFix())
	}
	if r.User.Via != "" && r.Sound() {
		out.Command = r.ConnectCommand()
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		out.Addresses = append(out.Addresses, addressOf(f))
		if f.Connect != "" || f.elsewhere() != "" {
			out.Command = r.ConnectCommand()
		}
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}

func addressOf(f *Finding) address {
	one := address{
		Address: foreign.LineOf(f.Address, maxAddress), Resolved: f.Resolved, Steps: map[string]string{}, TookMS: float64(f.Took.Microseconds()) / 1000,
		Verdict: f.Verdict, Error: foreign.LineOf(f.Reason, maxReason), Connect: foreign.LineOf(f.Connect+f.elsewhere(), maxAddress),
	}
	if !f.isBootstrap() {
		one.Node = &f.Node
	}
	for s := range Arrived {
		switch outcome := f.Outcome(s); outcome {
		case "", "-":
		case "FAIL":
			one.Steps[s.String()] = "failed"
		default:
			one.Steps[s.String()] = strings.ToLower(outcome)
		}
	}
	if f.Peer.Kind != speaks.NotAsked {
		one.Speaks = serviceOf(f.Peer)
	}
	if f.Err != nil {
		one.Fix = remedyOf(f.Fix)
	}
	return one
}

func remedyOf(f Fix) *remedy {
	return &remedy{foreign.LineOf(f.Text, maxFix), f.File, f.Properties, f.Partial, f.Env, f.Bootstrap, f.Notes, f.Command, f.Docs}
}

func serviceOf(p speaks.Peer) *service {
	s := &service{Kind: p.Kind, Text: p.Text, TLS: p.Secure, WantsCert: p.Wants}
	if c := p.Cert; c != nil {
		s.Certificate = &certificate{c.Names, c.Subject, c.Issuer, c.SelfSigned, c.NotAfter.UTC().Format("2006-01-02T15:04:05Z")}
		if s.Certificate.Names == nil {
			s.Certificate.Names = []string{}
		}
	}
	return s
}
