package connect

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"kproxy/internal/columns"
	"kproxy/internal/foreign"
)

// maxProblems is the most nodes that Problems names. The table has the others.
const maxProblems = 20

// Table writes the address of each broker that was tried, and the address that is advertised
// to clients on this side.
func (s *Session) Table(w io.Writer) error {
	t := columns.New("NODE", "HERE", "DIALLED", "BECAUSE", "ADVERTISES")
	for _, b := range s.Cluster.Brokers[:min(len(s.Cluster.Brokers), maxTried)] {
		how, err := s.Cluster.How(b.Node)
		dialled := cmp.Or(s.Cluster.paired.at[b.Node], s.options.Nodes[b.Node], addressOf(b))
		switch {
		case err != nil && how == "":
			dialled, how = "-", Unreachable
		case err != nil:
			how += ", but " + Unreachable
		case how == ByRule:
			dialled = "by --dial"
		}
		t.Line(strconv.Itoa(int(b.Node)), cmp.Or(s.Here(b.Node), "no port is left"), dialled, string(how), addressOf(b))
	}
	if err := t.Write(w); err != nil {
		return err
	}
	if more := len(s.Cluster.Brokers) - maxTried; more > 0 {
		_, err := fmt.Fprintf(w, "and %d more nodes, which were not tried\n", more)
		return err
	}
	return nil
}

// Problems are the nodes that cannot be reached, each with the fix. If there are more than
// maxProblems, the last line is their number.
func (s *Session) Problems() []string {
	var all []string
	more := 0
	for _, b := range s.Cluster.Brokers {
		how, err := s.Cluster.How(b.Node)
		switch {
		case err == nil:
		case len(all) == maxProblems:
			more++
		case how == "":
			all = append(all, fmt.Sprintf("node %d cannot be reached: %s; if it is elsewhere from here, add --node %d=HOST:PORT", b.Node, Brief(err), b.Node))
		default:
			all = append(all, fmt.Sprintf("node %d cannot be reached: %s", b.Node, Brief(err)))
		}
	}
	if more > 0 {
		all = append(all, fmt.Sprintf("%d more nodes cannot be reached; the table has them", more))
	}
	return all
}

// Brief is the cause of a failed dial, without the steps before it: "no such host: NAME".
// Other errors are unchanged.
func Brief(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Err + ": " + foreign.Line(dns.Name)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" && op.Addr != nil {
		reason := op.Err
		if call, ok := errors.AsType[*os.SyscallError](reason); ok {
			reason = call.Err
		}
		return reason.Error() + ": " + op.Addr.String()
	}
	return err.Error()
}

// ClientConfig is the whole configuration of a client that uses this side, for Java,
// librdkafka and kcat. Clients speak plaintext to kproxy. kproxy logs in at the cluster,
// or the client itself does, through kproxy.
func (s *Session) ClientConfig() string {
	var b strings.Builder
	mechanism, protocol := "", "PLAINTEXT"
	if s.Cluster.NeedsLogin {
		protocol, mechanism = "SASL_PLAINTEXT", preferred(s.Cluster.Mechanisms)
	}
	common := fmt.Sprintf("bootstrap.servers=%s\nsecurity.protocol=%s\n", s.Bootstrap(), protocol)
	b.WriteString("# Java (client.properties)\n" + common)
	if mechanism != "" {
		fmt.Fprintf(&b, "sasl.mechanism=%s\nsasl.jaas.config=%s required username=\"YOU\" password=\"SECRET\";\n", mechanism, moduleOf(mechanism))
	}
	b.WriteString("\n# librdkafka: confluent-kafka for Python, .NET, Go; node-rdkafka; …\n" + common)
	if mechanism != "" {
		fmt.Fprintf(&b, "sasl.mechanism=%s\nsasl.username=YOU\nsasl.password=SECRET\n", mechanism)
	}
	fmt.Fprintf(&b, "\n# kcat\nkcat -b %s", s.Bootstrap())
	if mechanism != "" {
		fmt.Fprintf(&b, " -X security.protocol=%s -X sasl.mechanism=%s -X sasl.username=YOU -X sasl.password=SECRET", protocol, mechanism)
	}
	b.WriteString(" -L\n")
	return b.String()
}

// preferred is the mechanism to show: one that keeps the password on this side, if there
// is one.
func preferred(mechanisms []string) string {
	for _, m := range []string{"SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"} {
		if slices.Contains(mechanisms, m) {
			return m
		}
	}
	if len(mechanisms) > 0 {
		return mechanisms[0]
	}
	return "PLAIN"
}

func moduleOf(mechanism string) string {
	switch {
	case strings.HasPrefix(mechanism, "SCRAM-"):
		return "org.apache.kafka.common.security.scram.ScramLoginModule"
	case mechanism == "OAUTHBEARER":
		return "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
	default:
		return "org.apache.kafka.common.security.plain.PlainLoginModule"
	}
}
