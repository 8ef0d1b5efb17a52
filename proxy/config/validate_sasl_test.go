package config

import (
	"strings"
	"testing"
)

// Each way to write sasl wrongly gets exactly these lines.
func TestValidateSASL(t *testing.T) {
	file := Secret{File: "p"}
	for name, tt := range map[string]struct {
		sasl SASL
		want []string
	}{
		"plain":        {SASL{Mechanism: "PLAIN", Username: "u", Password: file}, nil},
		"a token file": {SASL{Mechanism: "OAUTHBEARER", OAuth: OAuth{TokenFile: "t"}}, nil},
		"a token endpoint": {SASL{Mechanism: "OAUTHBEARER", OAuth: OAuth{
			TokenURL: "https://login.internal/token", ClientID: "c", ClientSecret: file, Extensions: map[string]string{"logicalCluster": "l"},
		}}, nil},
		"AWS":             {SASL{Mechanism: "AWS_MSK_IAM"}, nil},
		"AWS with a role": {SASL{Mechanism: "AWS_MSK_IAM", AWS: AWS{RoleARN: "arn:aws:iam::111122223333:role/r", SessionName: "a.b@c", ExternalID: "a:b/c"}}, nil},
		"names that AWS does not take": {SASL{Mechanism: "AWS_MSK_IAM", AWS: AWS{RoleARN: "r", SessionName: "a b", ExternalID: "ä"}}, []string{
			"clusters.orders.sasl.aws.session_name: AWS does not take it; write 2 to 64 letters, digits and any of _+=,.@-",
			"clusters.orders.sasl.aws.external_id: AWS does not take it; write 2 to 1224 letters, digits and any of _+=,.@:/-",
		}},
		"an external id of no role": {SASL{Mechanism: "AWS_MSK_IAM", AWS: AWS{ExternalID: "id"}}, []string{
			"clusters.orders.sasl.aws.external_id: there is no role_arn to assume with it; write role_arn, or the external_id of a profile's role into the profile",
		}},
		"no mechanism": {SASL{Username: "u"}, []string{`clusters.orders.sasl.mechanism: "" is no mechanism that kproxy knows; write one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, AWS_MSK_IAM`}},
		"nobody": {SASL{Mechanism: "SCRAM-SHA-512"}, []string{
			"clusters.orders.sasl.username: missing; write the user that kproxy logs in as",
			"clusters.orders.sasl.password_file: missing; write the file that holds it, or its environment variable as password_env",
		}},
		"two passwords": {SASL{Mechanism: "PLAIN", Username: "u", Password: Secret{File: "p", Env: "P"}}, []string{
			"clusters.orders.sasl.password_file: the environment variable P is named too; keep one of them",
		}},
		"what other mechanisms use": {SASL{Mechanism: "AWS_MSK_IAM", Username: "u", OAuth: OAuth{Scope: "s"}}, []string{
			"clusters.orders.sasl.username: the mechanism AWS_MSK_IAM has no username and no password; take them out",
			"clusters.orders.sasl.oauth: the mechanism is AWS_MSK_IAM; take it out, or set mechanism to OAUTHBEARER",
		}},
		"AWS for PLAIN":       {SASL{Mechanism: "PLAIN", Username: "u", Password: file, AWS: AWS{Region: "r"}}, []string{"clusters.orders.sasl.aws: the mechanism is PLAIN; take it out, or set mechanism to AWS_MSK_IAM"}},
		"no token":            {SASL{Mechanism: "OAUTHBEARER"}, []string{"clusters.orders.sasl.oauth.token_url: missing; write the URL of the token endpoint, or token_file"}},
		"two tokens":          {SASL{Mechanism: "OAUTHBEARER", OAuth: OAuth{TokenFile: "t", TokenURL: "u"}}, []string{"clusters.orders.sasl.oauth.token_file: there is token_url too; keep one of them"}},
		"a token that is not": {SASL{Mechanism: "OAUTHBEARER", OAuth: OAuth{TokenFile: "t", Scope: "s"}}, []string{"clusters.orders.sasl.oauth.token_file: client_id, client_secret_file and scope are for token_url; take them out, or write token_url instead"}},
		"no client": {SASL{Mechanism: "OAUTHBEARER", OAuth: OAuth{TokenURL: "https://user:pass@login.internal"}}, []string{
			"clusters.orders.sasl.oauth.token_url: it is no URL of a token endpoint; write one such as https://login.example.com/oauth2/token",
			"clusters.orders.sasl.oauth.client_id: missing; write the client that kproxy is to the token endpoint",
			"clusters.orders.sasl.oauth.client_secret_file: missing; write the file that holds it",
		}},
		"a secret in plaintext": {SASL{Mechanism: "OAUTHBEARER", OAuth: OAuth{TokenURL: "http://login.internal", ClientID: "c", ClientSecret: file}}, []string{
			"clusters.orders.sasl.oauth.token_url: the client secret would go to it in plaintext; write https, or set sasl.allow_plaintext if the network may see it",
		}},
		"an extension that is the token": {SASL{Mechanism: "OAUTHBEARER", OAuth: OAuth{TokenFile: "t", Extensions: map[string]string{"auth": "x"}}}, []string{
			`clusters.orders.sasl.oauth.extensions: "auth" is no name of an extension; use letters alone, and not auth`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := valid()
			c.Clusters[0].SASL = &tt.sasl
			var got string
			if err := c.Validate(); err != nil {
				got = err.Error()
			}
			if want := strings.Join(tt.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
