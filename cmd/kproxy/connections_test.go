package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/internal/api"
	"kproxy/internal/kfakelab"
	"kproxy/internal/portlab"
)

// The commands show a running kproxy with a client, and close a connection of it.
func TestTopologyAndConnections(t *testing.T) {
	host := portlab.Host(t)
	address := kfakelab.Start(t, 1, kfakelab.Hidden).At[0]
	k := startServe(t, fmt.Sprintf(`
admin: {bind: "%[1]s:9400"}
clusters:
  orders:
    bootstrap: [%[2]q]
    dial: [{node: 0, to: %[2]q}]
    listeners:
      fred: {bind: "%[1]s:9092", nodes: {ports: 9100-9101}, apis: {preset: read-only, allow: [CreateTopics]}}
`, host, address))
	k.wantOut(fmt.Sprintf("cluster orders, listener fred: bootstrap at %s:9092", host))
	k.wantOut("NODE BIND ADVERTISED DIALLED")
	k.wantOut(fmt.Sprintf("0 %[1]s:9100 %[1]s:9100 %[2]s", host, address))
	client, err := kgo.NewClient(kgo.SeedBrokers(host+":9092"), kgo.ClientID("billing"), kgo.SoftwareNameAndVersion("kproxy-test", "7"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := []string{"--admin", host + ":9400"}

	var out, errs strings.Builder
	ask := func(args ...string) string {
		t.Helper()
		out.Reset()
		errs.Reset()
		if code := run(append(args, at...), &out, &errs); code != 0 {
			t.Fatalf("kproxy %s: %d, %s", strings.Join(args, " "), code, errs.String())
		}
		return out.String()
	}
	for _, want := range []string{"cluster orders: up", "listener fred: bootstrap at " + host + ":9092", host + ":9100", address, "\n  read-only, but allows CreateTopics\n"} {
		if got := ask("topology"); !strings.Contains(got, want) {
			t.Errorf("topology has no %q:\n%s", want, got)
		}
	}
	var topology api.Topology
	if err := json.Unmarshal([]byte(ask("topology", "--json")), &topology); err != nil || topology.Clusters[0].Listeners[0].Connections != 1 {
		t.Errorf("%+v, %v", topology, err)
	}
	if got := ask("config", "show"); !strings.Contains(got, "generation 1") || !strings.Contains(got, "clusters.orders.listeners.fred.bind") || strings.Contains(got, "log.format") {
		t.Errorf("config show:\n%s", got)
	}
	if got := ask("config", "show", "--all", "--at", "log"); !strings.Contains(got, "  default  log.format") || strings.Contains(got, "clusters") {
		t.Errorf("config show --all:\n%s", got)
	}
	errs.Reset()
	if code := run(append([]string{"config", "show", "--at", "clusters.ordres"}, at...), &out, &errs); code != exitFailed || !strings.Contains(errs.String(), `has no key "clusters.ordres"; `) {
		t.Errorf("config show of a wrong key: %d, %s", code, errs.String())
	}
	if got := ask("connections", "--software", "KPROXY-test"); !strings.Contains(got, "billing, kproxy-test 7, since") || !strings.Contains(got, "1 connection\n") {
		t.Errorf("connections:\n%s", got)
	}
	if got := ask("connections", "--node", "5"); got != "  ID  CLIENT  LISTENER  NODE  IDLE  BYTES  FLIGHT  WHO\n0 connections\n" {
		t.Errorf("connections of another node:\n%s", got)
	}
	if got := ask("connections", "--node", "bootstrap", "--cluster", "orders"); !strings.Contains(got, "billing") {
		t.Errorf("connections of the bootstrap endpoint:\n%s", got)
	}
	if got := ask("connections", "--node", "0"); !strings.Contains(got, "0 connections") {
		t.Errorf("connections of node 0:\n%s", got)
	}
	for _, c := range []struct {
		flag, value, want string
		code              int
	}{
		{"--cluster", "nope", `--cluster: there is no cluster "nope"; there is orders`, exitFailed},
		{"--listener", "Fred", `--listener: there is no listener "Fred"; there is fred`, exitFailed},
		{"--node", "-1", `--node: "-1" is no id of a node; write a number, or bootstrap`, exitUsage},
	} {
		errs.Reset()
		if code := run(append([]string{"connections", c.flag, c.value}, at...), &out, &errs); code != c.code || !strings.Contains(errs.String(), c.want) {
			t.Errorf("connections %s %s: %d, %s", c.flag, c.value, code, errs.String())
		}
	}
	var list api.Connections
	if err := json.Unmarshal([]byte(ask("connections", "--json", "--sort", "-bytes")), &list); err != nil || list.Total != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	id := strconv.FormatUint(list.Connections[0].ID, 10)
	if got := ask("connections", "close", id); got != "connection "+id+" ends once its responses in flight are delivered\n" {
		t.Errorf("close:\n%s", got)
	}
	k.wantLog("reason=disconnected")

	var log api.Events
	var level api.LogLevel
	for path, into := range map[string]any{"/events?reason=disconnected": &log, "/log-level": &level} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+":9400"+api.Prefix+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(into)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(log.Events) != 1 || log.Events[0].Attributes["client_id"] != "billing" || level.Level != "debug" && level.Level != "info" {
		t.Errorf("events %+v, level %+v", log, level)
	}

	for args, want := range map[string]string{
		"connections close " + id:      "no connection with this id",
		"connections close":            "wants the id of one connection",
		"connections close x":          "is no id",
		"connections --sort size":      "write one of bytes, id, idle",
		"connections --limit 0":        "--limit: it must be from 1",
		"topology --token-file /never": "--token-file",
	} {
		errs.Reset()
		code := run(append(strings.Fields(args), at...), &out, &errs)
		if code == 0 || !strings.Contains(errs.String(), want) {
			t.Errorf("kproxy %s: %d, %s, want %q", args, code, errs.String(), want)
		}
	}
}
