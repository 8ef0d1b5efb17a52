package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"kproxy/internal/auth"
	"kproxy/internal/foreign"
	"kproxy/proxy/config"
)

// known are the mechanisms that kproxy supports, in the order of preference.
var known = []string{"SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER", "AWS_MSK_IAM"}

// maxOffered bounds the mechanisms that are listed, and maxMechanism the characters of each: a
// broker may offer any.
const (
	maxOffered   = 8
	maxMechanism = 40
)

// offered is a list of mechanisms in a sentence.
func offered(mechanisms []string) string {
	var names []string
	for _, m := range mechanisms[:min(len(mechanisms), maxOffered)] {
		names = append(names, foreign.LineOf(m, maxMechanism))
	}
	text := strings.Join(names, ", ")
	if n := len(mechanisms) - maxOffered; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// preferred is the mechanism to suggest, of those that a broker offers; "": the user's client cannot
// log in by any of them.
func (u *User) preferred(offered []string) string {
	for _, m := range known {
		if slices.Contains(offered, m) && (m != "AWS_MSK_IAM" || !u.Librdkafka) { // librdkafka does not have it
			return m
		}
	}
	return ""
}

const noMechanism = "kproxy cannot log in by any mechanism that the broker offers: have it offer one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM (sasl.enabled.mechanisms)"

// isByPassword reports whether a mechanism is for a user and a password.
func isByPassword(mechanism string) bool {
	return mechanism == "PLAIN" || strings.HasPrefix(mechanism, "SCRAM-")
}

// flagsOf are the flags of a login by a mechanism.
func flagsOf(mechanism string) []string {
	switch mechanism {
	case "OAUTHBEARER":
		return []string{"--sasl", mechanism, "--token-file", "FILE"}
	case "AWS_MSK_IAM":
		return []string{"--sasl", mechanism, "--aws-region", "REGION"}
	default:
		return []string{"--sasl", mechanism, "--username", "USER", "--password-file", "FILE"}
	}
}

// tameUser matches a user's name that needs no escape inside the quotes of a login
// module.
var tameUser = regexp.MustCompile(`^[A-Za-z0-9_.@-]{1,100}$`)

// userName is the user's name for a line.
func (u *User) userName() string {
	if u.SASL == nil || !tameUser.MatchString(u.SASL.Username) {
		return "USER"
	}
	return u.SASL.Username
}

const kafkaModules = "sasl.jaas.config=org.apache.kafka.common.security."

// moduleOf is the login module of a mechanism in Java.
func moduleOf(mechanism string) string {
	switch mechanism {
	case "PLAIN":
		return kafkaModules + "plain.PlainLoginModule"
	case "OAUTHBEARER":
		return kafkaModules + "oauthbearer.OAuthBearerLoginModule"
	case "AWS_MSK_IAM":
		return "sasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule"
	default:
		return kafkaModules + "scram.ScramLoginModule"
	}
}

// linesOf are the lines of the client's file for a login by a mechanism, without the mechanism.
func (u *User) linesOf(mechanism string) []string {
	const endpoint = "sasl.oauthbearer.token.endpoint.url=URL"
	module := moduleOf(mechanism)
	switch {
	case u.Librdkafka && mechanism == "OAUTHBEARER":
		return []string{"sasl.oauthbearer.method=oidc", endpoint, "sasl.oauthbearer.client.id=USER", "sasl.oauthbearer.client.secret=SECRET"}
	case u.Librdkafka:
		return []string{"sasl.username=" + u.userName(), "sasl.password=SECRET"}
	case mechanism == "OAUTHBEARER":
		return []string{endpoint, module + ` required clientId="USER" clientSecret="SECRET";`}
	case mechanism == "AWS_MSK_IAM":
		return []string{module + " required;", "sasl.client.callback.handler.class=software.amazon.msk.auth.iam.IAMClientCallbackHandler"}
	default:
		return []string{module + fmt.Sprintf(` required username="%s" password="SECRET";`, u.userName())}
	}
}

const noteSecret = "for SECRET, write the password, or the client's secret of OAUTHBEARER"

// fixMechanism makes the client use a mechanism that the broker offers.
func (c *Case) fixMechanism() Fix {
	u := c.User
	offer, ok := errors.AsType[*auth.OfferError](c.Err)
	if !ok {
		return Fix{Text: "use a mechanism that the broker offers", Docs: docsLogins}
	}
	now := u.preferred(offer.Offered)
	if now == "" {
		return Fix{Text: noMechanism, Docs: docsLogins}
	}
	key := cmp.Or(u.Mechanism, "sasl.mechanism")
	f := Fix{Text: "use a mechanism that the broker offers: " + u.key("--sasl ", key+"=", key+"=") + now, Docs: docsLogins}
	was := ""
	if u.SASL != nil {
		was = u.SASL.Mechanism
	}
	bothByPassword := isByPassword(was) && isByPassword(now)
	if u.File == "" {
		if bothByPassword {
			f.Command = u.without(map[string]int{"--sasl": 1}, "--sasl", now)
		} else {
			f.Command = u.without(loginFlags, flagsOf(now)...)
		}
		return f
	}
	lines := []string{key + "=" + now}
	if !bothByPassword || !u.Librdkafka && moduleOf(was) != moduleOf(now) {
		lines = append(lines, u.linesOf(now)...)
		f.Text += ", and replace the lines of the login that the file has"
	}
	f = c.client(f, lines...)
	if strings.Contains(strings.Join(lines, " "), "SECRET") {
		f.Notes = []string{noteSecret}
	}
	return f
}

// loginFix adds a login: by a command, or by lines of the client's file.
func (r *Report) loginFix() Fix {
	f := Fix{Text: "add a login by a mechanism that the cluster offers", Docs: docsLogins}
	if len(r.Mechanisms) == 0 {
		return f
	}
	u := r.User
	mechanism := u.preferred(r.Mechanisms)
	if mechanism == "" {
		f.Text = noMechanism
		return f
	}
	if u.File == "" {
		f.Command = u.Line("doctor", flagsOf(mechanism)...)
		return pasteable(f)
	}
	u.SASL = &config.SASL{}
	f.File = theClientsFile
	f.Properties = append([]string{"security.protocol=" + u.Protocol(), cmp.Or(u.Mechanism, "sasl.mechanism") + "=" + mechanism}, u.linesOf(mechanism)...)
	return pasteable(f)
}

// loginFlags are the flags of a login, with the number of values behind each.
var loginFlags = map[string]int{
	"--sasl": 1, "--username": 1, "--password-file": 1, "--password-env": 1, "--token-file": 1,
	"--aws-region": 1, "--aws-profile": 1, "--allow-plaintext": 0,
}

// noLogin makes the client connect without a login.
func (c *Case) noLogin(f Fix, line string) Fix {
	f = c.client(f, line)
	if c.User.File == "" {
		f.Command = c.User.without(loginFlags)
	}
	return f
}

// fixLogin is for a login.
func (c *Case) fixLogin(v Verdict) Fix {
	u := c.User
	user := u.key("--username and the password (--password-file or --password-env)", "username and password in sasl.jaas.config", "sasl.username and sasl.password")
	switch v {
	case Mechanism:
		return c.fixMechanism()
	case NoLogin:
		if !c.IsBootstrap() {
			return c.oneProtocol(v)
		}
		return c.noLogin(Fix{
			Text: u.key("leave --sasl out, or use the port of the listener that has SASL", "set security.protocol without SASL, or use the port of the listener that has SASL",
				"set security.protocol without SASL, or use the port of the listener that has SASL"), Docs: docsLogins,
		}, "security.protocol="+strings.TrimPrefix(strings.Replace(u.Protocol(), "SASL_PLAINTEXT", "PLAINTEXT", 1), "SASL_"))
	case LoginWanted:
		return c.oneProtocol(v)
	case Plaintext:
		f := Fix{Text: "use the port that speaks TLS and add --tls, or add --allow-plaintext if the network may see the secret", Docs: docsLogins}
		return c.command(f, "--allow-plaintext")
	case Password:
		if !c.IsBootstrap() {
			return Fix{Text: "the login is accepted at a bootstrap address and not here: see whether this broker has the same users", Docs: docsLogins}
		}
		return Fix{Text: "see whether " + user + " are right, and whether the user has credentials for " + c.mechanism() + " at the broker", Docs: docsLogins}
	default:
		return Fix{Text: "see the broker's log, and " + user, Docs: docsLogins}
	}
}
