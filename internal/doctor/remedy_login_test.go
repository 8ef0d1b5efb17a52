package doctor

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"kproxy/internal/auth"
	"kproxy/proxy/config"
)

// The suggested login uses a mechanism that kproxy knows, with the options that this
// mechanism needs.
func TestLoginFixByMechanism(t *testing.T) {
	for _, tt := range []struct{ offered, flags, java, rdkafka string }{
		{"GSSAPI,PLAIN", "--sasl PLAIN --username USER --password-file FILE", `sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="USER" password="SECRET";`, "sasl.username=USER sasl.password=SECRET"},
		{"OAUTHBEARER", "--sasl OAUTHBEARER --token-file FILE", `sasl.oauthbearer.token.endpoint.url=URL sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId="USER" clientSecret="SECRET";`, "sasl.oauthbearer.method=oidc sasl.oauthbearer.token.endpoint.url=URL sasl.oauthbearer.client.id=USER sasl.oauthbearer.client.secret=SECRET"},
		{"AWS_MSK_IAM", "--sasl AWS_MSK_IAM --aws-region REGION", "sasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required; sasl.client.callback.handler.class=software.amazon.msk.auth.iam.IAMClientCallbackHandler", ""},
		{"GSSAPI", "", "", ""},
		{"EVIL,GSSAPI", "", "", ""},
	} {
		offers := strings.Split(tt.offered, ",")
		for _, u := range []struct {
			user User
			want string
		}{{User{Args: []string{"b0:9092"}}, tt.flags}, {User{File: "f"}, tt.java}, {User{File: "f", Librdkafka: true}, tt.rdkafka}} {
			r := Report{User: u.user, NeedsLogin: true, Mechanisms: offers}
			fix := r.loginFix()
			got := strings.TrimPrefix(fix.Command, "kproxy doctor b0:9092 ")
			if len(fix.Properties) > 2 {
				got = strings.Join(fix.Properties[2:], " ")
			}
			if got != u.want || (u.want == "") != (fix.Text == noMechanism) {
				t.Errorf("%s: got %q, want %q: %s", tt.offered, got, u.want, fix.Text)
			}
		}
		user := User{Args: []string{"b0:9092", "--sasl", "OTHER", "--username", "u"}, SASL: &config.SASL{Mechanism: "OTHER", Username: "USER"}}
		_, _, _, fix := Judge(Case{User: &user, Err: &auth.LoginError{Refused: true, Err: &auth.OfferError{Offered: offers}}})
		if got := strings.TrimPrefix(fix.Command, "kproxy doctor b0:9092 "); got != tt.flags {
			t.Errorf("%s, in the place of another: got %q, want %q", tt.offered, got, tt.flags)
		}
	}
}

// The login module is kept if it serves the other mechanism too, and a user's name is kept if it
// can be pasted.
func TestLinesOfAnotherMechanism(t *testing.T) {
	for _, tt := range []struct{ was, user, now, want string }{
		{"SCRAM-SHA-256", "alice", "SCRAM-SHA-512", "sasl.mechanism=SCRAM-SHA-512"},
		{"SCRAM-SHA-256", "alice", "PLAIN", `sasl.mechanism=PLAIN sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="SECRET";`},
		{"PLAIN", "a\";\nx=y", "SCRAM-SHA-512", `sasl.mechanism=SCRAM-SHA-512 sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="USER" password="SECRET";`},
	} {
		user := User{File: "f", SASL: &config.SASL{Mechanism: tt.was, Username: tt.user}}
		_, _, _, fix := Judge(Case{User: &user, Err: &auth.LoginError{Refused: true, Err: &auth.OfferError{Offered: []string{tt.now}}}})
		got := strings.Join(fix.Properties, " ")
		if got != tt.want || strings.Contains(got, "SECRET") != slices.Contains(fix.Notes, noteSecret) || strings.Contains(fix.Text, "replace") != strings.Contains(got, "SECRET") {
			t.Errorf("%s to %s: got %s, want %s; %+v", tt.was, tt.now, got, tt.want, fix)
		}
	}
}

// A broker may offer any number of mechanisms, with names of any length.
func TestOffered(t *testing.T) {
	var many []string
	for i := range 5000 {
		many = append(many, fmt.Sprintf("M%d", i))
	}
	if got := offered(many); got != "M0, M1, M2, M3, M4, M5, M6, M7 and 4992 more" {
		t.Errorf("got %.200s", got)
	}
	_, _, reason, _ := Judge(Case{User: &User{}, Err: &auth.LoginError{Refused: true, Err: &auth.OfferError{Offered: []string{strings.Repeat("x", 1000)}}}})
	if len(reason) > 120 {
		t.Errorf("got %s", reason)
	}
	r := Report{NeedsLogin: true, Mechanisms: many}
	if err := r.JSON(io.Discard); err != nil {
		t.Error(err)
	}
}
