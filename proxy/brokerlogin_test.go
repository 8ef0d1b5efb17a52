package proxy_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// door is the login of a broker, by PLAIN.
type door struct {
	password atomic.Pointer[string]
	lifetime int64 // of a session, in milliseconds
	logins   atomic.Int64
	held     chan struct{} // a login's last response waits for its end; nil: it does not
	cuts     bool          // a login's first token ends the connection
}

const secretPassword = "Pa55word-of-kproxy"

func newDoor() *door {
	d := &door{}
	d.wants(secretPassword)
	return d
}

func (d *door) wants(password string) { d.password.Store(&password) }

// logsIn makes the clusters of conf log in at the door.
func (d *door) logsIn(conf *proxy.Config) *proxy.Config {
	for i := range conf.Clusters {
		conf.Clusters[i].SASL = &config.SASL{Mechanism: "PLAIN", Username: "kproxy", Password: config.Secret{Text: secretPassword}}
	}
	return conf
}

// admits moves a whole login, and reports whether it was a good one.
func (d *door) admits(c brokerConn) bool {
	r, err := c.tryRequest()
	if err != nil || r.Key != kmsg.ApiVersions.Int16() {
		return false
	}
	versions := kmsg.NewPtrApiVersionsResponse()
	versions.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 17, MaxVersion: 1}, {ApiKey: 36, MaxVersion: 2}}
	if c.tryWrite(answerFrame(r.CorrelationID, versions)) != nil {
		return false
	}
	return d.loginFrames(c)
}

// loginFrames moves the frames of a login, the first on a connection or a later
// one.
func (d *door) loginFrames(c brokerConn) bool {
	r, err := c.tryRequest()
	if err != nil || r.Key != kmsg.SASLHandshake.Int16() || r.Version != 1 {
		return false
	}
	if c.tryWrite(answerFrame(r.CorrelationID, handshakeAnswer(1, 0))) != nil {
		return false
	}
	if r, err = c.tryRequest(); err != nil || r.Key != kmsg.SASLAuthenticate.Int16() || r.Version != 2 {
		return false
	}
	if d.cuts {
		return false
	}
	if d.held != nil {
		<-d.held
	}
	resp, good := d.judge(r)
	return c.tryWrite(answerFrame(r.CorrelationID, resp)) == nil && good
}

func (d *door) judge(r request) (kmsg.Response, bool) {
	req := of(2, kmsg.NewPtrSASLAuthenticateRequest())
	resp := answerTo(2, kmsg.NewPtrSASLAuthenticateResponse())
	if req.ReadFrom(r.frame[r.Len:]) == nil && string(req.SASLAuthBytes) == "\x00kproxy\x00"+*d.password.Load() {
		d.logins.Add(1)
		resp.SessionLifetimeMillis = d.lifetime
		return resp, true
	}
	resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
	resp.ErrorMessage = new("Authentication failed: Invalid username or password")
	return resp, false
}

// keepsSecrets fails the test if a log line has the password.
func keepsSecrets(t *testing.T, l *lab) {
	t.Helper()
	for _, line := range l.log.entries() {
		if strings.Contains(line, secretPassword) {
			t.Errorf("the log tells the password: %s", line)
		}
	}
}
