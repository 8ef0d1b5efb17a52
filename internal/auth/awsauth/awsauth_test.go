package awsauth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"kproxy/internal/auth"
	"kproxy/internal/auth/awsauth"
)

// awsAlone hides every AWS setting except those in env.
func awsAlone(t *testing.T, env map[string]string) {
	t.Helper()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN",
		"AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ENDPOINT_URL_STS",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	for name, value := range env {
		t.Setenv(name, value)
	}
}

// host is the broker that a login is for.
const host = "b-1.orders.kafka.us-east-1.amazonaws.com:9098"

// source is closed at the end of the test.
func source(t *testing.T, conf auth.AWS) auth.Source {
	t.Helper()
	s := awsauth.New(conf)
	t.Cleanup(s.Close)
	return s
}

// sign returns the fields of a login's token, and reports that the broker refuses it if
// refused is set.
func sign(t *testing.T, s auth.Source, refused bool) (fields map[string]string, err error) {
	t.Helper()
	c, err := s.Get(t.Context())
	if err != nil {
		return nil, err
	}
	_, token, err := c.Mechanism.Authenticate(t.Context(), host)
	if err != nil {
		return nil, err
	}
	if refused {
		c.Refused()
	}
	return fields, json.Unmarshal(token, &fields)
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fakeSTS assumes roles, and keeps the requests.
type fakeSTS struct {
	mu    sync.Mutex
	asked []url.Values
	kept  int // connections that the client does not end with the response
	life  time.Duration
	fails string // in place of credentials
}

func (s *fakeSTS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = r.ParseForm()
	if !r.Close { // net/http writes to stderr whatever comes on a connection that is kept
		s.kept++
	}
	s.asked = append(s.asked, r.PostForm)
	w.Header().Set("Content-Type", "text/xml")
	if s.fails != "" {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, `<ErrorResponse><Error><Code>AccessDenied</Code><Message>%s %s</Message></Error></ErrorResponse>`, s.fails, r.PostForm.Get("WebIdentityToken"))
		return
	}
	action := r.PostForm.Get("Action")
	_, _ = fmt.Fprintf(w, `<%[1]sResponse><%[1]sResult><Credentials><AccessKeyId>ASIA%[2]d</AccessKeyId><SecretAccessKey>very-secret</SecretAccessKey>`+
		`<SessionToken>session-token</SessionToken><Expiration>%[3]s</Expiration></Credentials></%[1]sResult></%[1]sResponse>`,
		action, len(s.asked), time.Now().Add(s.life).UTC().Format(time.RFC3339))
}

func startSTS(t *testing.T) *fakeSTS {
	t.Helper()
	s := &fakeSTS{life: time.Hour}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.Close()
		if s.kept > 0 {
			t.Errorf("%d connections to STS are kept", s.kept)
		}
	})
	t.Setenv("AWS_ENDPOINT_URL_STS", server.URL)
	return s
}

// The signature is for the broker's own name and the region in it.
func TestAWS(t *testing.T) {
	awsAlone(t, map[string]string{"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "very-secret", "AWS_SESSION_TOKEN": "session"})
	got, err := sign(t, source(t, auth.AWS{Region: "eu-central-1"}), false)
	if err != nil {
		t.Fatal(err)
	}
	if got["host"] != strings.TrimSuffix(host, ":9098") || got["action"] != "kafka-cluster:Connect" ||
		!strings.HasPrefix(got["x-amz-credential"], "AKIAEXAMPLE/") || !strings.Contains(got["x-amz-credential"], "/us-east-1/") || got["x-amz-security-token"] != "session" {
		t.Errorf("got %v", got)
	}
	awsAlone(t, nil)
	if _, err := sign(t, source(t, auth.AWS{Profile: "none"}), false); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a profile that there is not: got %v", err)
	}
}

// The session name is part of the principal: it is the same each time. A configured one is
// used.
func TestAWSSessionNames(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	put(t, token, "web-identity-token\n")
	static := map[string]string{"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "very-secret"}
	web := map[string]string{"AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/kproxy", "AWS_WEB_IDENTITY_TOKEN_FILE": token}
	named := map[string]string{"AWS_ROLE_SESSION_NAME": "by-env", "AWS_ROLE_ARN": web["AWS_ROLE_ARN"], "AWS_WEB_IDENTITY_TOKEN_FILE": token}
	const role = "arn:aws:iam::111122223333:role/orders"
	for _, tt := range []struct {
		name           string
		env            map[string]string
		conf           auth.AWS
		session, outer string
	}{
		{"web identity", web, auth.AWS{}, "kproxy", ""},
		{"web identity, named by the environment", named, auth.AWS{}, "by-env", ""},
		{"web identity, named by the configuration", named, auth.AWS{SessionName: "edge"}, "edge", ""},
		{"a role", static, auth.AWS{RoleARN: role}, "kproxy", ""},
		{"a role, named by the environment", map[string]string{
			"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "very-secret", "AWS_ROLE_SESSION_NAME": "by-env",
		}, auth.AWS{RoleARN: role}, "by-env", ""},
		{"a role with both", static, auth.AWS{RoleARN: role, SessionName: "edge", ExternalID: "outer"}, "edge", "outer"},
	} {
		awsAlone(t, tt.env)
		s := startSTS(t)
		for range 2 { // two processes
			if _, err := sign(t, source(t, tt.conf), false); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		if len(s.asked) != 2 {
			t.Errorf("%s: STS was asked %d times, want 2", tt.name, len(s.asked))
		}
		for _, asked := range s.asked {
			if asked.Get("RoleSessionName") != tt.session || asked.Get("ExternalId") != tt.outer || tt.conf.RoleARN != "" && asked.Get("RoleArn") != tt.conf.RoleARN {
				t.Errorf("%s: STS was asked %v", tt.name, asked)
			}
			if text := asked.Get("WebIdentityToken"); text != "" && text != "web-identity-token" {
				t.Errorf("%s: the token is %q", tt.name, text)
			}
		}
	}
}

// Credentials that brokers refuse are read again.
func TestAWSCredentialsThatAreRefused(t *testing.T) {
	awsAlone(t, map[string]string{"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "very-secret"})
	s := startSTS(t)
	from := source(t, auth.AWS{RoleARN: "arn:aws:iam::111122223333:role/orders"})
	if got, err := sign(t, from, true); err != nil || !strings.HasPrefix(got["x-amz-credential"], "ASIA1/") {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := sign(t, from, false); err != nil || !strings.HasPrefix(got["x-amz-credential"], "ASIA2/") || len(s.asked) != 2 {
		t.Errorf("got %v, %v after %d questions", got, err, len(s.asked))
	}
}

// AWS's error is short in the log and repeats no secret.
func TestAWSErrorsRepeatNothing(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	put(t, token, "web-identity-token\n")
	awsAlone(t, map[string]string{"AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/kproxy", "AWS_WEB_IDENTITY_TOKEN_FILE": token})
	s := startSTS(t)
	s.fails = "not you, "
	_, err := sign(t, source(t, auth.AWS{}), false)
	if err == nil || !strings.Contains(err.Error(), "AccessDenied: not you") || strings.Contains(err.Error(), "web-identity-token") {
		t.Errorf("got %v", err)
	}
}

// The error of a credential_process has the kind of the failure and nothing of its
// output, whether its profile is in use or the source of a role.
func TestAWSProcess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the commands are a Unix shell's")
	}
	const output = `{"Version":1,"AccessKeyId":"AKIAPROCESS","SecretAccessKey":"very-secret","SessionToken":"session"}`
	for _, tt := range []struct{ command, want string }{
		{"echo '" + output + "'", ""},
		{"echo '" + output + "'; echo very-secret >&2", ""},
		{"echo Welcome; echo '" + output + "'", "something beside the JSON"},
		{"echo '" + output + "'; exit 3", "failed with exit status 3"},
		{"echo '{\"SecretAccessKey\":\"very-secret\"}'", "no usable credentials"},
		{"while echo very-secret; do :; done", "more than 65536 bytes"},
		{"kill -9 $$", "was killed"},
		{"echo '" + strings.Replace(output, `"Version"`, `"Expiration":"2020-01-01T00:00:00Z","Version"`, 1) + "'", "ended at 2020-01-01"},
	} {
		awsAlone(t, nil)
		startSTS(t)
		file := filepath.Join(t.TempDir(), "config")
		put(t, file, "[default]\ncredential_process = "+tt.command+"\n[profile role]\nrole_arn = arn:aws:iam::111122223333:role/kproxy\nsource_profile = default\n")
		t.Setenv("AWS_CONFIG_FILE", file)
		for _, profile := range []string{"", "role"} {
			got, err := sign(t, source(t, auth.AWS{Profile: profile}), false)
			switch {
			case tt.want == "" && (err != nil || profile == "" && !strings.HasPrefix(got["x-amz-credential"], "AKIAPROCESS/")):
				t.Errorf("%s: got %v, %v", tt.command, got, err)
			case tt.want != "" && profile == "role" && strings.HasPrefix(tt.want, "ended"): // STS judges
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "very-secret")):
				t.Errorf("%s, profile %q: got %v, want %s", tt.command, profile, err, tt.want)
			}
		}
	}
}

// Processes that a credential_process leaves behind delay no login.
func TestAWSProcessThatLeavesSomethingBehind(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the command is a Unix shell's")
	}
	awsAlone(t, nil)
	dir := t.TempDir()
	file, pid := filepath.Join(dir, "config"), filepath.Join(dir, "pid")
	put(t, file, "[default]\ncredential_process = /bin/sh -c 'kill -STOP $$' & echo $! > "+pid+"\n")
	t.Setenv("AWS_CONFIG_FILE", file)
	_, err := sign(t, source(t, auth.AWS{}), false)
	if err == nil || !strings.Contains(err.Error(), "left something behind") {
		t.Errorf("got %v", err)
	}
	text, readErr := os.ReadFile(pid)
	if readErr != nil {
		t.Fatal(readErr)
	}
	var left int
	if _, err := fmt.Sscan(string(text), &left); err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(left)
	if err != nil {
		t.Fatal(err)
	}
	_ = process.Kill()
}
