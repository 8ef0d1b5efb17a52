package doctor

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"kproxy/internal/auth"
	"kproxy/internal/speaks"
	"kproxy/internal/tlsconf"
	"kproxy/internal/via"
	"kproxy/proxy/config"
)

// hostiles are texts that a peer may give for a host, a zone, a name or a mechanism.
var hostiles = []string{
	"\nauthorizer.class.name=evil\n#", "\ntouch X\n#", "$(touch X)", "`touch X`", "; touch X", "' touch X '", `" touch X "`, "\x1b[31m", "\a",
	"x\\\ny", "\\", "x=y", "#", "!", "&", "|", ">X", "<X", "*", "~", "\r", "\x00", "\u2028", "\u202e", strings.Repeat("x$(x)", 2<<10),
}

// asAddress are addresses that have a hostile text in each of their places.
func asAddress(text string) []string {
	return []string{text, "b0" + text + ":9092", "[::1%" + text + "]:9092", "[fe80::1%" + text + "]:9092", "b0:" + text, text + ":9092", "b0.example.com:9092"}
}

// allVerdicts reads the constants of verdict.go.
func allVerdicts(t *testing.T) []Verdict {
	t.Helper()
	source, err := os.ReadFile("verdict.go")
	if err != nil {
		t.Fatal(err)
	}
	var all []Verdict
	for _, m := range regexp.MustCompile(`Verdict += "([a-z_]+)"`).FindAllSubmatch(source, -1) {
		all = append(all, Verdict(m[1]))
	}
	if len(all) < 38 {
		t.Fatalf("%d verdicts: %q", len(all), all)
	}
	return all
}

var knownKeys = []string{
	"listeners", "advertised.listeners", "listener.security.protocol.map", "inter.broker.listener.name", "bootstrap.servers",
	"security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.jaas.config", "sasl.username", "sasl.password",
	"sasl.client.callback.handler.class", "sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.method", "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret",
	"ssl.ca.location", "ssl.truststore.type", "ssl.truststore.location", "ssl.keystore.type", "ssl.keystore.location", "ssl.certificate.location", "ssl.key.location",
}

// isPlainLine reports whether a line is key=value to Java's Properties and to every shell, apart
// from the quotes and the blanks of a login module.
func isPlainLine(line string) bool {
	key, value, ok := strings.Cut(line, "=")
	if name, isEnv := strings.CutPrefix(key, "KAFKA_"); isEnv {
		key = strings.ReplaceAll(strings.ToLower(name), "_", ".")
	}
	odd := func(r rune) bool {
		plain := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(":/.,-_[]", r)
		return !plain && (key != "sasl.jaas.config" || !strings.ContainsRune(` ="@;`, r))
	}
	return ok && slices.Contains(knownKeys, key) && !strings.ContainsFunc(value, odd)
}

// shellWords splits a command line as a POSIX shell does. It is not ok where a shell would do
// more than to split.
func shellWords(line string) (words []string, ok bool) {
	var word strings.Builder
	inQuotes, escaped := false, false
	for _, r := range line {
		switch {
		case !unicode.IsPrint(r):
			return nil, false
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\'':
			inQuotes = !inQuotes
		case inQuotes:
			word.WriteRune(r)
		case r == '\\':
			escaped = true
		case r == ' ':
			words = append(words, word.String())
			word.Reset()
		case !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_@%+=:,./-", r):
			return nil, false
		default:
			word.WriteRune(r)
		}
	}
	return append(words, word.String()), !inQuotes && !escaped
}

var tameWord = regexp.MustCompile(`^[A-Za-z0-9_.,:=/\[\]-]*$`)

func checkFix(t *testing.T, v Verdict, text string, f Fix) {
	t.Helper()
	for _, line := range slices.Concat(f.Properties, f.Env) {
		if !isPlainLine(line) || len(line) > 4*maxLayout {
			t.Errorf("%s, %.60q: %.300q", v, text, line)
		}
	}
	if f.Bootstrap != "" && !isPlainLine("bootstrap.servers="+f.Bootstrap) {
		t.Errorf("%s, %.60q: bootstrap at %.300q", v, text, f.Bootstrap)
	}
	words, ok := shellWords(f.Command)
	if !ok || slices.ContainsFunc(words, func(w string) bool { return !tameWord.MatchString(w) }) {
		t.Errorf("%s, %.60q: %.300q", v, text, f.Command)
	}
}

// No text of a peer changes the meaning of lines to paste: lines have a few known keys, commands are
// words, and the output is printable.
func TestNothingHostileIsPasted(t *testing.T) {
	verdicts := allVerdicts(t)
	users := []User{
		{Args: []string{"b0:9092"}},
		{Args: []string{"--config-from", "c.properties"}, File: "c.properties"},
		{Args: []string{"--config-from", "c.conf"}, File: "c.conf", Librdkafka: true, SASL: &config.SASL{Mechanism: "PLAIN", Username: "alice"}},
		{Args: []string{"b0:9092", "--sasl", "PLAIN"}, SASL: &config.SASL{Mechanism: "PLAIN", Username: "alice"}, TLS: &config.UpstreamTLS{}},
	}
	for _, text := range hostiles {
		layouts := []Layout{
			{},
			ParseLayout(map[string]string{"listeners": "A://:9092,B://:9093"}), ParseLayout(map[string]string{"listeners": "A://:9092"}), ParseLayout(kraft),
			ParseLayout(map[string]string{"listeners": "A://:9092", "advertised.listeners": "A://" + text + ":9092", "controller.listener.names": "A"}),
			ParseLayout(map[string]string{"listeners": "A://[::1%" + text + "]:9092,B" + text + "://:1", "listener.security.protocol.map": "A:" + text, "controller.listener.names": text}),
		}
		err := errors.Join(&via.Error{Outcome: via.OutcomeTargetUnreachable, Err: errors.New(text)}, &auth.OfferError{Offered: []string{text, "PLAIN" + text}}, &tlsconf.Error{Err: errors.New(text)})
		peer := speaks.Peer{Kind: speaks.Kafka, Secure: true, Cert: &speaks.Certificate{Names: []string{text, "b0" + text}, Issuer: text}}
		report := &Report{Heard: true, NeedsLogin: true, Mechanisms: []string{text}, Brokers: 9, ClusterID: text, User: User{Args: []string{"b0:9092"}, Addresses: []string{"b0:9092"}}, Unchecked: []string{text}}
		for i, address := range asAddress(text) {
			u := users[i%len(users)]
			u.Addresses = []string{"kafka.example.com:9092"}
			c := Case{User: &u, Node: int32(i), Address: address, Err: err, Peer: peer, Layout: layouts[i%len(layouts)], Listener: text}
			if i%2 == 0 {
				c.Working = address
			}
			for _, v := range verdicts {
				for _, c.Layout = range layouts {
					checkFix(t, v, text, c.remedy(v))
				}
				report.Findings = append(report.Findings, Finding{Node: int32(i), Address: address, Err: err, Failed: Connect, Verdict: v, Reason: text, Resolved: "", Fix: c.remedy(v), Elsewhere: address})
			}
		}
		checkFix(t, "needs_login", text, report.loginFix())
		checkFix(t, "connect", text, Fix{Command: report.ConnectCommand()})
		var out bytes.Buffer
		if err := errors.Join(report.Print(&out, Style{}), report.JSON(&out)); err != nil {
			t.Fatal(err)
		}
		if at := strings.IndexFunc(out.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); at >= 0 {
			t.Errorf("%.60q: printed %.100q", text, out.String()[at:])
		}
	}
}

// A fix whose lines are not plain is printed without them, with a note.
func TestPasteable(t *testing.T) {
	for name, f := range map[string]Fix{
		"a second line": {File: "server.properties of node 0", Properties: []string{"listeners=A://:1\nx=y"}},
		"a shell":       {File: "server.properties of node 0", Properties: []string{"listeners=A://:1"}, Env: []string{"KAFKA_LISTENERS=$(x)"}},
		"an address":    {File: "server.properties of node 0", Properties: []string{"listeners=A://:1"}, Bootstrap: "b0;x:1"},
		"a client's":    {File: theClientsFile, Properties: []string{"sasl.mechanism=PLAIN\\"}},
	} {
		got := pasteable(f)
		if got.File != "" || got.Properties != nil || got.Env != nil || got.Bootstrap != "" || !slices.Equal(got.Notes, []string{noteUnsafe}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := pasteable(Fix{Command: "kproxy doctor 'a\nb'"}); got.Command != "" {
		t.Errorf("a command of two lines: %q", got.Command)
	}
}
