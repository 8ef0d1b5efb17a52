package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kproxy/internal/doctor"
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
		text = regexp.MustCompile(` \d+(\.\d+)?m?s\b`).ReplaceAllString(text, " TOOK")
		return regexp.MustCompile(` +`).ReplaceAllString(text, " ")
	}
	return code, plain(out), plain(errs)
}

// The story: a client bootstraps, and then gets names that do not resolve here.
func TestDoctorNamesThatDoNotResolve(t *testing.T) {
	at := hidden(t, 2)
	code, stdout, stderr := runDoctor(t, at[0])
	const want = `WHO NAME CONNECT TLS KAFKA LOGIN ITSELF TOOK ADDRESS
bootstrap - ok - ok - - TOOK HERE
node 0 FAIL TOOK b0.vpc.invalid:9092
node 1 FAIL TOOK b1.vpc.invalid:9092

node 0, b0.vpc.invalid:9092
node 1, b1.vpc.invalid:9092
 wrong: no such host: the name does not resolve here
`
	if code != exitFailed || !strings.HasPrefix(stdout, want) {
		t.Errorf("exit code %d, got\n%s\nwant\n%s", code, stdout, want)
	}
	words := strings.Join(strings.Fields(stdout), " ") // where a line ends depends on the port
	for _, part := range []string{"kproxy connect reaches node 0 at HERE, and", "It does not reach node 1:"} {
		if !strings.Contains(words, part) {
			t.Errorf("there is no %q in\n%s", part, stdout)
		}
	}
	for _, part := range []string{
		"\n # server.properties of node 1, which could not be read\n", "\n # the client's file, for clients from here\n bootstrap.servers=HERE\n", " listeners=INTERNAL://:9092,EXTERNAL://:19092\n",
		" advertised.listeners=INTERNAL://b1.vpc.invalid:9092,EXTERNAL://HOST:19092\n",
		" KAFKA_ADVERTISED_LISTENERS=INTERNAL://b0.vpc.invalid:9092,EXTERNAL://HERE\n",
		" see: docs/listeners.md#one-listener-for-each-network\n",
		"\n kproxy connect HERE\n",
	} {
		if !strings.Contains(stdout, part) {
			t.Errorf("there is no %q in\n%s", part, stdout)
		}
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
	const want = `WHO NAME CONNECT TLS KAFKA LOGIN ITSELF TOOK ADDRESS
bootstrap - ok - ok - - TOOK HERE
node 0 - ok - ok - ok TOOK HERE
node 1 - ok - ok - ok TOOK HERE

Every address works from here: a client of HERE can use all 2 brokers.
`
	// Where a line ends depends on the ports.
	if code != exitDone || !slices.Equal(strings.Fields(stdout), strings.Fields(want)) {
		t.Errorf("exit code %d, got\n%s\nwant\n%s\n%s", code, stdout, want, stderr)
	}
}

// Through another machine everything works, and the text names that machine.
func TestDoctorVia(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	proxy := socks(t)
	code, stdout, stderr := runDoctor(t, c.ListenAddrs()[0], "--via", "socks5://"+proxy)
	if code != exitDone || strings.Contains(stdout, "works from here") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	stdout = strings.Join(strings.Split(stdout, "\n "), " ")
	for _, part := range []string{"Every address works from HERE", "cannot go that way by itself", " kproxy connect HERE --via socks5://HERE\n"} {
		if !strings.Contains(stdout, part) {
			t.Errorf("there is no %q in\n%s", part, stdout)
		}
	}
	var out bytes.Buffer
	run([]string{"doctor", c.ListenAddrs()[0], "--via", "socks5://" + proxy, "--json"}, &out, io.Discard)
	if !strings.Contains(out.String(), `"from": "`+proxy+`"`) {
		t.Errorf("it does not say from where:\n%s", out.String())
	}
}

// socks is a SOCKS5 proxy without a login, to addresses of IPv4 (RFC 1928).
func socks(t *testing.T) (address string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	serve := func(c net.Conn) {
		defer func() { _ = c.Close() }()
		var hello [2]byte
		if _, err := io.ReadFull(c, hello[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, c, int64(hello[1])); err != nil {
			return
		}
		_, _ = c.Write([]byte{5, 0})
		var req [10]byte // version, CONNECT, 0, IPv4, address, port
		if _, err := io.ReadFull(c, req[:]); err != nil || req[3] != 1 {
			return
		}
		to := &net.TCPAddr{IP: net.IP(req[4:8]), Port: int(req[8])<<8 | int(req[9])}
		broker, err := new(net.Dialer).DialContext(t.Context(), "tcp", to.String())
		if err != nil {
			return
		}
		_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		go func() { // ends with the connections
			_, _ = io.Copy(broker, c)
			_ = broker.Close()
		}()
		_, _ = io.Copy(c, broker)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

func TestDoctorJSON(t *testing.T) {
	at := hidden(t, 1)[0]
	var out, errs bytes.Buffer
	code := run([]string{"doctor", at, "--json"}, &out, &errs)
	var r struct {
		Sound     bool
		From      string
		Command   string `json:"connect_command"`
		Addresses []struct {
			Node    *int32
			Steps   map[string]string
			Verdict doctor.Verdict
			Error   string
			Connect string
			Fix     *struct {
				Text, File, Docs string
				Properties, Env  []string
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || code != exitFailed {
		t.Fatalf("exit code %d, %v\n%s\n%s", code, err, out.String(), errs.String())
	}
	if r.Sound || r.From != "here" || len(r.Addresses) != 2 || r.Command != "kproxy connect "+at {
		t.Fatalf("got %+v", r)
	}
	bootstrap, node := r.Addresses[0], r.Addresses[1]
	if bootstrap.Node != nil || bootstrap.Error != "" || bootstrap.Fix != nil || bootstrap.Steps["kafka"] != "ok" {
		t.Errorf("bootstrap: %+v", bootstrap)
	}
	if node.Node == nil || *node.Node != 0 || node.Steps["name"] != "failed" || node.Verdict != doctor.NameUnknown || node.Connect != at {
		t.Errorf("node 0: %+v", node)
	}
	if f := node.Fix; f == nil || len(f.Properties) != 4 || len(f.Env) != 4 || f.File != "server.properties of node 0" || f.Docs == "" {
		t.Errorf("its fix: %+v", f)
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
		"port 1":           {[]string{"127.0.0.1:1"}, exitFailed, "no address responded as a Kafka broker"},
		"port 2":           {[]string{"127.0.0.1:2"}, exitFailed, "no address responded as a Kafka broker"},
		"no password file": {[]string{"127.0.0.1:1", "--sasl", "PLAIN", "--username", "u", "--password-file", "no-such", "--allow-plaintext"}, exitUsage, "no-such"},
		"a closed port":    {[]string{closed}, exitFailed, "no address responded as a Kafka broker"},
	} {
		if code, _, stderr := runDoctor(t, tt.args...); code != tt.code || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit code %d, want %d with %q:\n%s", name, code, tt.code, tt.want, stderr)
		}
	}
}

// A cluster that wants a login names no brokers before, and doctor lists the checks that
// were not possible.
func TestDoctorNeedsLogin(t *testing.T) {
	at := hidden(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "alice", "alice-secret"))[0]
	code, stdout, stderr := runDoctor(t, at)
	if code != exitFailed || !strings.Contains(stdout, "Not checked:") || !strings.Contains(stdout, " kproxy doctor HERE --sasl SCRAM-SHA-512 --username USER --password-file FILE\n") || !strings.Contains(stderr, "add --sasl") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
}

// The command lines that are suggested have the user's own flags, quoted, and no pipe that is
// read already.
func TestDoctorSuggestsTheUsersFlags(t *testing.T) {
	at := hidden(t, 1)[0]
	file := filepath.Join(t.TempDir(), "it's a client")
	if err := os.WriteFile(file, []byte("bootstrap.servers="+at+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stdout, stderr := runDoctor(t, "--config-from", file, "--allow-plaintext")
	want := " kproxy connect --config-from '" + strings.ReplaceAll(file, "'", `'\''`) + "' --allow-plaintext\n"
	if !strings.Contains(stdout, want) {
		t.Errorf("there is no %q in\n%s\n%s", want, stdout, stderr)
	}
	if got, want := withoutPassword("ssh://me:secret@bastion:22"), "ssh://me@bastion:22"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The fix for a port from a client's file uses the file's own keys.
func TestDoctorFileKeys(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	file := filepath.Join(t.TempDir(), "client.properties")
	if err := os.WriteFile(file, []byte("bootstrap.servers="+c.ListenAddrs()[0]+"\nsecurity.protocol=SSL\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ := runDoctor(t, "--config-from", file)
	if code != exitFailed || !strings.Contains(stdout, " # the client's file\n security.protocol=PLAINTEXT\n") || strings.Contains(stdout, "--tls") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}

// Without a terminal, progress is whole lines.
func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	p.say("trying\nwhat")
	p.tell()
	p.set(1, 3)
	p.tell()
	p.end()
	if want := regexp.MustCompile(`^kproxy: trying\\nwhat\nkproxy: 1 of 3 addresses tried, \d+\.\d s\n$`); !want.MatchString(out.String()) {
		t.Errorf("got %q", out.String())
	}
}
