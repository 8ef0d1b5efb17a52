package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"kproxy/proxy/config"
)

// oneListener is a cluster with a listener, to which a test adds a single mistake.
const oneListener = `
clusters:
  orders:
    bootstrap: [b0.internal:9092]
    listeners:
      fred: {bind: 127.0.0.1:9092, nodes: {ports: 9100-9199}}
`

func TestLoadConfig(t *testing.T) {
	node := int32(7)
	password := write(t, "secret")
	hosts := write(t, "bastion.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVq3u1mHxH4zRjP8eQ2Dq3t5N6s2Ykq3cJ0yq2lDk0H\n")
	s, err := load(t, strings.NewReplacer("VIAFILE", password, "VIAHOSTS", hosts).Replace(`
clusters:
  orders:
    bootstrap: [b0.internal:9092, b1.internal:9092]
    unknown_apis: pass
    dial:
      - {node: 7, to: "10.0.0.7:9092"}
      - {match: "b*.internal:9092", to: "127.0.0.1:{19092+node}"}
    connect_timeout: 3s
    keepalive: 2m
    brokers: ["*.internal:9092"]
    forget_after: 24h
    via: ssh://kafka@bastion.example.com
    via_password_file: VIAFILE
    via_known_hosts: VIAHOSTS
    source: [10.0.0.8, 10.0.0.9]
    tls: {ca: ca.pem, cert: c.pem, key: k.pem, server_name: kafka.internal, min_version: "1.3"}
    sasl: {mechanism: SCRAM-SHA-512, username: u, password_file: p, allow_plaintext: true}
    listeners:
      fred: {bind: 127.0.0.1:9092, advertise: localhost:9092, tls: {certs: [{cert: e.pem, key: e.key}], client_ca: c.pem, client_auth: requested, subjects: ["CN=a"], ticket_keys: [t1, t2]}, nodes: {ports: 9100-9199, advertise_ports: 9200-9299, first_node: 1, pin: {1001: 9150}}, allow: [10.0.0.0/8], deny: [10.66.0.0/16, 10.0.0.7], login: {mechanisms: [SCRAM-SHA-512, PLAIN], users_file: users}, apis: {preset: read-only, allow: [CreateTopics], deny: [DescribeAcls]}, proxy_protocol: {from: [10.0.0.1], mode: optional}, limits: {max_connections: 50, max_per_source: 10, accept_rate: 5}}
      many: {bind: 127.0.0.2:9092, nodes: {addresses: "127.0.1.{slot}:9092", advertise_addresses: "b{slot}.example.com:9092", slots: 7}}
  audit:
    bootstrap: a0.internal:9092, a1.internal:9092
    sasl:
      mechanism: OAUTHBEARER
      oauth: {token_url: "https://login.internal/token", client_id: kproxy, client_secret_file: s, scope: kafka, extensions: {logicalCluster: lkc-1}}
    listeners:
      x: {bind: 127.0.0.3:9092, nodes: {sni: "b{node}.{cluster}.example.com:443"}, unknown_sni: bootstrap, tls: {certs: [{cert: e.pem, key: e.key}]}}
state_dir: /var/lib/kproxy
limits: {max_connections: 100, max_request_bytes: 2048, max_request_bytes_before_login: 1024, first_request_timeout: 1s, handshake_timeout: 2s, max_handshakes: 7, idle_timeout: 10m, max_age: 1h, max_age_jitter: 0.25}
drain: {timeout: 1m}
log: {level: debug, format: json}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		StateDir:        "/var/lib/kproxy",
		MaxRequestBytes: 2048, MaxRequestBytesBeforeLogin: 1024, FirstRequestTimeout: time.Second, DrainTimeout: time.Minute,
		HandshakeTimeout: 2 * time.Second, MaxHandshakes: 7,
		MaxConnections: 100, IdleTimeout: 10 * time.Minute, MaxAge: time.Hour, MaxAgeJitter: 0.25,
		Clusters: []config.Cluster{ // by name
			{
				Name: "audit", Bootstrap: []string{"a0.internal:9092", "a1.internal:9092"}, UnknownAPIs: config.HideUnknownAPIs,
				ConnectTimeout: config.DefaultConnectTimeout, Keepalive: config.DefaultKeepalive,
				ForgetAfter: config.DefaultForgetAfter,
				SASL: &config.SASL{Mechanism: "OAUTHBEARER", OAuth: config.OAuth{
					TokenURL: "https://login.internal/token", ClientID: "kproxy", ClientSecret: config.Secret{File: "s"}, Scope: "kafka",
					Extensions: map[string]string{"logicalCluster": "lkc-1"},
				}},
				Listeners: []config.Listener{{Name: "x", Bind: "127.0.0.3:9092", Nodes: config.Nodes{SNI: "b{node}.{cluster}.example.com:443", Pin: map[int32]int{}}, UnknownSNI: config.SNIBootstrap, TLS: &config.ListenerTLS{Certs: []config.KeyPair{{Cert: "e.pem", Key: "e.key"}}, MinVersion: "1.2"}, ProxyProtocol: config.LoadBalancers{Mode: config.HeaderRequired}}},
			},
			{
				Name: "orders", Bootstrap: []string{"b0.internal:9092", "b1.internal:9092"}, UnknownAPIs: config.PassUnknownAPIs,
				Dial:           []config.DialRule{{Node: &node, To: "10.0.0.7:9092"}, {Match: "b*.internal:9092", To: "127.0.0.1:{19092+node}"}},
				ConnectTimeout: 3 * time.Second, Keepalive: 2 * time.Minute,
				Brokers: []string{"*.internal:9092"}, ForgetAfter: 24 * time.Hour,
				Via:    config.Via{URL: "ssh://kafka@bastion.example.com", PasswordFile: password, KnownHosts: hosts},
				Source: []string{"10.0.0.8", "10.0.0.9"},
				TLS:    &config.UpstreamTLS{CA: "ca.pem", Cert: "c.pem", Key: "k.pem", ServerName: "kafka.internal", MinVersion: "1.3"},
				SASL:   &config.SASL{Mechanism: "SCRAM-SHA-512", Username: "u", Password: config.Secret{File: "p"}, AllowPlaintext: true},
				Listeners: []config.Listener{
					{
						Name: "fred", Bind: "127.0.0.1:9092", Advertise: "localhost:9092", UnknownSNI: config.SNIRefuse,
						Nodes:         config.Nodes{Ports: config.Range{First: 9100, Last: 9199}, AdvertisePorts: config.Range{First: 9200, Last: 9299}, FirstNode: 1, Pin: map[int32]int{1001: 9150}},
						TLS:           &config.ListenerTLS{Certs: []config.KeyPair{{Cert: "e.pem", Key: "e.key"}}, ClientCA: "c.pem", ClientAuth: "requested", Subjects: []string{"CN=a"}, MinVersion: "1.2", TicketKeys: []string{"t1", "t2"}},
						Allow:         []string{"10.0.0.0/8"},
						Deny:          []string{"10.66.0.0/16", "10.0.0.7"},
						APIs:          config.APIs{Preset: config.ReadOnly, Allow: []string{"CreateTopics"}, Deny: []string{"DescribeAcls"}},
						Login:         &config.Login{Mechanisms: []string{"SCRAM-SHA-512", "PLAIN"}, UsersFile: "users"},
						ProxyProtocol: config.LoadBalancers{From: []string{"10.0.0.1"}, Mode: config.HeaderOptional},
						Limits:        config.ListenerLimits{MaxConnections: 50, MaxPerSource: 10, AcceptRate: 5},
					},
					{
						Name: "many", Bind: "127.0.0.2:9092", UnknownSNI: config.SNIRefuse,
						Nodes:         config.Nodes{Addresses: "127.0.1.{slot}:9092", AdvertiseAddresses: "b{slot}.example.com:9092", Slots: config.Range{First: 7, Last: 7}, Pin: map[int32]int{}},
						ProxyProtocol: config.LoadBalancers{Mode: config.HeaderRequired},
					},
				},
			},
		},
	}
	if s.Proxy.Parts.AWS == nil || s.Proxy.Parts.SSH == nil {
		t.Errorf("a part is missing: %+v", s.Proxy.Parts)
	}
	s.Proxy.Parts = config.Parts{} // functions are not equal
	if !reflect.DeepEqual(s.Proxy.Config, want) {
		t.Errorf("got  %+v\nwant %+v", s.Proxy.Config, want)
	}
	if want := (logKeys{Level: "debug", Format: "json"}); s.Log != want {
		t.Errorf("log: got %+v, want %+v", s.Log, want)
	}
}

// The defaults that the file documents are those that the proxy has.
func TestDefaults(t *testing.T) {
	s, err := load(t, oneListener)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Proxy.MaxRequestBytes, config.DefaultMaxRequestBytes; got != want {
		t.Errorf("max_request_bytes: got %d, want %d", got, want)
	}
	if got, want := s.Proxy.MaxAgeJitter, 0.1; got != want {
		t.Errorf("max_age_jitter: got %v, want %v", got, want)
	}
	for key, d := range map[string][2]time.Duration{
		"first_request_timeout": {s.Proxy.FirstRequestTimeout, config.DefaultFirstRequestTimeout},
		"drain.timeout":         {s.Proxy.DrainTimeout, config.DefaultDrainTimeout},
		"connect_timeout":       {s.Proxy.Clusters[0].ConnectTimeout, config.DefaultConnectTimeout},
		"keepalive":             {s.Proxy.Clusters[0].Keepalive, config.DefaultKeepalive},
	} {
		if d[0] != d[1] {
			t.Errorf("%s: got %s, want %s", key, d[0], d[1])
		}
	}
	if want := (logKeys{Level: "info", Format: "text"}); s.Log != want {
		t.Errorf("log: got %+v, want %+v", s.Log, want)
	}
}

// withoutPlaces removes the file's name and the places in front of mistakes.
func withoutPlaces(file string, err error) string {
	if err == nil {
		return ""
	}
	return regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(file)+`(:\d+:\d+)?: `).ReplaceAllString(err.Error(), "")
}

func TestEnvironment(t *testing.T) {
	t.Setenv("KPROXY_LOG_LEVEL", "warn")
	t.Setenv("KPROXY_LOG_FORMAT", "") // as if it were not set
	t.Setenv("KPROXY_LIMITS_MAX_REQUEST_BYTES", "4096")
	t.Setenv("KPROXY_CLUSTERS_ORDERS_EU_BOOTSTRAP", "a:1, b:2")
	t.Setenv("KPROXY_CLUSTERS_ORDERS_EU_CONNECT_TIMEOUT", "7s")
	t.Setenv("KPROXY_CLUSTERS_ORDERS_EU_LISTENERS_FRED_ADVERTISE", "localhost:9092")
	t.Setenv("KPROXY_CLUSTERS_ORDERS_EU_LISTENERS_FRED_NODES_PORTS", "9300-9309")
	t.Setenv("KPROXY_LOG_SERVICE_HOST", "10.0.0.1") // from Kubernetes, about a Service called kproxy-log
	t.Setenv("KPROXY_LOG_PORT_80_TCP_ADDR", "10.0.0.1")

	s, err := load(t, `
clusters:
  orders-eu:
    connect_timeout: 1s
    listeners:
      fred: {bind: 127.0.0.1:9092, nodes: {}}
log: {level: debug, format: json}
`)
	if err != nil {
		t.Fatal(err)
	}
	orders := s.Proxy.Clusters[0]
	fred := orders.Listeners[0]
	if want := []string{"a:1", "b:2"}; !reflect.DeepEqual(orders.Bootstrap, want) {
		t.Errorf("bootstrap: got %q, want %q", orders.Bootstrap, want)
	}
	if orders.ConnectTimeout != 7*time.Second {
		t.Errorf("connect_timeout: got %s", orders.ConnectTimeout)
	}
	if fred.Bind != "127.0.0.1:9092" || fred.Advertise != "localhost:9092" || fred.Nodes.Ports != (config.Range{First: 9300, Last: 9309}) {
		t.Errorf("listener: got %+v", fred)
	}
	if want := (logKeys{Level: "warn", Format: "json"}); s.Log != want {
		t.Errorf("log: got %+v, want %+v", s.Log, want)
	}
	if s.Proxy.MaxRequestBytes != 4096 {
		t.Errorf("max_request_bytes: got %d", s.Proxy.MaxRequestBytes)
	}
}

// A section that enables a feature is present if it is written, even empty, or if a
// variable sets one of its keys.
func TestOptionalSection(t *testing.T) {
	file := func(tls string) string {
		return "clusters: {orders: {bootstrap: [\"b:9092\"], " + tls +
			"listeners: {fred: {bind: \"127.0.0.1:9092\", nodes: {ports: 9100-9199}}}}}\n"
	}
	for _, tt := range []struct {
		name, tls, variable string
		want                *config.UpstreamTLS
	}{
		{"absent", "", "", nil},
		{"empty", "tls: {}, ", "", &config.UpstreamTLS{MinVersion: "1.2"}},
		{"by a variable", "", "ca.pem", &config.UpstreamTLS{MinVersion: "1.2", CA: "ca.pem"}},
		{"both", `tls: {ca: x.pem, server_name: b}, `, "ca.pem", &config.UpstreamTLS{MinVersion: "1.2", CA: "ca.pem", ServerName: "b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("KPROXY_CLUSTERS_ORDERS_TLS_CA", tt.variable)
			s, err := load(t, file(tt.tls))
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Proxy.Clusters[0].TLS; !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// A mistake in a variable names the variable, at every stage of validation.
func TestBadEnvironment(t *testing.T) {
	tests := []struct{ name, value, want string }{
		{"KPROXY_LOG_LEVEL", "loud", `log.level (KPROXY_LOG_LEVEL): "loud" is not one of debug, info, warn, error; the default is info`},
		{"KPROXY_LOG_LEVL", "info", `KPROXY_LOG_LEVL: an environment variable that is no key's; did you mean KPROXY_LOG_LEVEL?`},
		{"KPROXY_CLUSTERS_AUDIT_SASL_USERNAME", "u", `KPROXY_CLUSTERS_AUDIT_SASL_USERNAME: an environment variable that is no key's; did you mean KPROXY_CLUSTERS_ORDERS_SASL_USERNAME?`},
		{"KPROXY_CLUSTERS_ORDERS_SASL_MECHANISM", "GSSAPI", `clusters.orders.sasl.mechanism (KPROXY_CLUSTERS_ORDERS_SASL_MECHANISM): "GSSAPI" is no mechanism that kproxy knows; write one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, AWS_MSK_IAM`},
		{"KPROXY_CLUSTERS_ORDERS_BOOTSTRAP", "b0:1, b1", `clusters.orders.bootstrap[1] (KPROXY_CLUSTERS_ORDERS_BOOTSTRAP): "b1" has no port; add one, such as b1:9092`},
		{"KPROXY_CLUSTERS_ORDERS_LISTENERS_FRED_BIND", "localhost", `clusters.orders.listeners.fred.bind (KPROXY_CLUSTERS_ORDERS_LISTENERS_FRED_BIND): "localhost" has no port; add one, such as localhost:9092`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(tt.name, tt.value)
			file := write(t, oneListener)
			_, err := loadConfig(file)
			if err == nil {
				t.Fatal("got no error")
			}
			if got := withoutPlaces(file, err); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// Two names that differ only in their separators would share variables.
func TestSharedVariable(t *testing.T) {
	file := write(t, `
clusters:
  a-listeners-b: {bootstrap: [x:1], listeners: {c: {bind: 127.0.0.1:1, nodes: {ports: 11-12}}}}
  a: {bootstrap: [x:1], listeners: {b-listeners-c: {bind: 127.0.0.1:2, nodes: {ports: 21-22}}}}
`)
	_, err := loadConfig(file)
	if err == nil {
		t.Fatal("got no error")
	}
	got := withoutPlaces(file, err)
	want := "clusters.a-listeners-b.listeners.c.bind: its environment variable KPROXY_CLUSTERS_A_LISTENERS_B_LISTENERS_C_BIND is that of clusters.a.listeners.b-listeners-c.bind too; rename a cluster or listener"
	if !strings.Contains(got, want) { // the other lines say the same of other keys
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The configuration that is suggested for an empty file works unchanged.
func TestMinimalFile(t *testing.T) {
	if _, err := load(t, minimalFile); err != nil {
		t.Error(err)
	}
}

func TestSamples(t *testing.T) {
	files, err := filepath.Glob("../../configs/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d samples, %v", len(files), err)
	}
	composed, err := filepath.Glob("../../configs/compose/kproxy/*.yaml")
	if err != nil || len(composed) == 0 {
		t.Fatalf("found %d samples of compose files, %v", len(composed), err)
	}
	for _, file := range append(append(files, composed...), "../../packaging/kproxy.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if _, err := loadConfig(file); err != nil {
				t.Error(err)
			}
		})
	}
}

// Tags are data that no compiler checks.
func TestKeyTags(t *testing.T) {
	checkTags(t, reflect.TypeFor[fileConfig]())
}

func checkTags(t *testing.T, section reflect.Type) {
	t.Helper()
	for _, f := range reflect.VisibleFields(section) {
		if f.Tag.Get("key") == "" || f.Tag.Get("doc") == "" {
			t.Errorf("%s.%s has no key or no doc", section.Name(), f.Name)
		}
		if s, ok := scalarOf(f.Type); ok {
			checkValues(t, f, s)
			continue
		}
		below := f.Type
		if below.Kind() == reflect.Map || below.Kind() == reflect.Slice {
			below = below.Elem()
		}
		if below.Kind() == reflect.Struct {
			checkTags(t, below)
		}
	}
}

// checkValues reads the values that f's tags hold, as if a file had them.
func checkValues(t *testing.T, f reflect.StructField, s scalar) {
	t.Helper()
	for _, tag := range []string{"default", "example", "min"} {
		text := f.Tag.Get(tag)
		if text == "" {
			continue
		}
		value, err := s.read(text)
		if err != nil {
			t.Errorf("%s: %s %q: %v", f.Name, tag, text, err)
			continue
		}
		if problem, _ := outside(f.Tag, s, value); problem != "" {
			t.Errorf("%s: %s %q%s", f.Name, tag, text, problem)
		}
	}
}

func TestSuggest(t *testing.T) {
	keys := []string{"bind", "advertise", "nodes"}
	tests := []struct{ name, want string }{
		{"advertize", "did you mean advertise?"},
		{"advertised_", "did you mean advertise?"},
		{"node", "did you mean nodes?"},
		{"BIND", "did you mean bind?"},
		{"tls", "known here: bind, advertise, nodes"},
	}
	for _, tt := range tests {
		if got := suggest(tt.name, keys); got != tt.want {
			t.Errorf("suggest(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Windows' editors put a BOM in front.
func TestLoadConfigWithBOM(t *testing.T) {
	s, err := load(t, "\ufeff"+oneListener)
	if err != nil || len(s.Proxy.Clusters) != 1 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func load(t *testing.T, yaml string) (*settings, error) {
	t.Helper()
	return loadConfig(write(t, yaml))
}

func write(t *testing.T, yaml string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "kproxy.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
