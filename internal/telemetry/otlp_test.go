package telemetry_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/kfakelab"
	"kproxy/internal/netlab"
	"kproxy/internal/portlab"
	"kproxy/internal/telemetry"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// counts is a franz-go hook that counts a client's requests.
type counts struct {
	connects, written, read atomic.Int64
	requests                [kmsg.MaxKey + 1]atomic.Int64
}

// OnBrokerConnect counts connections.
func (c *counts) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err == nil {
		c.connects.Add(1)
	}
}

// OnBrokerWrite counts requests, and their bytes.
func (c *counts) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, n int, _, _ time.Duration, _ error) {
	c.written.Add(int64(n))
	c.requests[key].Add(1)
}

// OnBrokerRead counts the bytes of responses.
func (c *counts) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, n int, _, _ time.Duration, _ error) {
	c.read.Add(int64(n))
}

// A collector receives the same sums as the clients have counted, by each protocol.
func TestPushedSumsAreTheClients(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(secret, []byte("# for the collector\nAuthorization: Bearer token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, way := range map[string]struct {
		start    func(*testing.T) *fakeCollector
		protocol string
	}{
		"grpc":          {func(t *testing.T) *fakeCollector { t.Helper(); return startGRPC(t) }, telemetry.GRPC},
		"grpc over TLS": {startGRPCOverTLS, telemetry.GRPC},
		"http":          {startHTTP, telemetry.HTTP},
		"https":         {startHTTPS, telemetry.HTTP},
	} {
		t.Run(name, func(t *testing.T) {
			c := way.start(t)
			conf := telemetry.OTLP{
				Endpoint: c.endpoint, Protocol: way.protocol, Interval: 50 * time.Millisecond,
				HeadersFile: secret, CA: c.ca, Insecure: c.ca == "",
			}
			if err := conf.Validate(); err != nil {
				t.Fatal(err)
			}
			p, shutdown := startProxy(t)
			tel, err := startTelemetry(t, &telemetry.Config{Version: "v1.2.3", OTLP: conf}, p.Stats, logTo(t))
			if err != nil {
				t.Fatal(err)
			}
			counted := shutdown()
			if err := tel.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			compare(t, c, counted)
		})
	}
}

// compare compares the last push with the clients' counts.
func compare(t *testing.T, c *fakeCollector, counted *counts) {
	t.Helper()
	push, authorization := c.last(t)
	if authorization != "Bearer token" {
		t.Errorf("authorization: got %q", authorization)
	}
	resource := push.GetResourceMetrics()[0].GetResource().String()
	for _, want := range []string{"kproxy", "v1.2.3", "service.instance.id"} {
		if !strings.Contains(resource, want) {
			t.Errorf("resource: %s has no %s", resource, want)
		}
	}
	bytes, requests := metric(t, push, "kproxy_bytes_total"), metric(t, push, "kproxy_requests_total")
	for what, c := range map[string][2]int64{
		"sessions opened": {sum(metric(t, push, "kproxy_sessions_opened_total"), "", ""), counted.connects.Load()},
		"sessions closed": {sum(metric(t, push, "kproxy_sessions_closed_total"), "", ""), counted.connects.Load()},
		"bytes up":        {sum(bytes, "direction", "up"), counted.written.Load()},
		"Produce":         {sum(requests, "api", "Produce"), counted.requests[0].Load()},
		"Metadata":        {sum(requests, "api", "Metadata"), counted.requests[3].Load()},
		"ApiVersions":     {sum(requests, "api", "ApiVersions"), counted.requests[18].Load()},
		"bytes down":      {sum(bytes, "direction", "down"), counted.read.Load()},
	} {
		if c[0] != c[1] || c[0] == 0 {
			t.Errorf("%s: %d were pushed, clients have counted %d", what, c[0], c[1])
		}
	}
	if metric(t, push, "go_goroutines").GetGauge() == nil {
		t.Error("the process tells nothing of itself")
	}
}

// startProxy starts a proxy and sends records through it. shutdown stops it and returns
// the client's counts.
func startProxy(t *testing.T) (p *proxy.Proxy, shutdown func() *counts) {
	t.Helper()
	var vpc, outside netlab.Network
	kfakelab.StartOn(t, 1, func(int) (net.Listener, error) {
		return vpc.ListenAs(context.Background(), "broker.vpc.invalid:9092")
	}, kfake.SeedTopics(3, "t"))
	p, err := proxy.New(&proxy.Config{
		Config: config.Config{Clusters: []config.Cluster{{
			Name: "orders", Bootstrap: []string{"broker.vpc.invalid:9092"},
			Listeners: []config.Listener{{Name: "bob", Bind: "127.0.0.1:9092", Nodes: config.Nodes{Ports: config.Range{First: 9100, Last: 9101}}}},
		}}},
		Listen: outside.Listen, Dial: vpc.Dial,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	counted := &counts{}
	client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:9092"), kgo.DefaultProduceTopic("t"), kgo.WithHooks(counted),
		kgo.Dialer(outside.Dial))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := client.ProduceSync(t.Context(), kgo.StringRecord(strings.Repeat("x", 1000))).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return p, func() *counts {
		client.Close()
		p.Shutdown(t.Context())
		return counted
	}
}

func startTelemetry(t *testing.T, conf *telemetry.Config, stats func() proxy.Snapshot, log *slog.Logger) (*telemetry.Telemetry, error) {
	t.Helper()
	loaded, err := telemetry.Load(t.Context(), conf, log)
	if err != nil {
		return nil, err
	}
	return loaded.Start(stats, func() telemetry.State { return telemetry.State{Generation: 1} })
}

func logTo(t *testing.T) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// An unreachable collector causes a log line, and delays Shutdown.
func TestCollectorIsGone(t *testing.T) {
	address := portlab.Closed(t)
	tel, err := startTelemetry(t, &telemetry.Config{OTLP: telemetry.OTLP{Endpoint: address, Insecure: true}},
		func() proxy.Snapshot { return proxy.Snapshot{} }, logTo(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := tel.Shutdown(ctx); err == nil {
		t.Error("Shutdown delivered to no collector")
	}
}

func TestBadOTLP(t *testing.T) {
	tests := []struct {
		conf telemetry.OTLP
		want string // key and fix; "": nothing is wrong
	}{
		{telemetry.OTLP{}, ""},
		{telemetry.OTLP{Endpoint: "collector:4317"}, ""},
		{telemetry.OTLP{Endpoint: "[::1]:4317", Insecure: true}, ""},
		{telemetry.OTLP{Endpoint: "https://c.example.com/otlp/v1/metrics", Protocol: telemetry.HTTP}, ""},
		{telemetry.OTLP{Endpoint: "http://c:4318", Protocol: telemetry.HTTP, Insecure: true}, ""},
		{telemetry.OTLP{Insecure: true}, "telemetry.otlp.insecure: there is no endpoint to use it with; set telemetry.otlp.endpoint, or leave this out"},
		{telemetry.OTLP{CA: "f"}, "telemetry.otlp.ca: there is no endpoint to use it with; set telemetry.otlp.endpoint, or leave this out"},
		{telemetry.OTLP{HeadersFile: "f"}, "telemetry.otlp.headers_file: there is no endpoint to use it with; set telemetry.otlp.endpoint, or leave this out"},
		{telemetry.OTLP{Endpoint: "collector"}, `telemetry.otlp.endpoint: "collector" has no port; write the collector's host:port, such as collector:4317`},
		{telemetry.OTLP{Endpoint: ":4317"}, `telemetry.otlp.endpoint: ":4317" names no host; write the collector's, such as collector:4317`},
		{telemetry.OTLP{Endpoint: "https://c:4317"}, `telemetry.otlp.endpoint: "https://c:4317" is a URL; write host:port, or set telemetry.otlp.protocol to http/protobuf`},
		{telemetry.OTLP{Endpoint: "ftp://c", Protocol: telemetry.HTTP}, `telemetry.otlp.endpoint: "ftp://c" is no URL of a collector; write one such as https://collector.example.com:4318/v1/metrics`},
		{telemetry.OTLP{Endpoint: "https://u:p@c", Protocol: telemetry.HTTP}, "telemetry.otlp.endpoint: the URL holds a password; write an Authorization header into telemetry.otlp.headers_file"},
		{telemetry.OTLP{Endpoint: "http://c:4318", Protocol: telemetry.HTTP}, "telemetry.otlp.endpoint: the URL says http, and insecure false; make them agree: http:// goes with insecure: true"},
		{telemetry.OTLP{Endpoint: "c:4317", Insecure: true, CA: "f"}, "telemetry.otlp.ca: without TLS there is no certificate to check; leave out ca, or insecure"},
	}
	for _, tt := range tests {
		got := ""
		if err := tt.conf.Validate(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", tt.conf, got, tt.want)
		}
	}
}

// Files are read at start; errors about them do not quote them.
func TestBadFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, conf := range map[string]telemetry.OTLP{
		"telemetry.otlp.headers_file: " + file + ": line 1 is no header; ":  {Endpoint: "c:1", HeadersFile: file},
		"telemetry.otlp.ca: " + file + " holds no certificate; ":            {Endpoint: "c:1", CA: file},
		"telemetry.otlp.ca: open " + file + "0: no such file or directory;": {Endpoint: "c:1", CA: file + "0"},
	} {
		_, err := telemetry.Load(t.Context(), &telemetry.Config{OTLP: conf}, logTo(t))
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Another collector gets the counts from Use on, and the one before gets the last ones.
// Counters go on: their start, and the resource, stay the same.
func TestUseAnotherCollector(t *testing.T) {
	first, second := startGRPC(t), startHTTP(t)
	secret := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(secret, []byte("Authorization: Bearer token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stats := func() proxy.Snapshot { return proxy.Snapshot{HeldBytes: 7, AcceptPauses: 3} }
	conf := telemetry.OTLP{Endpoint: first.endpoint, Insecure: true}
	tel, err := startTelemetry(t, &telemetry.Config{OTLP: conf, Started: time.Unix(1700000000, 0)}, stats, logTo(t))
	if err != nil {
		t.Fatal(err)
	}
	if same, err := tel.Prepare(t.Context(), conf); same != nil || err != nil {
		t.Errorf("without a change: got %v, %v", same, err)
	}
	if _, err := tel.Prepare(t.Context(), telemetry.OTLP{Endpoint: "c:1", HeadersFile: "/nowhere"}); err == nil || !strings.Contains(err.Error(), "telemetry.otlp.headers_file: open /nowhere") {
		t.Errorf("a missing file: got %v", err)
	}
	conf = telemetry.OTLP{Endpoint: second.endpoint, Protocol: telemetry.HTTP, Insecure: true, HeadersFile: secret}
	next, err := tel.Prepare(t.Context(), conf)
	if err != nil || next == nil {
		t.Fatalf("got %v, %v", next, err)
	}
	tel.Use(t.Context(), next)
	if err := os.WriteFile(secret, []byte("Authorization: Bearer another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if next, err = tel.Prepare(t.Context(), conf); err != nil || next == nil {
		t.Fatalf("another token: got %v, %v", next, err)
	}
	tel.Use(t.Context(), next)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	push, _ := first.last(t)
	other, _ := second.last(t)
	second.mu.Lock()
	for _, want := range []string{"Bearer token", "Bearer another"} {
		if !slices.Contains(second.headers, want) {
			t.Errorf("the new collector got %q, want %q among them", second.headers, want)
		}
	}
	second.mu.Unlock()
	if a, b := push.GetResourceMetrics()[0].GetResource().String(), other.GetResourceMetrics()[0].GetResource().String(); a != b {
		t.Errorf("the resource was %s and is %s", a, b)
	}
	for _, p := range metric(t, other, "kproxy_accept_pauses_total").GetSum().GetDataPoints() {
		if p.GetStartTimeUnixNano() != uint64(time.Unix(1700000000, 0).UnixNano()) || p.GetAsInt() != 3 {
			t.Errorf("the counter starts at %d", p.GetStartTimeUnixNano())
		}
	}
	// No push at all.
	none, err := startTelemetry(t, &telemetry.Config{OTLP: conf}, stats, logTo(t))
	if err != nil {
		t.Fatal(err)
	}
	if next, err = none.Prepare(t.Context(), telemetry.OTLP{}); err != nil || next == nil {
		t.Fatalf("no collector: got %v, %v", next, err)
	}
	none.Use(t.Context(), next)
	if err := none.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
