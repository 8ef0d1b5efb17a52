package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kproxy/internal/portlab"
)

// runDoctor runs doctor. Addresses with a port of the moment are written as HERE, times as
// TOOK, and columns by one space.
func runDoctor(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(append([]string{"doctor"}, args...), &out, &errs)
	plain := func(b bytes.Buffer) string {
		text := regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(b.String(), "HERE")
		text = regexp.MustCompile(`\d+(\.\d+)?(ms|s)\n`).ReplaceAllString(text, "TOOK\n")
		return regexp.MustCompile(` +`).ReplaceAllString(text, " ")
	}
	return code, plain(out), plain(errs)
}

// The story: a client bootstraps, and then hears names that are not known here.
func TestDoctorNamesThatNobodyKnows(t *testing.T) {
	at := hidden(t, 2)
	code, stdout, stderr := runDoctor(t, at[0])
	const want = `WHO ADDRESS NAME CONNECT TLS KAFKA LOGIN ITSELF TOOK
bootstrap HERE - ok - ok - - TOOK
node 0 b0.vpc.invalid:9092 FAILED TOOK
node 1 b1.vpc.invalid:9092 FAILED TOOK

node 0, b0.vpc.invalid:9092: no such host
node 1, b1.vpc.invalid:9092: no such host
 fix: the name is not known here, as that of a container or of a machine in a cloud is not: give the broker a listener whose advertised.listeners has an address that works from here, or have clients here use kproxy, or put the name into DNS or this machine's hosts file

kproxy connect, told the same, reaches from here node 0 at HERE.
 not node 1: tell it where from here, by HOST:PORT or --node ID=HOST:PORT
`
	if code != exitFailed || stdout != want {
		t.Errorf("exit code %d, got\n%s\nwant\n%s", code, stdout, want)
	}
	if !strings.HasSuffix(stderr, "kproxy: 2 of 3 addresses fail from here\n") {
		t.Errorf("stderr ends otherwise:\n%s", stderr)
	}
}

func TestDoctorAllWell(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(2))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	code, stdout, stderr := runDoctor(t, c.ListenAddrs()[0])
	const want = `WHO ADDRESS NAME CONNECT TLS KAFKA LOGIN ITSELF TOOK
bootstrap HERE - ok - ok - - TOOK
node 0 HERE - ok - ok - ok TOOK
node 1 HERE - ok - ok - ok TOOK

Every address works from here: a client of HERE can use all 2 brokers.
`
	if code != exitDone || stdout != want {
		t.Errorf("exit code %d, got\n%s\nwant\n%s\n%s", code, stdout, want, stderr)
	}
}

func TestDoctorJSON(t *testing.T) {
	at := hidden(t, 1)[0]
	var out, errs bytes.Buffer
	code := run([]string{"doctor", at, "--json"}, &out, &errs)
	var e examinationJSON
	if err := json.Unmarshal(out.Bytes(), &e); err != nil || code != exitFailed {
		t.Fatalf("exit code %d, %v\n%s\n%s", code, err, out.String(), errs.String())
	}
	if e.Sound || len(e.Addresses) != 2 {
		t.Fatalf("got %+v", e)
	}
	bootstrap, node := e.Addresses[0], e.Addresses[1]
	if bootstrap.Node != nil || bootstrap.Error != "" || bootstrap.Steps["kafka"] != "ok" {
		t.Errorf("bootstrap: %+v", bootstrap)
	}
	if node.Node == nil || *node.Node != 0 || node.Steps["name"] != "failed" || node.Fix == "" || node.Connect != at {
		t.Errorf("node 0: %+v", node)
	}
}

func TestDoctorUsage(t *testing.T) {
	closed := portlab.Closed(t)
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no address":       {nil, exitUsage, "no address"},
		"a wildcard":       {[]string{"0.0.0.0:9092"}, exitUsage, "names no host"},
		"a flag of others": {[]string{"h:1", "--port", "9"}, exitUsage, "unknown flag: --port"},
		"no such file":     {[]string{"h:1", "--ca", "no-such.pem"}, exitUsage, "no-such.pem"},
		"nobody there":     {[]string{closed}, exitFailed, "no address has told who the brokers are"},
	} {
		if code, _, stderr := runDoctor(t, tt.args...); code != tt.code || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit code %d, want %d with %q:\n%s", name, code, tt.code, tt.want, stderr)
		}
	}
}

// A cluster that wants a login says no addresses before, and doctor does not say that all
// is well.
func TestDoctorNeedsLogin(t *testing.T) {
	at := hidden(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "alice", "alice-secret"))[0]
	code, stdout, stderr := runDoctor(t, at)
	if code != exitFailed || !strings.Contains(stdout, "to clients that have logged in") || !strings.Contains(stderr, "add --sasl") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
}
