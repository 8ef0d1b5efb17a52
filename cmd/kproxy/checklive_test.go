package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kfake"

	"kproxy/internal/certlab"
	"kproxy/internal/live"
	"kproxy/internal/portlab"
)

// liveFile writes a configuration before two brokers that advertise names, by dial rules to
// their addresses. more are further keys of the cluster.
func liveFile(t *testing.T, at []string, more string) (file, host string) {
	t.Helper()
	host = portlab.Host(t)
	var rules strings.Builder
	for node, address := range at {
		fmt.Fprintf(&rules, "{node: %d, to: %q}, ", node, address)
	}
	return write(t, fmt.Sprintf(`
clusters:
  orders:
    bootstrap: [%q]
    dial: [%s]
    listeners:
      edge: {bind: "%s:9092", nodes: {ports: 9100-9109}}
%s`, at[0], rules.String(), host, more)), host
}

// runLive runs check --live. Its text fits into 80 columns.
func runLive(t *testing.T, file string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(append([]string{"check", "--config", file, "--live"}, args...), &out, &errs)
	_, text, _ := strings.Cut(out.String(), "\nok  ")
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 && strings.Contains(strings.TrimSpace(line), " ") && !slices.Contains(args, "--json") {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	return code, out.String(), errs.String()
}

// The exit code is 0 without a fault, 1 with one, and 2 for the file and the flags.
func TestCheckLive(t *testing.T) {
	at := hidden(t, 2)
	file, host := liveFile(t, at, "")
	code, stdout, stderr := runLive(t, file)
	for _, part := range []string{
		"1 cluster, 1 listener\n", "bootstrap  " + host + ":9092",
		"\nok     clusters.orders: nodes 0-1 respond, each as itself\n",
		"\nnote   clusters.orders.listeners.edge: no kproxy listens at " + host + ":9092",
		"\n       fix: run the check again", "\nThere is no fault, and 1 check was not possible.\n",
	} {
		if !strings.Contains(stdout, part) {
			t.Errorf("there is no %q:\n%s", part, stdout)
		}
	}
	if code != exitDone || stderr != "" {
		t.Errorf("exit code %d, %q", code, stderr)
	}

	file, _ = liveFile(t, []string{at[0], portlab.Closed(t)}, "")
	code, stdout, stderr = runLive(t, file)
	if code != exitFailed || stderr != "kproxy: 1 fault\n" || !strings.Contains(stdout, "\nFAULT  clusters.orders.dial[1]: node 1, b1.vpc.invalid:9092, dialled at") {
		t.Errorf("exit code %d, %q\n%s", code, stderr, stdout)
	}
	code, stdout, stderr = runLive(t, file, "--json")
	var report liveReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != exitFailed || stderr != "kproxy: 1 fault\n" || report.Sound || report.Faults != 1 ||
		!slices.ContainsFunc(report.Findings, func(f live.Finding) bool { return f.Level == live.Fault && *f.Node == 1 && f.Kind == "refused" }) {
		t.Errorf("exit code %d, %v, %+v", code, err, report)
	}

	file, _ = liveFile(t, at, "    oops: 1\n")
	if code, _, stderr := runLive(t, file); code != exitUsage || !strings.Contains(stderr, "clusters.orders.oops: unknown key") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// --config-from has the login that passes through, and belongs to listeners.
func TestCheckLiveConfigFrom(t *testing.T) {
	at := hidden(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "alice", "alice-secret"))
	file, host := liveFile(t, at, "")
	folder := certlab.NewFolder(t)
	client := func(name, bootstrap, password string) string {
		return folder.Write(t, name, []byte(bootstrap+"security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=alice\nsasl.password="+password+"\n"))
	}
	for _, tt := range []struct {
		args []string
		code int
		want string // of both outputs
	}{
		{nil, exitDone, "the cluster names its brokers after a login"},
		{[]string{"--config-from", client("any", "", "alice-secret")}, exitDone, "node 0 responds as itself"},
		{[]string{"--config-from", client("own", "bootstrap.servers="+host+":9092\n", "alice-secret")}, exitDone, "node 0 responds as itself"},
		{[]string{"--config-from", client("wrong", "", "no-secret")}, exitFailed, "log in by PLAIN as \"alice\""},
		{[]string{"--config-from", client("other", "bootstrap.servers=other:9092\n", "alice-secret")}, exitUsage, "name no listener's advertised address"},
		{[]string{"--config-from", "nowhere"}, exitUsage, "no such file"},
	} {
		code, stdout, stderr := runLive(t, file, tt.args...)
		text := strings.Join(strings.Fields(stdout+stderr), " ")
		if code != tt.code || !strings.Contains(text, tt.want) || strings.Contains(text, "-secret") {
			t.Errorf("%v: exit code %d, want %d and %q\n%s", tt.args, code, tt.code, tt.want, stdout+stderr)
		}
	}
	for _, args := range [][]string{{"--json"}, {"--config-from", "x"}} {
		if _, stderr := runWith(t, exitUsage, append([]string{"check", "--config", file}, args...)...); !strings.Contains(stderr, "add --live") {
			t.Errorf("%v: %q", args, stderr)
		}
	}
}

// docs/check.md has the schema of --json, and each kind.
func TestCheckLiveSchema(t *testing.T) {
	page, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```json schema\n(.*?)```").FindSubmatch(page)
	if m == nil {
		t.Fatal("there is no schema")
	}
	type object struct {
		Properties map[string]json.RawMessage
		Required   []string
	}
	var report, finding object
	var findings struct{ Items json.RawMessage }
	if json.Unmarshal(m[1], &report) != nil || json.Unmarshal(report.Properties["findings"], &findings) != nil || json.Unmarshal(findings.Items, &finding) != nil {
		t.Fatal("the schema has another form")
	}
	for _, tt := range []struct {
		of     reflect.Type
		schema object
	}{{reflect.TypeFor[liveReport](), report}, {reflect.TypeFor[live.Finding](), finding}} {
		var all, required []string
		for field := range tt.of.Fields() {
			if !field.IsExported() {
				continue
			}
			name, optional, _ := strings.Cut(field.Tag.Get("json"), ",")
			all = append(all, name)
			if optional == "" {
				required = append(required, name)
			}
			if tt.schema.Properties[name] == nil {
				t.Errorf("%s is not in the schema", name)
			}
		}
		if len(tt.schema.Properties) != len(all) || !slices.Equal(tt.schema.Required, required) {
			t.Errorf("the schema has %d properties, required %v; want %v, required %v", len(tt.schema.Properties), tt.schema.Required, all, required)
		}
	}
	source, err := os.ReadFile("../../internal/live/finding.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`(?m)^\t\w+ +Kind += "(\w+)"`).FindAllSubmatch(source, -1)
	if len(kinds) < 10 {
		t.Errorf("%d kinds were found", len(kinds))
	}
	for _, kind := range kinds {
		if !bytes.Contains(page, fmt.Appendf(nil, "| `%s` |", kind[1])) {
			t.Errorf("docs/check.md does not have %s", kind[1])
		}
	}
}
