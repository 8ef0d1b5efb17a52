package connect

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"

	"kproxy/internal/certlab"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

func broker(node int32) Broker {
	return Broker{Node: node, Host: fmt.Sprintf("b%d.internal", node), Port: 9092}
}

// Each case is a cluster, and the known facts about the user's addresses.
func TestPair(t *testing.T) {
	three := []Broker{broker(0), broker(1), broker(2)}
	silent := func(address string, resolved ...string) witness {
		return witness{address, proxy.NoNode, resolved, false}
	}
	for _, tt := range []struct {
		name      string
		brokers   []Broker
		settled   map[int32]How
		witnesses []witness
		resolved  map[int32][]string
		want      map[int32]string
	}{
		{"asked", three, nil, []witness{{"x:1", 2, nil, false}, {"x:2", 0, nil, false}}, nil, map[int32]string{2: "x:1", 0: "x:2"}},
		{"two addresses of one node", three, nil, []witness{{"x:1", 2, nil, false}, {"x:2", 2, nil, false}}, nil, map[int32]string{2: "x:1"}},
		{"alone", []Broker{broker(7)}, nil, []witness{silent("x:1"), silent("x:2")}, nil, map[int32]string{7: "x:1"}},
		{"alone, and another node responds", []Broker{broker(7)}, nil, []witness{{"x:1", 8, nil, false}}, nil, map[int32]string{}},
		{"several, nothing known", three, nil, []witness{silent("x:1"), silent("x:2"), silent("x:3")}, nil, map[int32]string{}},
		{"by name, in either case", three, nil, []witness{silent("B1.Internal:9092"), silent("b2.internal:9093")}, nil, map[int32]string{1: "B1.Internal:9092"}},
		{"by name, but another responds", three, nil, []witness{{"b1.internal:9092", 2, nil, false}}, nil, map[int32]string{2: "b1.internal:9092"}},
		{
			"resolved", three, nil,
			[]witness{silent("x:1", "10.0.0.2:9092"), silent("x:2", "10.0.0.9:9092")},
			map[int32][]string{1: {"10.0.0.1:9092"}, 2: {"10.0.0.2:9092"}},
			map[int32]string{2: "x:1"},
		},
		{"resolved, and asked another", three, nil, []witness{{"x:1", 0, []string{"10.0.0.2:9092"}, false}}, map[int32][]string{2: {"10.0.0.2:9092"}}, map[int32]string{0: "x:1"}},
		{"a load balancer's, which a broker advertises", three, nil, []witness{{"b1.internal:9092", proxy.NoNode, []string{"10.0.0.2:9092"}, true}}, map[int32][]string{2: {"10.0.0.2:9092"}}, map[int32]string{}},
		{"settled, and asked", three, map[int32]How{2: ByItself, 1: BySaying}, []witness{{"x:1", 2, nil, false}, {"x:2", 0, nil, false}, {"b1.internal:9092", 1, nil, false}}, nil, map[int32]string{0: "x:2"}},
	} {
		if got := pair(tt.brokers, tt.settled, tt.witnesses, tt.resolved).at; !maps.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A client's configuration with a BOM, and addresses that a broker and the user write
// differently.
func TestWrittenOtherwise(t *testing.T) {
	file := filepath.Join(t.TempDir(), "client.properties")
	if err := os.WriteFile(file, []byte("\ufeffbootstrap.servers=a.example.com:1\nacks=all\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := FromFile(t.Context(), file)
	if err != nil || len(c.Bootstrap) != 1 || c.Bootstrap[0] != "a.example.com:1" {
		t.Fatalf("got %+v, %v", c, err)
	}
	brokers := []Broker{{Node: 1, Host: "B1.internal.", Port: 9092}, {Node: 2, Host: "[fd00::2]", Port: 9092}}
	witnesses := []witness{{"b1.Internal:9092", proxy.NoNode, nil, false}, {"[FD00:0::2]:9092", proxy.NoNode, nil, false}}
	if got := pair(brokers, nil, witnesses, nil).at; got[1] != "b1.Internal:9092" || got[2] != "[FD00:0::2]:9092" {
		t.Errorf("got %v", got)
	}
	one, other := Options{Addresses: []string{"B.example.com.:1", "a:1"}}, Options{Addresses: []string{"a:1", "b.example.com:1"}}
	if one.portFile(&Cluster{}) != other.portFile(&Cluster{}) {
		t.Error("ports are remembered by how an address is written")
	}
}

// A machine may have IPv6 alone.
func TestLoopback(t *testing.T) {
	for _, tt := range []struct{ has, want []string }{
		{[]string{"127.0.0.1", "::1"}, []string{"127.0.0.1", "::1"}},
		{[]string{"127.0.0.1"}, []string{"127.0.0.1"}},
		{[]string{"::1"}, []string{"::1"}},
		{nil, []string{"127.0.0.1"}},
	} {
		if got := loopback(func(host string) bool { return slices.Contains(tt.has, host) }); !slices.Equal(got, tt.want) {
			t.Errorf("with %q: got %q, want %q", tt.has, got, tt.want)
		}
	}
}

func TestPortsOfNodes(t *testing.T) {
	p := Ports{Base: 9092, Size: 4}.with([]Broker{broker(1001), broker(0), broker(2)})
	if want := map[int32]int{1001: 9096, 0: 9093, 2: 9095}; !maps.Equal(p.Pins, want) {
		t.Errorf("got %v, want %v", p.Pins, want)
	}
	more := p.with([]Broker{broker(5), broker(6), broker(0)})
	if want := map[int32]int{1001: 9096, 0: 9093, 2: 9095, 5: 9094}; !maps.Equal(more.Pins, want) || !more.valid() {
		t.Errorf("got %v, want %v: those that there were stay, and the last has none", more.Pins, want)
	}
}

func FuzzPorts(f *testing.F) {
	f.Add([]byte(`{"base":9092,"size":20,"pins":{"0":9093,"1001":9112}}`))
	f.Add([]byte(`{"base":65535,"size":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePorts(b)
		if err != nil {
			return
		}
		if p = p.with([]Broker{broker(0), broker(1 << 30)}); !p.valid() {
			t.Fatalf("%s: %+v", b, p)
		}
		o := Options{Addresses: []string{"x:1"}, Listen: []string{"127.0.0.1"}, Advertise: "localhost"}
		if err := o.config(nil, p).Validate(); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
	})
}

// A client's login, by its configuration. The errors have no secret.
func TestFromKeys(t *testing.T) {
	const jaas = "sasl.jaas.config=org.apache.kafka.common.security."
	for _, tt := range []struct {
		name, text string
		want       Client
		problem    string
	}{
		{"addresses only", "bootstrap.servers = a:1, SSL://b:2 ,,", Client{Bootstrap: []string{"a:1", "b:2"}}, ""},
		{"Confluent Cloud, Java", "bootstrap.servers=pkc-1.aws.confluent.cloud:9092\nsecurity.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n" +
			jaas + `plain.PlainLoginModule required username="KEY" password="sec\\\\r\\"et";` + "\nclient.dns.lookup=use_all_dns_ips\nacks=all\n", Client{
			Bootstrap: []string{"pkc-1.aws.confluent.cloud:9092"}, TLS: &config.UpstreamTLS{},
			SASL: &config.SASL{Mechanism: "PLAIN", Username: "KEY", Password: config.Secret{Text: `sec\r"et`}},
		}, ""},
		{"Confluent Cloud, librdkafka", "bootstrap.servers=pkc-1:9092\nsecurity.protocol=sasl_ssl\nsasl.mechanisms=PLAIN\nsasl.username=KEY\nsasl.password=a\\b=c${d}\n", Client{
			Bootstrap: []string{"pkc-1:9092"}, TLS: &config.UpstreamTLS{},
			SASL: &config.SASL{Mechanism: "PLAIN", Username: "KEY", Password: config.Secret{Text: `a\b=c${d}`}},
		}, ""},
		{"SCRAM without TLS, over two lines", "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\n" +
			jaas + "scram.ScramLoginModule required \\\n   username='u' \\\n   password = p;\n", Client{
			SASL: &config.SASL{Mechanism: "SCRAM-SHA-512", Username: "u", Password: config.Secret{Text: "p"}, AllowPlaintext: true},
		}, ""},
		{"OAuth", "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.token.endpoint.url=https://login/token\n" +
			jaas + `oauthbearer.OAuthBearerLoginModule required clientId="c" clientSecret="s" scope="x" extension_logicalCluster="lkc-1";`, Client{
			TLS: &config.UpstreamTLS{}, SASL: &config.SASL{Mechanism: "OAUTHBEARER", OAuth: config.OAuth{
				TokenURL: "https://login/token", ClientID: "c", ClientSecret: config.Secret{Text: "s"}, Scope: "x",
				Extensions: map[string]string{"logicalCluster": "lkc-1"},
			}},
		}, ""},
		{"MSK", "security.protocol=SASL_SSL\nsasl.mechanism=AWS_MSK_IAM\nsasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required awsProfileName=\"p\";", Client{
			TLS: &config.UpstreamTLS{}, SASL: &config.SASL{Mechanism: "AWS_MSK_IAM", AWS: config.AWS{Profile: "p"}},
		}, ""},
		{"MSK by OAUTHBEARER", "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\n" +
			"sasl.login.callback.handler.class=software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler\n" +
			"sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required awsProfileName=\"p\" awsStsRegion=\"r\";", Client{
			TLS: &config.UpstreamTLS{}, SASL: &config.SASL{Mechanism: "AWS_MSK_IAM", AWS: config.AWS{Profile: "p", Region: "r"}},
		}, ""},
		{"MSK with a role", "security.protocol=SASL_SSL\nsasl.mechanism=AWS_MSK_IAM\nsasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required " +
			"awsRoleArn=\"arn\" awsRoleSessionName=\"s\" awsRoleExternalId=\"x\" awsStsRegion=\"r\";", Client{
			TLS: &config.UpstreamTLS{}, SASL: &config.SASL{Mechanism: "AWS_MSK_IAM", AWS: config.AWS{RoleARN: "arn", SessionName: "s", ExternalID: "x", Region: "r"}},
		}, ""},
		{"Kerberos", "security.protocol=SASL_SSL", Client{}, `cannot log in by "GSSAPI"`},
		{"no password", "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username=u", Client{}, "no sasl.password beside it"},
		{"no login module", "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN", Client{}, "no username and password for PLAIN"},
		{"blanks at the end", "bootstrap.servers=a:1 \nsecurity.protocol=SSL \n", Client{Bootstrap: []string{"a:1"}, TLS: &config.UpstreamTLS{}}, ""},
		{"no protocol", "security.protocol=TLS", Client{}, "none of PLAINTEXT, SSL"},
		{"both kinds", "sasl.username=u\nsasl.jaas.config=x", Client{}, "keep those of one"},
		{"no semicolon", "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n" + jaas + `plain.PlainLoginModule required username="u" password="hunter2"`, Client{}, "does not end with a semicolon"},
		{"open quote", "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n" + jaas + `plain.PlainLoginModule required password="hunter2;`, Client{}, "a quote is not closed"},
		{"bad escape", `sasl.jaas.config=\uhunter2`, Client{}, `\u is not followed by four digits`},
		{"a password in an address", "bootstrap.servers=u:hunter2@host:9092", Client{}, "bootstrap.servers"},
		{"bad address", "bootstrap.servers=host", Client{}, "bootstrap.servers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := fromData(t.Context(), "f", []byte(tt.text))
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tt.problem) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("got %v, want %q", err, tt.problem)
				}
				return
			}
			if err == nil {
				got.Notes = nil // TestClientFiles has them
			}
			if err != nil || !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got %#v, %v\nwant %#v", *got, err, tt.want)
			}
		})
	}
}

// A client whose tokens come from its own code gets advice on the alternative.
func TestTokensByCode(t *testing.T) {
	const oauth = "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\n"
	for name, tt := range map[string]struct{ text, want string }{
		"librdkafka's type": {oauth + "sasl.oauthbearer.metadata.authentication.type=aws_iam\nsasl.oauthbearer.method=oidc", "add --sasl AWS_MSK_IAM"},
		"MSK's addresses":   {oauth + "bootstrap.servers=b-1.demo.abc123.c2.kafka.us-east-1.amazonaws.com:9098", "add --sasl AWS_MSK_IAM"},
		"MSK Serverless":    {oauth + "bootstrap.servers=boot-abc.c2.kafka-serverless.us-east-1.amazonaws.com:9098", "add --sasl AWS_MSK_IAM"},
		"another handler":   {oauth + "sasl.login.callback.handler.class=com.example.Handler", `cannot run "com.example.Handler"`},
		"nothing":           {oauth, "sasl.oauthbearer.token.endpoint.url: missing"},
		"an endpoint":       {oauth + "sasl.oauthbearer.token.endpoint.url=https://login/token", ""},
	} {
		c, err := fromData(t.Context(), "f", []byte(tt.text))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if c.NoLogin != nil {
			got = c.NoLogin.Error()
		}
		if !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// The client's stores become the same PEM from every format.
func TestStores(t *testing.T) {
	files := certlab.NewFolder(t)
	ca := certlab.NewAuthority(t, "ca")
	id := ca.Issue(t, nil, "client")
	leaf := id.Pair.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(id.Pair.Certificate[0]); err != nil {
			t.Fatal(err)
		}
	}
	must := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	der := must(x509.MarshalPKCS8PrivateKey(id.Pair.PrivateKey))
	trust, shown := keystore.New(), keystore.New()
	x := keystore.Certificate{Type: "X509", Content: ca.Cert.Raw}
	if err := trust.SetTrustedCertificateEntry("ca", keystore.TrustedCertificateEntry{CreationTime: time.Now(), Certificate: x}); err != nil {
		t.Fatal(err)
	}
	if err := shown.SetPrivateKeyEntry("me", keystore.PrivateKeyEntry{CreationTime: time.Now(), PrivateKey: der, CertificateChain: []keystore.Certificate{{Type: "X509", Content: leaf.Raw}}}, []byte("keypass")); err != nil {
		t.Fatal(err)
	}
	jks := func(s keystore.KeyStore) []byte {
		var b bytes.Buffer
		if err := s.Store(&b, []byte("storepass")); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	p12Trust := must(pkcs12.Modern.EncodeTrustStore([]*x509.Certificate{ca.Cert}, "storepass"))
	p12Key := must(pkcs12.Modern.Encode(id.Pair.PrivateKey, leaf, nil, "storepass"))
	inline := func(p []byte) string { return strings.ReplaceAll(strings.TrimSpace(string(p)), "\n", " ") }
	both := append(append([]byte{}, id.CertPEM...), id.KeyPEM...)
	for name, k := range map[string]keys{
		"PEM files":        {"ssl.truststore.location": files.Write(t, "ca.pem", ca.PEM), "ssl.keystore.location": files.Write(t, "both.pem", both)},
		"PEM in the file":  {"ssl.truststore.certificates": inline(ca.PEM), "ssl.keystore.certificate.chain": inline(id.CertPEM), "ssl.keystore.key": inline(id.KeyPEM)},
		"PEM with \\n":     {"ssl.ca.pem": strings.ReplaceAll(string(ca.PEM), "\n", `\n`), "ssl.certificate.pem": string(id.CertPEM), "ssl.key.pem": string(id.KeyPEM)},
		"JKS":              {"ssl.truststore.location": files.Write(t, "t.jks", jks(trust)), "ssl.truststore.password": "storepass", "ssl.keystore.location": files.Write(t, "k.jks", jks(shown)), "ssl.keystore.password": "storepass", "ssl.key.password": "keypass"},
		"PKCS12":           {"ssl.truststore.location": files.Write(t, "t.p12", p12Trust), "ssl.truststore.password": "storepass", "ssl.keystore.location": files.Write(t, "k.p12", p12Key), "ssl.keystore.password": "storepass"},
		"librdkafka files": {"ssl.ca.location": files.Write(t, "ca2.pem", ca.PEM), "ssl.certificate.location": files.Write(t, "c.pem", id.CertPEM), "ssl.key.location": files.Write(t, "k.pem", id.KeyPEM)},
	} {
		t.Run(name, func(t *testing.T) {
			k["security.protocol"] = "SSL"
			c, err := fromKeys(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			o := Options{Addresses: []string{"x:1"}, TLS: c.TLS, Listen: []string{"127.0.0.1"}, Advertise: "localhost"}
			p, err := proxy.New(o.config(nil, Ports{Base: 1, Size: 1})) // reads the files
			if err != nil {
				t.Fatal(err)
			}
			p.Shutdown(t.Context())
			pemCA, err := os.ReadFile(c.TLS.CA)
			if b, _ := pem.Decode(pemCA); err != nil || b == nil || !bytes.Equal(b.Bytes, ca.Cert.Raw) {
				t.Errorf("the CA is another: %v", err)
			}
			pemKey, err := os.ReadFile(c.TLS.Key)
			if err != nil || !bytes.Contains(pemKey, []byte("PRIVATE KEY")) {
				t.Errorf("no key: %v", err)
			}
			dir := c.dir
			if dir != "" {
				if info, err := os.Stat(filepath.Join(dir, "client.pem")); err == nil && info.Mode().Perm() != 0o600 {
					t.Errorf("others can read the key: %v", info.Mode())
				}
			}
			c.Close()
			if _, err := os.Stat(dir); dir != "" && err == nil {
				t.Error("its files are left")
			}
		})
	}
	for name, k := range map[string]keys{
		"password":        {"ssl.truststore.location": files.Write(t, "t.jks", jks(trust)), "ssl.truststore.password": "hunter2"},
		"neither":         {"ssl.truststore.location": files.Write(t, "t.x", []byte("x"))},
		"no such file":    {"ssl.keystore.location": "/no/such/file"},
		"key is":          {"ssl.keystore.location": files.Write(t, "e.pem", []byte(strings.ReplaceAll(string(both), "BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE")+"\n-----BEGIN ENCRYPTED PRIVATE KEY-----\n"))},
		"ssl.key.passwor": {"ssl.keystore.location": files.Write(t, "k2.jks", jks(shown)), "ssl.keystore.password": "storepass"},
	} {
		k["security.protocol"] = "SSL"
		if _, err := fromKeys(t.Context(), k); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

func FuzzFromKeys(f *testing.F) {
	f.Add([]byte("bootstrap.servers=a:1\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=x required username=\"u\" password='p';"))
	f.Add([]byte("sasl.username=u\nsasl.password=p\nsasl.mechanisms=SCRAM-SHA-256\nsecurity.protocol=sasl_plaintext"))
	f.Add([]byte(`sasl.jaas.config=\u00e9 = "\\";`))
	f.Fuzz(func(t *testing.T, b []byte) {
		f, err := parseClientFile("f", b)
		if err != nil {
			return
		}
		_, _ = f.unknown()
		k := f.keys()
		for name := range k { // no file of this machine is read
			if strings.HasPrefix(name, "ssl.") {
				delete(k, name)
			}
		}
		c, err := fromKeys(t.Context(), k)
		if err != nil {
			return
		}
		defer c.Close()
		if s := c.SASL; s != nil && strings.HasPrefix(s.Mechanism, "SCRAM") && (s.Username == "" || s.Password.Text == "") {
			t.Fatal("a login without a user")
		}
	})
}

// A quoted text is read back unchanged.
func FuzzJAAS(f *testing.F) {
	f.Add(`p"\ ';=`)
	f.Fuzz(func(t *testing.T, password string) {
		quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
		got, err := parseJAAS(`C required password="` + quote.Replace(password) + `" username=u;`)
		if err != nil || got["password"] != password || got["username"] != "u" {
			t.Fatalf("%q: %q, %v", password, got, err)
		}
	})
}

// The configuration that is printed for clients, whole.
func TestClientConfig(t *testing.T) {
	s := &Session{Cluster: &Cluster{NeedsLogin: true, Mechanisms: []string{"PLAIN", "SCRAM-SHA-256"}}, bootstrap: "localhost:9092"}
	want := `# Java (client.properties)
bootstrap.servers=localhost:9092
security.protocol=SASL_PLAINTEXT
sasl.mechanism=SCRAM-SHA-256
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="YOU" password="SECRET";

# librdkafka: confluent-kafka for Python, .NET, Go; node-rdkafka; …
bootstrap.servers=localhost:9092
security.protocol=SASL_PLAINTEXT
sasl.mechanism=SCRAM-SHA-256
sasl.username=YOU
sasl.password=SECRET

# kcat
kcat -b localhost:9092 -X security.protocol=SASL_PLAINTEXT -X sasl.mechanism=SCRAM-SHA-256 -X sasl.username=YOU -X sasl.password=SECRET -L
`
	if got := s.ClientConfig(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
