package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"kproxy/internal/api"
	"kproxy/internal/certlab"
	"kproxy/internal/kfakelab"
	"kproxy/internal/live"
	"kproxy/internal/portlab"
)

// runAdmin runs check --live --admin.
func runAdmin(t *testing.T, admin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = run(append([]string{"check", "--live", "--admin", admin}, args...), &out, &errs)
	_, findings, _ := strings.Cut(out.String(), "\n\n")
	for line := range strings.Lines(findings) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 && strings.Contains(strings.TrimSpace(line), " ") && !slices.Contains(args, "--json") {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	return code, out.String(), errs.String()
}

// A kproxy that runs is checked by its admin server alone: a sound listener, one whose name does not
// resolve, and one of whose addresses nothing listens at one.
func TestCheckRunning(t *testing.T) {
	host := portlab.Host(t)
	at := kfakelab.Start(t, 2, kfakelab.Real).At
	folder := certlab.NewFolder(t)
	token := folder.Write(t, "token", []byte("0123456789abcdef0123456789abcdef\n"))
	k := startServe(t, fmt.Sprintf(`
admin: {bind: "%[1]s:9400", token_file: %[3]q}
clusters:
  orders:
    bootstrap: [%[2]q]
    listeners:
      fred: {bind: "%[1]s:9092", nodes: {ports: 9100-9109}}
      alice: {bind: "%[1]s:9093", advertise: "kafka.invalid:9093", nodes: {ports: 9110-9119}}
      carol: {bind: "%[1]s:9094", advertise: "%[1]s:9094", nodes: {ports: 9120-9129, advertise_ports: 9220-9229}, deny: [10.0.0.0/8]}
`, host, at[0], token))
	k.wantOut("cluster orders, listener alice: bootstrap at kafka.invalid:9093")
	admin := host + ":9400"
	code, stdout, stderr := runAdmin(t, admin, "--token-file", token)
	for _, part := range []string{
		host + ":9400: " + k.file + ", generation 1: 1 cluster, 3 listeners ok clusters.orders: the brokers responded to kproxy",
		"ok clusters.orders.listeners.fred: " + host + ":9092 and nodes 0-1 respond as this listener",
		"FAULT clusters.orders.listeners.alice.advertise: the name server here has no address for kafka.invalid",
		"FAULT clusters.orders.listeners.carol.nodes.advertise_ports: node 1, " + host + ":9221: connection refused",
	} {
		if text := strings.Join(strings.Fields(stdout), " "); !strings.Contains(text, part) {
			t.Errorf("there is no %q:\n%s", part, stdout)
		}
	}
	if code != exitFailed || stderr != "kproxy: 3 faults\n" {
		t.Errorf("exit code %d, %q\n%s", code, stderr, stdout)
	}
	code, stdout, _ = runAdmin(t, admin, "--token-file", token, "--json")
	var report liveReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != exitFailed || report.Sound || report.Faults != 3 ||
		!slices.ContainsFunc(report.Findings, func(f live.Finding) bool {
			return f.Level == live.Fault && f.Kind == "refused" && *f.Node == 1 && f.Address == host+":9221"
		}) {
		t.Errorf("exit code %d, %v, %+v", code, err, report)
	}

	other := folder.Write(t, "other", []byte("ffffffffffffffffffffffffffffffff\n"))
	client := folder.Write(t, "client.properties", []byte("bootstrap.servers=elsewhere:9092\n"))
	old := httptest.NewServer(http.NotFoundHandler())
	defer old.Close()
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "topology") {
			_, _ = fmt.Fprint(w, `{"clusters": [{"name": "c", "listeners": [{"name": "l", "advertised": "no\u001baddress"}]}]}`)
			return
		}
		_, _ = fmt.Fprint(w, `{"settings": []}`)
	}))
	defer liar.Close()
	for _, tt := range []struct {
		name, admin string
		args        []string
		code        int
		want        string
	}{
		{"no token", admin, nil, exitFailed, "wants a token; add --token-file"},
		{"a wrong token", admin, []string{"--token-file", other}, exitFailed, "does not accept the token; --token-file must name"},
		{"no file of a token", admin, []string{"--token-file", "nowhere"}, exitUsage, "no such file"},
		{"a file of two tokens", admin, []string{"--token-file", folder.Write(t, "two", []byte("0123456789abcdef\n0123456789abcdef\n"))}, exitUsage, "two holds more than one word"},
		{"nothing listens", portlab.Closed(t), nil, exitFailed, "connection refused; see whether kproxy runs and admin.bind is this address"},
		{"an old kproxy", old.URL, nil, exitFailed, "this kproxy has no such path: it is older than this one"},
		{"another server", liar.URL, nil, exitFailed, "the advertised address of clusters.c.listeners.l"},
		{"another kproxy's client", admin, []string{"--token-file", token, "--config-from", client}, exitUsage, "name no listener's advertised address"},
		{"two sources", admin, []string{"--config", k.file}, exitUsage, "leave one of them out"},
		{"--served", admin, []string{"--served"}, exitUsage, "--served: "},
	} {
		code, stdout, stderr := runAdmin(t, tt.admin, tt.args...)
		if code != tt.code || !strings.Contains(stderr, tt.want) || strings.ContainsAny(stderr, "\x1b") || tt.code == exitFailed && stdout != "" {
			t.Errorf("%s: exit code %d, want %d with %q:\n%s%s", tt.name, code, tt.code, tt.want, stdout, stderr)
		}
	}
	for want, args := range map[string][]string{
		"add --live":            {"--admin", admin},
		"--timeout is for":      {"--live", "--timeout", "3s"},
		"or with --admin the":   {"--live"},
		"--token-file is for -": {"--config", k.file, "--token-file", token},
	} {
		if _, stderr := runWith(t, exitUsage, append([]string{"check"}, args...)...); !strings.Contains(stderr, want) {
			t.Errorf("%v: %q", args, stderr)
		}
	}
}

// A server that is no kproxy is not found sound, whatever it responds.
func TestCheckRunningOtherServers(t *testing.T) {
	const node = `{"clusters": [{"name": "c", "listeners": [{"name": "l", "advertised": "localhost:1", "nodes": [{"node": %d, "advertised": %q}]}]}]}`
	for topology, want := range map[string]string{
		`{}`:                              "responds 200, which is not kproxy's",
		`null`:                            "responds 200, which is not kproxy's",
		`{"status": "ok"}`:                "responds 200, which is not kproxy's",
		`{"clusters": null}`:              "responds 200, which is not kproxy's",
		`{"clusters": []}`:                "it has no cluster",
		`{"clusters": [{"name": "c"}]}`:   "clusters.c has no listener",
		fmt.Sprintf(node, -1, "a:1"):      "node -1, which is no broker id",
		fmt.Sprintf(node, 1, ":1"):        `":1" has no host`,
		strings.Repeat(" ", maxAPIBody+1): "responds with more than 16 MiB",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "topology") {
				_, _ = fmt.Fprint(w, topology)
				return
			}
			_, _ = fmt.Fprint(w, `{"settings": []}`)
		}))
		if code, stdout, stderr := runAdmin(t, server.URL); code != exitFailed || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%.80s: exit code %d, want %q:\n%s%s", topology, code, want, stdout, stderr)
		}
		server.Close()
	}
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, `{}`) }))
	defer empty.Close()
	for _, command := range [][]string{{"topology"}, {"connections"}, {"config", "show"}, {"reload"}} {
		if stdout, stderr := runWith(t, exitFailed, append(command, "--admin", empty.URL)...); stdout != "" || !strings.Contains(stderr, "which is not kproxy's") {
			t.Errorf("%v: %q, %q", command, stdout, stderr)
		}
	}
}

// Findings have the keys of the listener's configuration, which also says whether it refuses some
// connections. Without a configuration they have the listener's own key.
func TestRunningKeys(t *testing.T) {
	state := func(settings ...api.Setting) *runningState {
		return &runningState{
			topology: api.Topology{Clusters: []api.Cluster{{Name: "c", LastError: "as before", Up: true, Listeners: []api.Listener{{
				Name: "l", Bind: "0.0.0.0:9092", Advertised: "kafka.test:9092",
				Nodes: []api.Node{{Node: 3, Broker: "B3.test.:9092", Advertised: "kafka.test:9103"}, {Node: 4, Broker: ":0", Advertised: "kafka.test:9104"}},
			}}}}},
			config: api.Config{Settings: settings},
		}
	}
	set := func(key string, from api.From) api.Setting {
		return api.Setting{Key: "clusters.c.listeners.l." + key, From: from}
	}
	for name, tt := range map[string]struct {
		state            *runningState
		bootstrap, nodes string
		login, refuses   bool
	}{
		"no configuration": {state(), "", ".nodes", false, false},
		"defaults":         {state(set("limits.accept_rate", api.FromDefault), set("bind", api.FromFile), set("nodes.ports", api.FromFile)), ".bind", ".nodes.ports", false, false},
		"everything": {
			state(set("bind", api.FromFile), set("advertise", api.FromEnvironment), set("nodes.advertise_ports", api.FromFile), set("nodes.ports", api.FromFile), set("login.users_file", api.FromFile), set("deny", api.FromFile)),
			".advertise", ".nodes.advertise_ports", true, true,
		},
		"of another listener": {state(api.Setting{Key: "clusters.c.listeners.l2.deny", From: api.FromFile}), "", ".nodes", false, false},
	} {
		r, err := tt.state.running()
		if err != nil {
			t.Fatal(err)
		}
		const key = "clusters.c.listeners.l"
		l := r.Clusters[0].Listeners[0]
		if l.BootstrapKey != key+tt.bootstrap || l.NodesKey != key+tt.nodes || l.Login != tt.login || l.Refuses != tt.refuses {
			t.Errorf("%s: got %+v", name, l)
		}
		if c := r.Clusters[0]; c.Error != "" || len(c.Brokers) != 1 || c.Brokers[0].Host != "b3.test" || len(l.Endpoints) != 2 {
			t.Errorf("%s: got %+v", name, c)
		}
	}
}
