package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"

	"kproxy/internal/connect"
	"kproxy/internal/kfakelab"
	"kproxy/internal/portlab"
)

// hidden starts a fake cluster whose brokers advertise names that do not resolve.
// addresses are their real addresses, by node.
func hidden(t *testing.T, n int, opts ...kfake.Opt) (addresses []string) {
	t.Helper()
	return kfakelab.Start(t, n, kfakelab.Hidden, append(opts, kfake.SeedTopics(3, "t"))...).At
}

// connected is the result of a run of connect.
type connected struct {
	code           int
	stdout, stderr string
	bootstrap      string            // that the command was given
	brokers        map[string]string // node -> the address here, of the printed table
	because        map[string]string // node -> the dialled address, and why
}

// runConnect runs connect with a command that notes its arguments and environment.
func runConnect(t *testing.T, args ...string) connected {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args = append([]string{"connect"}, args...)
	if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--exec") }) {
		args = append(args, "--exec", "echo bootstrap $KAFKA_BOOTSTRAP_SERVERS")
	}
	c := connected{code: run(args, &stdout, &stderr), brokers: map[string]string{}, because: map[string]string{}}
	c.stdout, c.stderr = stdout.String(), stderr.String()
	if _, rest, ok := strings.Cut(c.stdout, "bootstrap "); ok {
		c.bootstrap = strings.TrimSpace(rest)
	}
	for _, m := range regexp.MustCompile(`(?m)^  (\d+) +((?:localhost|127\.\S+):\d+)  +(\S+(?: \S+)*)  +(\S+(?: \S+)*)(?:  |$)`).FindAllStringSubmatch(c.stderr, -1) {
		c.brokers[m[1]], c.because[m[1]] = m[2], m[3]+" "+m[4]
	}
	return c
}

func (c connected) says(t *testing.T, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(c.stderr, part) {
			t.Errorf("stderr does not say %q:\n%s", part, c.stderr)
		}
	}
}

// The story: one broker, whose name does not resolve, and the address that the user has.
func TestConnectOneBroker(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	at := hidden(t, 1)[0]
	c := runConnect(t, at)
	if c.code != exitDone || c.bootstrap == "" {
		t.Fatalf("exit code %d\n%s", c.code, c.stderr)
	}
	if want := at + " it responds there"; c.because["0"] != want {
		t.Errorf("node 0: %q, want %q", c.because["0"], want)
	}
	if strings.Contains(c.stderr, "bootstrap.servers=") {
		t.Errorf("--exec prints configurations:\n%s", c.stderr)
	}
}

// Configurations are not printed if there is a command of --exec.
func TestConfigurationsArePrinted(t *testing.T) {
	for _, want := range []bool{true, false} {
		var out, problems bytes.Buffer
		tellClients(&connect.Session{Cluster: &connect.Cluster{}}, &out, &problems, want)
		if got := strings.Contains(out.String(), "# Java (client.properties)\nbootstrap.servers="); got != want {
			t.Errorf("got %s, want %v", out.String(), want)
		}
	}
}

// Addresses are separated by commas, blanks or both.
func TestSplitAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"a:1": "a:1", "a:1 b:2": "a:1|b:2", "a:1,b:2": "a:1|b:2", "a:1, b:2": "a:1|b:2", "a:1 , b:2,c:3 d:4": "a:1|b:2|c:3|d:4", " a:1 ": "a:1", "": "",
	} {
		for _, args := range [][]string{{text}, strings.Fields(text)} {
			if got, err := splitAddresses(args); err != nil || strings.Join(got, "|") != want {
				t.Errorf("%q: got %q, %v; want %q", args, got, err, want)
			}
		}
	}
	for _, text := range []string{"a:1,,b:2", "a:1, ,b:2", ",a:1", "a:1,", ","} {
		if got, err := splitAddresses([]string{text}); err == nil {
			t.Errorf("%q: got %q", text, got)
		}
	}
}

// Three brokers at three addresses: each is found, whatever the order.
func TestConnectFindsWhoIsWhere(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	at := hidden(t, 3)
	c := runConnect(t, at[2]+", "+at[0], at[1])
	for node, address := range at {
		if want := address + " it responds there"; c.because[fmt.Sprint(node)] != want {
			t.Errorf("node %d: %q, want %q", node, c.because[fmt.Sprint(node)], want)
		}
	}
	if c.code != exitDone || strings.Contains(c.stderr, "cannot be reached") {
		t.Errorf("exit code %d\n%s", c.code, c.stderr)
	}
}

// A broker that is not at an address of the user's is dialled nowhere else, and reported
// with the remedy: --node or --dial.
func TestConnectUnreachable(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	at := hidden(t, 3)
	c := runConnect(t, at[1])
	if c.because["1"] != at[1]+" it responds there" || c.because["0"] != "- cannot be reached" {
		t.Errorf("got %v", c.because)
	}
	c.says(t, "node 0 cannot be reached", "b0.vpc.invalid; if it is elsewhere from here, add --node 0=HOST:PORT", "node 2 cannot be reached")

	c = runConnect(t, at[1], "--node", "0="+at[0], "--dial", "b2.*:9092="+at[2])
	if c.because["0"] != at[0]+" --node" || c.because["2"] != "by --dial --dial" || strings.Contains(c.stderr, "cannot be reached") {
		t.Errorf("got %v\n%s", c.because, c.stderr)
	}
}

// Where describing a configuration is denied, brokers are distinguished by ApiVersions v5,
// if they know it, and otherwise not at all: no broker is taken for another.
func TestConnectWithoutRights(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	older := kversion.Stable()
	older.SetMaxKeyVersion(18, 4)
	for name, tt := range map[string]struct {
		opts []kfake.Opt
		want func(at string) string
	}{
		"v5":    {nil, func(at string) string { return at + " it responds there" }},
		"older": {[]kfake.Opt{kfake.MaxVersions(older)}, func(string) string { return "- cannot be reached" }},
	} {
		at := hidden(t, 2, append(tt.opts, kfake.EnableACLs(), kfake.ClusterID(name))...)
		c := runConnect(t, at[1], at[0])
		for node := range at {
			if got, want := c.because[fmt.Sprint(node)], tt.want(at[node]); got != want {
				t.Errorf("%s: node %d: %q, want %q", name, node, got, want)
			}
		}
	}
}

// Ports are the same in every run, and another cluster has other ports, also while these
// are not in use.
func TestConnectKeepsPorts(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_STATE_HOME", dir)
	host := portlab.Host(t)
	one := append(hidden(t, 1, kfake.ClusterID("one")), "--listen", host)
	other := append(hidden(t, 2, kfake.ClusterID("other")), "--listen", host)
	first := runConnect(t, one...)
	second := runConnect(t, other...)
	again := runConnect(t, one...)
	if first.bootstrap == "" || again.bootstrap != first.bootstrap || again.brokers["0"] != first.brokers["0"] || second.bootstrap == first.bootstrap {
		t.Errorf("%q, %q, and again %q", first.bootstrap, second.bootstrap, again.bootstrap)
	}
	// The first run's ports are taken: others are used, and the first ones kept.
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", first.bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	third := runConnect(t, one...)
	taken.Close()
	third.says(t, "the ports that this cluster had are taken")
	if third.bootstrap == first.bootstrap {
		t.Error("a port that is taken was used")
	}
	if got := runConnect(t, one...).bootstrap; got != first.bootstrap {
		t.Errorf("%q, want %q again", got, first.bootstrap)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "kproxy", "connect", "*.json"))
	if len(files) != 2 {
		t.Errorf("files: %v", files)
	}
	for _, file := range files { // a broken file is not remembered
		if err := os.WriteFile(file, []byte(`{"base":-1}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if c := runConnect(t, one...); c.code != exitDone {
		t.Errorf("exit code %d\n%s", c.code, c.stderr)
	}
	var ports struct{ Base int }
	if b, err := os.ReadFile(files[0]); err != nil || json.Unmarshal(b, &ports) != nil {
		t.Error(err)
	}
}

// The command's exit code is kproxy's, and its output is not mixed with kproxy's.
func TestConnectExec(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	at := hidden(t, 1)[0]
	for command, want := range map[string]int{"exit 7": 7, "true": 0, "kill -9 $$": 137} {
		if c := runConnect(t, at, "--exec="+command); c.code != want || c.stdout != "" {
			t.Errorf("%s: exit code %d, want %d; stdout %q\n%s", command, c.code, want, c.stdout, c.stderr)
		}
	}
}

func TestConnectUsage(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"", "no address"},
		{"host", "has no port"},
		{"h:1,host", "has no port"},
		{"h:1,,h:2", "a comma without an address beside it"},
		{"u:hunter2@h:1,", "a comma without an address beside it"},
		{":9092", "names no host"},
		{"h:1 --node x", "--node 0=127.0.0.1:9092"},
		{"h:1 --node 0=a:1 --node 0=b:1", "node 0 is there twice"},
		{"h:1 --dial x", "MATCH=HOST:PORT"},
		{"h:1 --username u", "add --sasl"},
		{"h:1 --sasl KERBEROS", "no mechanism that kproxy knows"},
		{"h:1 --listen 0.0.0.0", "--advertise"},
		{"h:1 --via gopher://x", "kproxy: --via: there is no scheme"},
		{"h:1 --via ssh://me@h --via-key-file /no/such/file", "kproxy: --via-key-file: "},
		{"h:1 --cert c.pem", "kproxy: --cert: "},
		{"h:1 --node 0=x:1 --dial y=x:1 --dial z", "MATCH=HOST:PORT"},
		{"h:1 --dial y=x:1", "kproxy: --dial or --node: "},
		{"h:1 --sasl PLAIN", "kproxy: --username: missing"},
		{"h:1 --port 65535", "kproxy: --port: "},
		{"127.0.0.1:1 --ca /no/such/file", "kproxy: --ca: "},
		{"127.0.0.1:2 --sasl PLAIN --username u --password-file /no/such/file --allow-plaintext", "kproxy: --password-file"},
		{"h:1 --config-from /no/such/file", "no such file"},
		{"u:hunter2@h:1", "a user in front of its host"},
		{"SASL_SSL://u:hunter2@h:1", "a user in front of its host"},
		{"h:1 --node 0=u:hunter2@h:1", "--node 0=127.0.0.1:9092"},
		{"h:1 --dial u:hunter2@h:1", "MATCH=HOST:PORT"},
		{"h:1 --dial y=u:hunter2@h", "kproxy: --dial or --node: "},
		{"h:1 --via http://u:hunter2@h", "via_password_file"},
		{"h:1 --via u:hunter2@h:1", "there is no scheme"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(append([]string{"connect"}, strings.Fields(tt.args)...), &stdout, &stderr)
		if code != exitUsage || !strings.Contains(stderr.String(), tt.want) || strings.Contains(stderr.String(), "hunter2") {
			t.Errorf("connect %s: exit code %d, %q; want %d and %q", tt.args, code, stderr.String(), exitUsage, tt.want)
		}
	}
}

// An address without a response ends connect, with advice.
func TestConnectNobodyThere(t *testing.T) {
	address := portlab.Closed(t)
	c := runConnect(t, address, "nobody.vpc.invalid:9092")
	if c.code != exitFailed {
		t.Errorf("exit code %d", c.code)
	}
	c.says(t, address+": ", "connection refused", "see whether the broker runs", "the name does not resolve here")
	for _, address := range []string{"127.0.0.1:1", "127.0.0.1:2"} { // the placeholder ports
		c := runConnect(t, address)
		if c.says(t, address+": connection refused"); c.code != exitFailed {
			t.Errorf("%s: exit code %d", address, c.code)
		}
	}
}

// Runs that start at once do not take each other's ports.
func TestConnectAtOnce(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	var all sync.WaitGroup
	for i := range 6 {
		at := hidden(t, 1, kfake.ClusterID(fmt.Sprint("at-once-", i)))[0]
		all.Go(func() {
			if c := runConnect(t, at, "--exec=exit 3"); c.code != 3 {
				t.Errorf("exit code %d\n%s", c.code, c.stderr)
			}
		})
	}
	all.Wait()
}
