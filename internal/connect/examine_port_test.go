package connect

import (
	"crypto/tls"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/certlab"
	"kproxy/internal/doctor"
	"kproxy/internal/kfakelab"
	"kproxy/internal/speaks"
	"kproxy/internal/wire"
	"kproxy/proxy/config"
)

// controller serves ApiVersions as a KRaft controller, and closes at anything else.
func controller(t *testing.T) string {
	t.Helper()
	return serving(t, func(c net.Conn) {
		var prefix [12]byte // size, key, version, correlation id
		if _, err := io.ReadFull(c, prefix[:]); err != nil || prefix[5] != byte(kmsg.ApiVersions) {
			return
		}
		if _, err := io.CopyN(io.Discard, c, int64(wire.Size(prefix[:]))-8); err != nil {
			return
		}
		resp := kmsg.NewPtrApiVersionsResponse()
		for _, key := range []kmsg.Key{kmsg.ApiVersions, kmsg.Vote, kmsg.DescribeQuorum} {
			k := kmsg.NewApiVersionsResponseApiKey()
			k.ApiKey = key.Int16()
			resp.ApiKeys = append(resp.ApiKeys, k)
		}
		payload := resp.AppendTo(nil)
		_, _ = c.Write(append(wire.AppendResponsePrefix(nil, wire.CorrelationID(prefix[4:]), len(payload)), payload...))
		_, _ = io.ReadFull(c, prefix[:])
	})
}

// The user's own addresses: the port's protocol, TLS and login.
func TestExamineBootstrap(t *testing.T) {
	t.Parallel()
	ca := certlab.NewAuthority(t, "ca")
	other := certlab.NewFolder(t).Write(t, "other.pem", certlab.NewAuthority(t, "another authority").PEM)
	own := certlab.NewFolder(t).Write(t, "ca.pem", ca.PEM)
	secure := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, nil, "127.0.0.1").Pair}}
	mutual := secure.Clone()
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, ca.Pool()
	named := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, nil, "b0.vpc.invalid").Pair}}
	expired := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, certlab.Expired, "127.0.0.1").Pair}}
	plainAt, secureAt, mutualAt := cluster(t, 1, nil)[0], cluster(t, 1, secure)[0], cluster(t, 1, mutual)[0]
	loginAt := cluster(t, 1, nil, kfake.EnableSASL(), alice)[0]
	as := func(mechanism, password string) func(o *Options) {
		return func(o *Options) {
			o.SASL = &config.SASL{Mechanism: mechanism, Username: "alice", Password: config.Secret{Text: password}}
		}
	}
	with := func(secure config.UpstreamTLS) func(*Options) { return func(o *Options) { o.TLS = &secure } }
	for _, tt := range []struct {
		name string
		at   []string
		edit func(o *Options)
		want string
		says string // a part of the reason
		fix  string // a part of the fix's text or command
	}{
		{"TLS is wanted", []string{secureAt}, nil, "-1 tls tls_wanted", `issued by "CN=ca"`, "--tls --ca FILE"},
		{"TLS is wanted, and a certificate", []string{mutualAt}, nil, "-1 tls tls_wanted", "asks clients for a certificate", "--tls --ca FILE"},
		{"TLS is not there", []string{plainAt}, with(config.UpstreamTLS{}), "-1 tls tls_not_spoken", "does not speak TLS", "leave --tls out"},
		{"the authority is not known", []string{secureAt}, with(config.UpstreamTLS{}), "-1 tls tls_untrusted", `it is for "127.0.0.1", issued by "CN=ca"; trusted is the system's authorities`, "--ca FILE"},
		{"another authority", []string{secureAt}, with(config.UpstreamTLS{CA: other}), "-1 tls tls_untrusted", `which has "CN=another authority"`, "the file that is named is of another authority"},
		{"a certificate is wanted", []string{mutualAt}, with(config.UpstreamTLS{CA: own}), "-1 tls tls_client_wanted", "mTLS", "--cert FILE --key FILE"},
		{"another name", []string{cluster(t, 1, named)[0]}, with(config.UpstreamTLS{CA: own}), "-1 tls tls_wrong_name", `is for "b0.vpc.invalid"`, "--server-name b0.vpc.invalid"},
		{"it has expired", []string{cluster(t, 1, expired)[0]}, with(config.UpstreamTLS{CA: own}), "-1 tls tls_expired", "has expired", "renew"},
		{"no such name", []string{"kafka.invalid:9092"}, nil, "-1 name name_unknown", "no such host", "spelt"},
		{"the password is wrong", []string{loginAt}, as("PLAIN", "wrong-secret"), "-1 login login_refused", `log in by PLAIN as "alice": the broker closes`, "--password-file"},
		{"the password is wrong, says the broker", []string{refusing(t, 0)}, as("PLAIN", "wrong-secret"), "-1 login login_refused", `log in by PLAIN as "alice": the broker refuses: SASL_AUTHENTICATION_FAILED`, "--password-file"},
		{"the mechanism is wrong", []string{refusing(t, kerr.UnsupportedSaslMechanism.Code)}, as("SCRAM-SHA-512", "wrong-secret"), "-1 login login_mechanism", "does not offer SCRAM-SHA-512, but GSSAPI, PLAIN", "--sasl PLAIN"},
		{"no logins there", []string{refusing(t, kerr.IllegalSaslState.Code)}, as("PLAIN", "wrong-secret"), "-1 login login_not_wanted", "takes no logins", "leave --sasl out"},
		{"a controller", []string{controller(t)}, nil, "-1 kafka controller", "KRaft controller", "9092"},
		{"a login at an SSH server", []string{serving(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n") })}, as("PLAIN", "wrong-secret"), "-1 kafka other_service", `"SSH-2.0-x"`, "port of a Kafka broker"},
		{"closes at once", []string{serving(t, func(net.Conn) {})}, nil, "-1 kafka closes_at_once", "before anything is sent", "port-forward"},
		{"closes at a byte", []string{serving(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) })}, nil, "-1 kafka closes", "without a byte", "find out which program listens there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, _ := options(t, tt.at...)
			if tt.edit != nil {
				tt.edit(o)
			}
			r, words := examined(t, o)
			if got := strings.Join(words, ", "); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			f := r.Findings[0]
			if !strings.Contains(f.Fix.Text+" "+f.Fix.Command, tt.fix) || !strings.Contains(f.Reason, tt.says) || strings.Contains(f.Reason, "wrong-secret") {
				t.Errorf("%s\nthe fix is %+v\nwant %q, and %q", f.Reason, f.Fix, tt.says, tt.fix)
			}
			if r.Sound() {
				t.Error("it is said to be sound")
			}
		})
	}
}

// refusing is a broker that responds to SaslHandshake with an error, and to SaslAuthenticate too,
// as Kafka does.
func refusing(t *testing.T, handshake int16) string {
	t.Helper()
	c := kfakelab.Start(t, 1, kfakelab.Real, kfake.EnableSASL(), alice)
	at := c.At
	c.ControlKey(kmsg.SASLHandshake.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.SASLHandshakeResponse)
		resp.ErrorCode, resp.SupportedMechanisms = handshake, []string{"GSSAPI", "PLAIN"}
		return resp, nil, true
	})
	c.ControlKey(kmsg.SASLAuthenticate.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return resp, nil, true
	})
	return at[0]
}

// A cluster that wants a login names no broker, and the report lists the checks that were
// not possible.
func TestExamineNeedsLogin(t *testing.T) {
	o, _ := options(t, cluster(t, 1, nil, kfake.EnableSASL(), alice)[0])
	r, _ := examined(t, o)
	if !r.NeedsLogin || r.Sound() || len(r.Unchecked) != 2 || !slices.Contains(r.Mechanisms, "PLAIN") {
		t.Errorf("got %+v", r)
	}
}

// Two clusters: the addresses of one are left out.
func TestExamineTwoClusters(t *testing.T) {
	o, _ := options(t, cluster(t, 1, nil)[0], cluster(t, 1, nil, kfake.ClusterID("stranger"))[0])
	_, words := examined(t, o)
	if got, want := strings.Join(words, ", "), "-1 arrived, -1 itself another_cluster, 0 name name_unknown"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Brokers whose protocol differs from that of bootstrap, which a client uses for all of
// them.
func TestExamineOtherProtocol(t *testing.T) {
	t.Parallel()
	files, ca := certlab.NewFolder(t), certlab.NewAuthority(t, "ca")
	secure := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, nil, "127.0.0.1").Pair}}
	trusted := &config.UpstreamTLS{CA: files.Write(t, "ca.pem", ca.PEM)}
	withTLS, without := cluster(t, 1, secure)[0], cluster(t, 1, nil)[0]
	withLogin := cluster(t, 1, nil, kfake.EnableSASL(), alice)[0]
	other := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, nil, "b0.vpc.invalid").Pair}}
	for _, tt := range []struct {
		name, at string
		secure   *tls.Config // of bootstrap
		tls      *config.UpstreamTLS
		want     string
		line     string
	}{
		{"TLS is wanted", withTLS, nil, nil, "-1 arrived, 0 tls tls_wanted", "advertised.listeners=PLAINTEXT://"},
		{"TLS is not there", without, secure, trusted, "-1 arrived, 0 tls tls_not_spoken", "advertised.listeners=SSL://"},
		{"a login is wanted", withLogin, nil, nil, "-1 arrived, 0 login login_wanted", "advertised.listeners=PLAINTEXT://"},
		{"the certificate has another name", cluster(t, 1, other)[0], secure, trusted, "-1 arrived, 0 tls tls_wrong_name", "advertised.listeners=SSL://b0.vpc.invalid:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var opts []kfake.Opt
			if tt.secure != nil {
				opts = append(opts, kfake.TLS(tt.secure))
			}
			o, _ := options(t, kfakelab.Start(t, 1, kfakelab.All(tt.at), opts...).At[0])
			o.TLS = tt.tls
			r, words := examined(t, o)
			if got := strings.Join(words, ", "); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if f := r.Findings[1]; len(f.Fix.Properties) != 1 || !strings.HasPrefix(f.Fix.Properties[0], tt.line) {
				t.Errorf("%s; the lines are %q, want %q", f.Reason, f.Fix.Properties, tt.line)
			}
		})
	}
}

// A silent port is dialled twice, and takes no longer than the limit.
func TestExamineSilent(t *testing.T) {
	t.Parallel()
	accepted := make(chan struct{}, 100)
	at := serving(t, func(c net.Conn) {
		accepted <- struct{}{}
		_, _ = io.Copy(io.Discard, c)
	})
	o, _ := options(t, at)
	start := time.Now()
	r, words := examined(t, o)
	if got, want := strings.Join(words, ", "), "-1 kafka silent"; got != want || r.Findings[0].Peer.Kind != speaks.Silent {
		t.Errorf("%s, want %s", got, want)
	}
	if took := time.Since(start); took > examineTime {
		t.Errorf("it took %s", took)
	}
	if n := len(accepted); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// A silent bootstrap address beside one that responds causes no delay, and is not dialled
// again to find its node.
func TestExamineSilentBesideOthers(t *testing.T) {
	t.Parallel()
	accepted := make(chan struct{}, 100)
	at := serving(t, func(c net.Conn) {
		accepted <- struct{}{}
		_, _ = io.Copy(io.Discard, c)
	})
	o, _ := options(t, at, cluster(t, 2, nil)[0])
	_, words := examined(t, o)
	if got, want := strings.Join(words, ", "), "-1 kafka silent, -1 arrived, 0 name name_unknown, 1 name name_unknown"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if n := len(accepted); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// Progress is reported as addresses are done.
func TestExamineProgress(t *testing.T) {
	at := kfakelab.Start(t, 2, kfakelab.Real).At
	o, _ := options(t, at[0])
	type step struct{ done, all int }
	steps := make(chan step, 100)
	if _, err := o.Examine(t.Context(), doctor.User{Addresses: at[:1]}, func(done, all int) { steps <- step{done, all} }); err != nil {
		t.Fatal(err)
	}
	close(steps)
	last := step{}
	for s := range steps {
		last = step{max(last.done, s.done), max(last.all, s.all)}
	}
	if want := (step{3, 3}); last != want {
		t.Errorf("the last is %v, want %v", last, want)
	}
}

func TestFar(t *testing.T) {
	for via, want := range map[string]string{
		"": "", "ssh://me@bastion.example.com:2222": "bastion.example.com:2222", "socks5://10.0.0.1:1080": "10.0.0.1:1080",
		"exec:ssh x nc {host} {port}": "the far side of the command of --via",
	} {
		if got := Far(via); got != want {
			t.Errorf("%s: %q, want %q", via, got, want)
		}
	}
}

func TestLookAtFile(t *testing.T) {
	files := certlab.NewFolder(t)
	for text, want := range map[string]doctor.User{
		"bootstrap.servers=a:1\nsasl.username = u\n":                         {Librdkafka: true},
		"ssl.ca.location=/x\r\nsasl.mechanisms=PLAIN":                        {Librdkafka: true, Store: "/x", Mechanism: "sasl.mechanisms"},
		"sasl.jaas.config=x\nssl.truststore.location: y\nsasl.mechanism = P": {Store: "y", Mechanism: "sasl.mechanism"},
		"# ssl.ca.location=x\n":                                              {},
	} {
		want.File = files.Write(t, "client", []byte(text))
		var got doctor.User
		if LookAtFile(t.Context(), want.File, &got); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}
