package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/internal/admin"
	"kproxy/internal/kfakelab"
	"kproxy/internal/portlab"
	"kproxy/internal/telemetry"
	"kproxy/proxy/config"
)

func TestOperationsKeys(t *testing.T) {
	t.Setenv("KPROXY_TELEMETRY_OTLP_INSECURE", "true")
	s, err := load(t, oneListener+`
drain: {delay: 15s}
admin: {bind: "127.0.0.1:9400", hosts: [kproxy.example.com], token_file: t, tls: {cert: c, key: k}, pprof: true, ready: all}
telemetry: {otlp: {endpoint: "http://c:4318/x", protocol: http/protobuf, headers_file: h, interval: 10s}}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := telemetry.OTLP{Endpoint: "http://c:4318/x", Protocol: telemetry.HTTP, HeadersFile: "h", Insecure: true, Interval: 10 * time.Second}
	if s.OTLP != want {
		t.Errorf("otlp: got %+v, want %+v", s.OTLP, want)
	}
	wantAdmin := admin.Config{Bind: "127.0.0.1:9400", Hosts: []string{"kproxy.example.com"}, TokenFile: "t", Cert: "c", Key: "k", Pprof: true, WatchInterval: config.DefaultWatchInterval}
	if !reflect.DeepEqual(s.Admin, wantAdmin) {
		t.Errorf("admin: got %+v, want %+v", s.Admin, wantAdmin)
	}
	if s.DrainDelay != 15*time.Second || s.Proxy.AdminBind != "127.0.0.1:9400" || !s.AllReady {
		t.Errorf("got delay %v, admin at %q, all %t", s.DrainDelay, s.Proxy.AdminBind, s.AllReady)
	}
}

// A broker cannot send clients to kproxy's own admin server.
func TestBrokerThatIsTheAdminServer(t *testing.T) {
	host := portlab.Host(t)
	address := kfakelab.Start(t, 1, kfakelab.All(host+":9400")).At[0]
	k := startServe(t, fmt.Sprintf(`
admin: {bind: "%[1]s:9400"}
clusters:
  orders:
    bootstrap: [%[2]q]
    listeners:
      fred: {bind: "%[1]s:9092", nodes: {ports: 9100-9101}}
`, host, address))
	k.wantOut(fmt.Sprintf("cluster orders, listener fred: bootstrap at %s:9092", host))
	k.wantOut("NODE BIND ADVERTISED DIALLED")
	k.wantOut(fmt.Sprintf("0 %[1]s:9100 %[1]s:9100 %[1]s:9400", host))
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", host+":9100")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// ApiVersions v0, correlation id 7, client id "test".
	if _, err := io.WriteString(client, "\x00\x00\x00\x0e"+"\x00\x12\x00\x00\x00\x00\x00\x07\x00\x04test"); err != nil {
		t.Fatal(err)
	}
	k.wantLog("reason=loop")
}

// If left out, there is no admin server, no push, and no wait.
func TestOperationsDefaults(t *testing.T) {
	s, err := load(t, oneListener)
	if err != nil {
		t.Fatal(err)
	}
	if want := (telemetry.OTLP{Protocol: telemetry.GRPC, Interval: telemetry.DefaultInterval}); s.OTLP != want {
		t.Errorf("otlp: got %+v, want %+v", s.OTLP, want)
	}
	if s.DrainDelay != 0 || s.Proxy.AdminBind != "" || s.AllReady {
		t.Errorf("got delay %v, admin at %q, all %t", s.DrainDelay, s.Proxy.AdminBind, s.AllReady)
	}
}

func TestBadOperationsKeys(t *testing.T) {
	tests := []struct{ keys, want string }{
		{"admin: {bind: 127.0.0.1:9092}", "admin.bind: 127.0.0.1:9092 is bound already by clusters.orders.listeners.fred.bind; move one of them to another port or address"},
		{`admin: {bind: ":9150"}`, "admin.bind: :9150 is bound already by clusters.orders.listeners.fred.nodes.ports, as 127.0.0.1:9150; move one of them to another port or address"},
		{"admin: {bind: localhost}", `admin.bind: "localhost" has no port; add one, such as localhost:9092`},
		{"admin: {bind: 127.0.0.1:9400, ready: some}", `admin.ready: "some" is not one of any, all; the default is any`},
		{"admin: {hosts: [a]}", "admin.hosts: there is no admin server to use it; set admin.bind, or leave this out"},
		{`admin: {bind: 127.0.0.1:9400, hosts: ["a:9400"]}`, `admin.hosts[0]: "a:9400" is not a host name; write the name alone, such as kproxy.example.com, without scheme and port`},
		{`admin: {bind: 127.0.0.1:9400, hosts: [a, "*"]}`, `admin.hosts[1]: "*" is not a host name; write the name alone, such as kproxy.example.com, without scheme and port`},
		{`admin: {bind: 127.0.0.1:9400, hosts: [""]}`, `admin.hosts[0]: "" is not a host name; write the name alone, such as kproxy.example.com, without scheme and port`},
		{"admin: {token_file: t}", "admin.token_file: there is no admin server to use it; set admin.bind, or leave this out"},
		{"admin: {bind: 127.0.0.1:9400, tls: {cert: c}}", "admin.tls.key: missing; name the file of the private key that tls.cert belongs to"},
		{"admin: {bind: \":9400\", pprof: true}", "admin.pprof: any client that reaches :9400 could have kproxy profiled; set admin.token_file, or bind a loopback address"},
		{"drain: {delay: -1s}", `drain.delay: "-1s" is too little; write 0s or more`},
		{"telemetry: {otlp: {endpoint: c:4317, insecure: perhaps}}", `telemetry.otlp.insecure: "perhaps" is not true or false; write one such as true`},
		{"telemetry: {otlp: {endpoint: c:4317, interval: 1ms}}", `telemetry.otlp.interval: "1ms" is too little; write 1s or more, or leave the key out for 30s`},
		{"telemetry: {otlp: {endpoint: c:4317, protocol: http}}", `telemetry.otlp.protocol: "http" is not one of grpc, http/protobuf; the default is grpc`},
		{"telemetry: {otlp: {endpoint: c}}", `telemetry.otlp.endpoint: "c" has no port; write the collector's host:port, such as collector:4317`},
		{"telemetry: {traces: {}}", "telemetry.traces: unknown key; known here: otlp"},
	}
	for _, tt := range tests {
		file := write(t, oneListener+tt.keys+"\n")
		_, err := loadConfig(file)
		if err == nil {
			t.Errorf("%s: got no error", tt.keys)
			continue
		}
		if got := withoutPlaces(file, err); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.keys, got, tt.want)
		}
	}
}

// serveWithAdmin starts serve in front of a fake cluster, with these keys too.
func serveWithAdmin(t *testing.T, keys string) (k *running, bootstrap, admin string) {
	t.Helper()
	brokers, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(brokers.Close)
	host := portlab.Host(t)
	bootstrap, admin = host+":9092", host+":9400"
	k = startServe(t, fmt.Sprintf(`
clusters:
  orders:
    bootstrap: [%q]
    listeners:
      fred: {bind: %q, nodes: {ports: 9100}}
admin: {bind: %q}
%s`, brokers.ListenAddrs()[0], bootstrap, admin, keys))
	return k, bootstrap, admin
}

// During drain.delay kproxy says that it is not ready, and still serves every client. A
// signal ends the delay.
func TestServeDrainDelay(t *testing.T) {
	k, bootstrap, admin := serveWithAdmin(t, "drain: {delay: 10m}\n")
	k.wantLog("serving")
	produce(t, bootstrap)
	if status, body := get(t, admin, "/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d %s", status, body)
	}
	k.signal(syscall.SIGTERM)
	k.wantLog("stopping soon")
	status, body := get(t, admin, "/readyz")
	var ready struct{ Reasons []string }
	if err := json.Unmarshal([]byte(body), &ready); err != nil || status != http.StatusServiceUnavailable ||
		len(ready.Reasons) != 1 || ready.Reasons[0] != "kproxy is stopping" {
		t.Errorf("/readyz during the delay: %d %s", status, body)
	}
	if status, body := get(t, admin, "/livez"); status != http.StatusOK {
		t.Errorf("/livez during the delay: %d %s", status, body)
	}
	produce(t, bootstrap)
	k.signal(syscall.SIGTERM)
	k.wantLog("stopping: no new connections")
	if err := <-k.done; err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

// The delay ends by itself.
func TestServeDrainDelayEnds(t *testing.T) {
	k, _, admin := serveWithAdmin(t, "drain: {delay: 50ms}\n")
	k.wantLog("serving")
	k.signal(syscall.SIGTERM)
	k.wantLog("stopping: no new connections")
	if err := <-k.done; err != nil {
		t.Errorf("serve ended with %v", err)
	}
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", admin); err == nil {
		conn.Close()
		t.Error("the admin server has outlived serve")
	}
}

// A client's requests are in /metrics, with the runtime's own metrics.
func TestServeMetrics(t *testing.T) {
	k, bootstrap, admin := serveWithAdmin(t, "")
	k.wantLog("serving")
	produce(t, bootstrap)
	_, body := get(t, admin, "/metrics")
	for _, want := range []string{
		`kproxy_requests_total{api="Produce",cluster="orders",listener="fred",version="`,
		`kproxy_cluster_up{cluster="orders"} 1`,
		`service_name="kproxy"`, `service_version="` + buildVersion().Version + `"`,
		"go_goroutines ", "process_open_fds ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
}

// The status page has the cluster, and the API the samples.
func TestServePage(t *testing.T) {
	k, bootstrap, admin := serveWithAdmin(t, "")
	k.wantLog("serving")
	produce(t, bootstrap)
	_, body := get(t, admin, "/")
	for _, want := range []string{"Cluster orders", "configuration generation 1", "version " + buildVersion().Version, bootstrap, "clients bootstrap from"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %q:\n%s", want, body)
		}
	}
	if status, body := get(t, admin, "/api/v1/recent"); status != http.StatusOK || !strings.Contains(body, `"times":[]`) {
		t.Errorf("/api/v1/recent: %d %s", status, body)
	}
}

// An admin address that is taken ends serve, with advice.
func TestServeAdminAddressTaken(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	k := startServe(t, oneListener+fmt.Sprintf("admin: {bind: %q}\n", taken.Addr()))
	err = <-k.done
	if err == nil || !strings.Contains(err.Error(), "admin.bind: bind "+taken.Addr().String()) ||
		!strings.Contains(err.Error(), "stop the process that listens there") {
		t.Errorf("serve ended with %v", err)
	}
}

// A file that is missing is a mistake in the configuration.
func TestServeOTLPFileMissing(t *testing.T) {
	k := startServe(t, oneListener+"telemetry: {otlp: {endpoint: c:4317, ca: /nowhere}}\n")
	if err := <-k.done; err == nil || !strings.Contains(err.Error(), "telemetry.otlp.ca: open /nowhere") {
		t.Errorf("serve ended with %v", err)
	}
}

// produce sends one record.
func produce(t *testing.T, bootstrap string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := client.ProduceSync(ctx, kgo.StringRecord("r")).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, address, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
