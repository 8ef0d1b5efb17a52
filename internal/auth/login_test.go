package auth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/xdg-go/scram"

	"kproxy/internal/auth"
)

const password = "Pa55word, with = and ,"

// server is a broker's side of a login.
type server func(token []byte) (response []byte, err error)

// broker is a broker that takes a login.
type broker struct {
	versions  [2]int16 // of SaslAuthenticate
	mechanism string
	tokens    server
	lifetime  int64
	seen      []int16 // versions of SaslAuthenticate that came
}

// serve responds to requests on conn until one is wrong.
func (b *broker) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	for {
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(conn, frame); err != nil {
			return
		}
		key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
		body := frame[10+binary.BigEndian.Uint16(frame[8:]):]
		resp := b.response(key, version, body)
		if resp == nil {
			return
		}
		payload := frame[4:8:8]
		if resp.IsFlexible() {
			payload = append(payload, 0)
		}
		payload = resp.AppendTo(payload)
		if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)); err != nil {
			return
		}
	}
}

func (b *broker) response(key, version int16, body []byte) kmsg.Response {
	switch kmsg.Key(key) {
	case kmsg.ApiVersions:
		resp := kmsg.NewPtrApiVersionsResponse()
		resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 17, MaxVersion: 1}, {ApiKey: 36, MinVersion: b.versions[0], MaxVersion: b.versions[1]}}
		return resp
	case kmsg.SASLHandshake:
		req := kmsg.NewPtrSASLHandshakeRequest()
		req.Version = version
		resp := kmsg.NewPtrSASLHandshakeResponse()
		resp.Version = version
		if req.ReadFrom(body) != nil || req.Mechanism != b.mechanism {
			resp.ErrorCode, resp.SupportedMechanisms = kerr.UnsupportedSaslMechanism.Code, []string{b.mechanism}
		}
		return resp
	case kmsg.SASLAuthenticate:
		req := kmsg.NewPtrSASLAuthenticateRequest()
		req.Version = version
		if version >= 2 {
			body = body[1:] // the header's tags
		}
		if req.ReadFrom(body) != nil {
			return nil
		}
		b.seen = append(b.seen, version)
		resp := kmsg.NewPtrSASLAuthenticateResponse()
		resp.Version = version
		token, err := b.tokens(req.SASLAuthBytes)
		if resp.SASLAuthBytes = token; err != nil {
			resp.ErrorCode, resp.ErrorMessage = kerr.SaslAuthenticationFailed.Code, new(err.Error())
		}
		resp.SessionLifetimeMillis = b.lifetime
		return resp
	default:
		return nil
	}
}

// logIn does one login by conf at b.
func logIn(t *testing.T, conf *auth.SASL, b *broker) (auth.Session, error) {
	t.Helper()
	m, err := auth.New(conf, nil)
	if err != nil {
		t.Fatal(err)
	}
	return logInBy(t, m, b)
}

func logInBy(t *testing.T, m *auth.Method, b *broker) (auth.Session, error) {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.serve(far)
	}()
	session, err := m.LogIn(t.Context(), near, "b-1.orders.kafka.us-east-1.amazonaws.com:9098", "test")
	_ = near.Close()
	<-done
	return session, err
}

func plainServer(token []byte) ([]byte, error) {
	if string(token) != "\x00kproxy\x00"+password {
		return nil, errors.New("Authentication failed: Invalid username or password")
	}
	return []byte{}, nil
}

func scramServer(t *testing.T, hash scram.HashGeneratorFcn) server {
	t.Helper()
	client, err := hash.NewClientUnprepped("kproxy", password, "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	s, err := hash.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		t.Fatal(err)
	}
	conversation := s.NewConversation()
	return func(token []byte) ([]byte, error) {
		response, err := conversation.Step(string(token))
		return []byte(response), err
	}
}

func byPassword(mechanism, text string) *auth.SASL {
	return &auth.SASL{Mechanism: mechanism, Username: "kproxy", Password: auth.Secret{Text: text}}
}

func TestLogIn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		mechanism string
		server    func(t *testing.T) server
		tokens    int
	}{
		{auth.Plain, func(*testing.T) server { return plainServer }, 1},
		{auth.ScramSHA256, func(t *testing.T) server { t.Helper(); return scramServer(t, scram.SHA256) }, 2},
		{auth.ScramSHA512, func(t *testing.T) server { t.Helper(); return scramServer(t, scram.SHA512) }, 2},
	} {
		for version := range int16(4) {
			b := &broker{versions: [2]int16{0, version}, mechanism: tt.mechanism, tokens: tt.server(t), lifetime: 3600_000}
			session, err := logIn(t, byPassword(tt.mechanism, password), b)
			if err != nil {
				t.Errorf("%s, SaslAuthenticate up to v%d: %v", tt.mechanism, version, err)
				continue
			}
			want := auth.Session{Lifetime: time.Hour, Version: min(version, 2)}
			if version == 0 {
				want.Lifetime = 0
			}
			if session != want || len(b.seen) != tt.tokens {
				t.Errorf("%s: got %+v after %d tokens, want %+v after %d", tt.mechanism, session, len(b.seen), want, tt.tokens)
			}
		}
		b := &broker{versions: [2]int16{0, 2}, mechanism: tt.mechanism, tokens: tt.server(t)}
		_, err := logIn(t, byPassword(tt.mechanism, "another"), b)
		refused(t, err, "")
	}
}

// refused fails the test unless err is a refusal that holds no password.
func refused(t *testing.T, err error, text string) {
	t.Helper()
	login, ok := errors.AsType[*auth.LoginError](err)
	if !ok || !login.Refused || login.Fix == "" || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), password) {
		t.Errorf("got %#v, want a refusal with %q", err, text)
	}
}

func TestMechanismNotOffered(t *testing.T) {
	t.Parallel()
	_, err := logIn(t, byPassword(auth.Plain, password), &broker{versions: [2]int16{0, 2}, mechanism: "GSSAPI"})
	refused(t, err, "GSSAPI")
}

func TestBrokersTooOldAndTooNew(t *testing.T) {
	t.Parallel()
	_, err := logIn(t, byPassword(auth.Plain, password), &broker{versions: [2]int16{3, 4}, mechanism: auth.Plain})
	if err == nil || !strings.Contains(err.Error(), "upgrade kproxy") {
		t.Errorf("got %v", err)
	}
}

// A broker may send any lifetime.
func TestAbsurdLifetimes(t *testing.T) {
	t.Parallel()
	for ms, want := range map[int64]time.Duration{
		0: 0, -1: 0, -1 << 63: 0, 1: time.Millisecond, 1<<63 - 1: 365 * 24 * time.Hour,
	} {
		b := &broker{versions: [2]int16{0, 2}, mechanism: auth.Plain, tokens: plainServer, lifetime: ms}
		session, err := logIn(t, byPassword(auth.Plain, password), b)
		if err != nil || session.Lifetime != want {
			t.Errorf("%d ms: got %v, %v, want %v", ms, session.Lifetime, err, want)
		}
	}
}

// A secret that is replaced is used by the next login.
func TestSecretIsReadAgain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	m, err := auth.New(&auth.SASL{Mechanism: auth.Plain, Username: "kproxy", Password: auth.Secret{File: file}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{versions: [2]int16{0, 2}, mechanism: auth.Plain, tokens: plainServer}
	if _, err := logInBy(t, m, b); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("without the file: got %v, want its name", err)
	}
	for _, tt := range []struct {
		text string
		good bool
	}{{"old\n", false}, {password + "\n", true}, {password + "\r\n", true}, {"\n", false}, {"", false}, {password, true}} {
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := logInBy(t, m, b); (err == nil) != tt.good {
			t.Errorf("with %q: %v", tt.text, err)
		}
	}
}

func TestSecretsHaveNoText(t *testing.T) {
	t.Parallel()
	conf := byPassword(auth.Plain, password)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, *conf); strings.Contains(got, password) {
			t.Errorf("%s tells %s", format, got)
		}
	}
}

func TestPermits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		address       string
		secure, allow bool
		want          bool
	}{
		{"10.0.0.1", false, false, false},
		{"10.0.0.1", true, false, true},
		{"10.0.0.1", false, true, true},
		{"127.0.0.1", false, false, true},
		{"::1", false, false, true},
	} {
		conf := byPassword(auth.Plain, password)
		conf.AllowPlaintext = tt.allow
		m, err := auth.New(conf, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Permits(netip.MustParseAddr(tt.address), tt.secure); (err == nil) != tt.want {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	m, err := auth.New(byPassword(auth.Plain, password), nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Permits(netip.Addr{}, false) == nil {
		t.Error("an address that is not known is taken for loopback")
	}
}

// bearerServer accepts one token, and refuses others with a reason.
func bearerServer(want string) server {
	return func(token []byte) ([]byte, error) {
		if string(token) != want {
			return []byte(`{"status":"invalid_token"}`), nil
		}
		return nil, nil
	}
}

func TestTokenFromFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("t1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := &auth.SASL{Mechanism: auth.OAuthBearer, OAuth: auth.OAuth{TokenFile: file, Extensions: map[string]string{"b": "2", "a": "1"}}}
	b := &broker{versions: [2]int16{0, 2}, mechanism: auth.OAuthBearer, tokens: bearerServer("n,,\x01auth=Bearer t1\x01a=1\x01b=2\x01\x01")}
	if _, err := logIn(t, conf, b); err != nil {
		t.Error(err)
	}
	// The byte order mark and the line end of an editor are no part of a token.
	for _, text := range []string{"\xef\xbb\xbft1\r\n", " t1 \n\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := logIn(t, conf, b); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	b.tokens = bearerServer("another")
	_, err := logIn(t, conf, b)
	refused(t, err, "invalid_token")
}

// One token serves many logins, until most of its life has passed; while the
// endpoint is down, it serves to its end.
func TestTokenFromEndpoint(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	var fails atomic.Bool
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		id, secret, _ := r.BasicAuth()
		if fails.Load() || id != "kproxy" || secret != "s3cret" || r.FormValue("scope") != "kafka more" || r.FormValue("grant_type") != "client_credentials" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, `{"error":"invalid_client","you_sent":%q}`, secret)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"t1","token_type":"bearer","expires_in":2}`)
	}))
	defer endpoint.Close()
	conf := &auth.SASL{Mechanism: auth.OAuthBearer, OAuth: auth.OAuth{
		TokenURL: endpoint.URL, ClientID: "kproxy", ClientSecret: auth.Secret{Text: "s3cret"}, Scope: "kafka more",
	}}
	m, err := auth.New(conf, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{versions: [2]int16{0, 2}, mechanism: auth.OAuthBearer, tokens: bearerServer("n,,\x01auth=Bearer t1\x01\x01")}
	for range 3 {
		if _, err := logInBy(t, m, b); err != nil {
			t.Fatal(err)
		}
	}
	if got := asked.Load(); got != 1 {
		t.Errorf("the endpoint was asked %d times, want 1", got)
	}
	fails.Store(true)
	failed := func() error { _, err := logInBy(t, m, b); return err }
	deadline := time.Now().Add(10 * time.Second)
	for err = failed(); err == nil && time.Now().Before(deadline); err = failed() {
	}
	if err == nil || !strings.Contains(err.Error(), "invalid_client") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v, want the endpoint's refusal without the secret", err)
	}
	if got := asked.Load(); got < 2 { // before the token's end too, unless this process has to wait so long
		t.Errorf("the endpoint was asked %d times, want it asked again", got)
	}
	fails.Store(false)
	if err := failed(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// signing is a Source of credentials for AWS_MSK_IAM.
type signing struct{}

func (signing) Get(context.Context) (auth.Credentials, error) {
	by := aws.Auth{AccessKey: "AKIAEXAMPLE", SecretKey: "very-secret", SessionToken: "session"}
	return auth.Credentials{Mechanism: by.AsManagedStreamingIAMMechanism(), Secrets: []string{by.SecretKey, by.SessionToken}}, nil
}

func (signing) Close() {}

// The signature for AWS is for the broker's own name, and an error does not repeat parts of a
// token from a broker's response.
func TestAWS(t *testing.T) {
	var got map[string]string
	var said error
	b := &broker{versions: [2]int16{0, 2}, mechanism: auth.AWSMSKIAM, tokens: func(token []byte) ([]byte, error) {
		if err := json.Unmarshal(token, &got); err != nil {
			t.Error(err)
		}
		if said != nil {
			return nil, fmt.Errorf("%w: %s %s", said, got["x-amz-signature"], token)
		}
		return []byte(`{"version":"2020_10_22"}`), nil
	}}
	conf := &auth.SASL{Mechanism: auth.AWSMSKIAM, AWS: auth.AWS{Region: "eu-central-1"}}
	m, err := auth.New(conf, func(got auth.AWS) auth.Source {
		if got != conf.AWS {
			t.Errorf("the source is made of %+v, want %+v", got, conf.AWS)
		}
		return signing{}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := logInBy(t, m, b); err != nil {
		t.Fatal(err)
	}
	if got["host"] != "b-1.orders.kafka.us-east-1.amazonaws.com" || !strings.HasPrefix(got["x-amz-credential"], "AKIAEXAMPLE/") {
		t.Errorf("got %v", got)
	}
	said = errors.New("no such signature")
	_, err = logInBy(t, m, b)
	refused(t, err, "no such signature: [secret] [secret]")
	if _, err := auth.New(conf, nil); !errors.Is(err, auth.ErrNoAWS) {
		t.Errorf("without a source: got %v", err)
	}
}

// A login waits for a silent broker as long as the context allows.
func TestLogInEnds(t *testing.T) {
	t.Parallel()
	m, err := auth.New(byPassword(auth.Plain, password), nil)
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	defer func() { _ = far.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := m.LogIn(ctx, near, "b:9092", "test"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// A broker's response is read as kmsg reads it, or refused.
func FuzzAnswer(f *testing.F) {
	for version := range int16(3) {
		resp := kmsg.NewPtrSASLAuthenticateResponse()
		resp.Version, resp.SASLAuthBytes, resp.SessionLifetimeMillis = version, []byte("token"), 7
		var payload []byte
		if version >= 2 {
			payload = append(payload, 0)
		}
		f.Add(version, resp.AppendTo(payload))
	}
	f.Add(int16(2), bytes.Repeat([]byte{0xff}, 40))
	shaken := kmsg.NewPtrSASLHandshakeResponse()
	shaken.Version = 1
	handshake := shaken.AppendTo(nil)
	f.Fuzz(func(t *testing.T, version int16, payload []byte) {
		m, err := auth.New(byPassword(auth.Plain, password), nil)
		if err != nil {
			t.Fatal(err)
		}
		l, err := m.Begin(t.Context(), "b:9092")
		if err != nil {
			t.Fatal(err)
		}
		l.Use(auth.Session{Version: max(version, -version) % 3})
		if err := l.Answer(t.Context(), handshake); err != nil {
			t.Fatal(err)
		}
		if err := l.Answer(t.Context(), payload); err != nil {
			if _, ok := errors.AsType[*auth.LoginError](err); !ok {
				t.Errorf("got %v", err)
			}
			return
		}
		if l.Request() != nil {
			t.Error("a login by PLAIN goes on behind its only token")
		}
	})
}

// A broker's first SCRAM message is refused before anything is computed if it asks
// for more than a users file may, or is not made as RFC 5802 has it.
func TestScramOfBrokersIsBounded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ rest, want string }{
		{"s=c2FsdA==,i=2147483647", "2147483647 SCRAM iterations"},
		{"s=c2FsdA==,i=1048577", "1048577 SCRAM iterations"},
		{"s=c2FsdA==,i=4095", "4095 SCRAM iterations"},
		{"s=c2FsdA==,i=-1", "-1 SCRAM iterations"},
		{"s=c2FsdA==,i=99999999999999999999", "not a number"},
		{"s=c2FsdA==,x=2147483647", "third field"},
		{"s=c2FsdA==,", "third field"},
		{"s=c2FsdA==", "third field"},
	} {
		for _, mechanism := range []string{auth.ScramSHA256, auth.ScramSHA512} {
			b := &broker{versions: [2]int16{0, 2}, mechanism: mechanism, tokens: func(token []byte) ([]byte, error) {
				_, nonce, _ := strings.Cut(string(token), ",r=")
				return []byte("r=" + nonce + "x," + tt.rest), nil
			}}
			_, err := logIn(t, byPassword(mechanism, password), b)
			refused(t, err, tt.want)
		}
	}
}

// Secrets that a broker repeats do not appear in errors.
func TestBrokerThatRepeatsThePassword(t *testing.T) {
	t.Parallel()
	b := &broker{versions: [2]int16{0, 2}, mechanism: auth.Plain, tokens: func(token []byte) ([]byte, error) {
		return nil, fmt.Errorf("no: %s, %q, %x\n%s %s", token, password, 1, base64.StdEncoding.EncodeToString(token), strings.Repeat("x", 100_000))
	}}
	_, err := logIn(t, byPassword(auth.Plain, password), b)
	refused(t, err, "SASL_AUTHENTICATION_FAILED")
	encoded := base64.StdEncoding.EncodeToString([]byte("\x00kproxy\x00" + password))
	if text := err.Error(); len(text) > 600 || strings.Contains(text, "\n") || strings.Contains(text, encoded) {
		t.Errorf("got %d bytes: %s", len(text), text)
	}
}
