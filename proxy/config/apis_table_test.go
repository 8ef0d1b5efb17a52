package config

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A new API has to be decided: is it for readers, or not?
func TestReadOnlyDecidesEveryAPI(t *testing.T) {
	known := 0
	for key := range int16(kmsg.MaxKey + 1) {
		if kmsg.RequestForKey(key) == nil {
			continue
		}
		known++
		if _, decided := forReaders[kmsg.Key(key)]; !decided {
			t.Errorf("readOnly does not say whether %s (%d) is for readers", kmsg.NameForKey(key), key)
		}
	}
	if len(forReaders) != known {
		t.Errorf("readOnly has %d APIs, and there are %d", len(forReaders), known)
	}
}

func TestValidateAPIs(t *testing.T) {
	for name, tt := range map[string]struct {
		apis APIs
		want []string
	}{
		"good":         {APIs{Preset: ReadOnly, Allow: []string{"CreateTopics", "initproducerid"}, Deny: []string{"DescribeAcls"}}, nil},
		"no preset":    {APIs{Preset: "readonly"}, []string{`clusters.orders.listeners.fred.apis.preset: "readonly" is no preset; write read-only, or leave the key out`}},
		"unknown":      {APIs{Deny: []string{"MakeTopics"}}, []string{`clusters.orders.listeners.fred.apis.deny[0]: "MakeTopics" is no API that this build knows; write names as Kafka has them, such as Produce or CreateTopics`}},
		"both":         {APIs{Allow: []string{"Produce"}, Deny: []string{"produce"}}, []string{`clusters.orders.listeners.fred.apis.deny[0]: produce is in allow too; keep it in one of them`}},
		"envelopes":    {APIs{Preset: ReadOnly, Allow: []string{"Envelope"}}, []string{`clusters.orders.listeners.fred.apis.allow[0]: Envelope holds other requests, which would not be looked at; take it out`}},
		"no beginning": {APIs{Deny: []string{"ApiVersions"}}, []string{`clusters.orders.listeners.fred.apis.deny[0]: no client can begin without ApiVersions; take it out`}},
	} {
		t.Run(name, func(t *testing.T) {
			c := valid()
			c.Clusters[0].Listeners[0].APIs = tt.apis
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

func TestValidateLogin(t *testing.T) {
	c := valid()
	c.Clusters[0].Listeners[0].Login = &Login{}
	c.Clusters[0].Listeners[1].Login = &Login{UsersFile: "u", Mechanisms: []string{"PLAIN", "PLAIN", "GSSAPI"}}
	c.MaxRequestBytesBeforeLogin = 1
	want := strings.Join([]string{
		"limits.max_request_bytes_before_login: 1 bytes are too few for a client to log in with; write 1024 or more; Kafka's own default is 524288",
		"clusters.orders.listeners.fred.login.users_file: missing; write the file of users, with a line of kproxy passwd for each",
		"clusters.orders.listeners.fred.login.mechanisms: missing; write those that clients may choose from: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512",
		"clusters.orders.listeners.alice.login.mechanisms[1]: PLAIN is there twice; take it out",
		`clusters.orders.listeners.alice.login.mechanisms[2]: "GSSAPI" is no mechanism by which clients can log in here; write some of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512`,
	}, "\n")
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
