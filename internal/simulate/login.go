package simulate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/xdg-go/scram"

	"kproxy/internal/auth"
	"kproxy/internal/wire"
)

// The exchanges of a client's login. Kproxy responds to them itself, or a broker does.
const (
	shake      = "shake"
	rawShake   = "rawshake"   // tokens without headers follow
	firstToken = "firsttoken" // of SCRAM's two
	login      = "login"      // the last token
	badLogin   = "badlogin"   // by a wrong password; only kproxy is given one
)

const (
	clientUser = "alice"
	proxyUser  = "kproxy"
)

// isLogin reports whether an exchange is of a login.
func isLogin(name string) bool {
	return name == shake || name == rawShake || name == firstToken || name == login || name == badLogin
}

var scramHashes = map[string]scram.HashGeneratorFcn{auth.ScramSHA256: scram.SHA256, auth.ScramSHA512: scram.SHA512}

// users are the users of one of SCRAM's mechanisms, at the brokers and as clients.
type users struct {
	broker       *scram.Server
	right, wrong *scram.Client // of clientUser; they keep their keys, which take milliseconds to make
}

func newUsers(hash scram.HashGeneratorFcn) (u *users, err error) {
	u = &users{}
	kept := map[string]scram.StoredCredentials{}
	factors := scram.KeyFactors{Salt: "of a simulation", Iters: auth.MinIterations}
	for _, name := range []string{clientUser, proxyUser} {
		client, err := hash.NewClientUnprepped(name, password, "")
		if err != nil {
			return nil, err
		}
		if kept[name], err = client.GetStoredCredentialsWithError(factors); err != nil {
			return nil, err
		}
	}
	u.broker, err = hash.NewServer(func(name string) (scram.StoredCredentials, error) { return kept[name], nil })
	if err == nil {
		u.right, err = hash.NewClientUnprepped(clientUser, password, "")
	}
	if err == nil {
		u.wrong, err = hash.NewClientUnprepped(clientUser, "wrong", "")
	}
	return u, err
}

// plainToken is the token of PLAIN.
func plainToken(user, secret string) []byte { return []byte("\x00" + user + "\x00" + secret) }

func shakeRequest(c call) kmsg.Request {
	req := kmsg.NewPtrSASLHandshakeRequest()
	req.Mechanism = c.mechanism
	return req
}

func tokenRequest(c call) kmsg.Request {
	req := kmsg.NewPtrSASLAuthenticateRequest()
	req.SASLAuthBytes = c.auth
	return req
}

// shakenBy and tokenResponse are the responses of a broker. Each has the token of its call.
func shakenBy(c call, _ []place) kmsg.Response {
	resp := kmsg.NewPtrSASLHandshakeResponse()
	resp.SupportedMechanisms = []string{c.mechanism, strconv.Itoa(int(c.token))}
	return resp
}

func tokenResponse(c call, _ []place) kmsg.Response {
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	resp.SASLAuthBytes = c.auth
	return resp
}

// rawFrame is a token without headers.
func rawFrame(token []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...)
}

// serverToken is the server's token in a response.
func serverToken(c call, frame []byte) []byte {
	if c.raw {
		return frame[wire.SizeLen:]
	}
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	resp.SetVersion(exchanges[c.name].version)
	if len(frame) <= wire.ResponsePrefixLen || resp.ReadFrom(frame[wire.ResponsePrefixLen+1:]) != nil {
		return nil // judge says it
	}
	return resp.SASLAuthBytes
}

// judgeRaw is judge for a token without headers. SCRAM's are judged by the client's conversation.
func judgeRaw(c call, frame []byte) error {
	if token := string(serverToken(c, frame)); c.mechanism == auth.Plain && !c.own && token != strconv.Itoa(int(c.token)) {
		return fmt.Errorf("it is the token %q, want %d", token, c.token)
	}
	return nil
}

// judgeLogin returns the fault of a response to a login; nil: it is right.
func judgeLogin(c call, resp kmsg.Response) error {
	token := strconv.Itoa(int(c.token))
	switch resp := resp.(type) {
	case *kmsg.SASLHandshakeResponse:
		if resp.ErrorCode != 0 || !c.own && !slices.Contains(resp.SupportedMechanisms, token) {
			return fmt.Errorf("error code %d, mechanisms %q", resp.ErrorCode, resp.SupportedMechanisms)
		}
	case *kmsg.SASLAuthenticateResponse:
		want := int16(0)
		if c.name == badLogin {
			want = kerr.SaslAuthenticationFailed.Code
		}
		if resp.ErrorCode != want || !c.own && c.mechanism == auth.Plain && string(resp.SASLAuthBytes) != token {
			return fmt.Errorf("error code %d, want %d; token %q", resp.ErrorCode, want, resp.SASLAuthBytes)
		}
	default:
		return errors.New("it is no response to a login")
	}
	return nil
}

// loginOf moves the login of a client at a broker by one of the client's requests, and returns the
// call with the broker's token for it.
func (c *brokerConn) loginOf(sent call) (call, error) {
	switch {
	case sent.name == shake || sent.name == rawShake:
		c.clientLogin = shaken
		if u := c.set.run.Files.roster[sent.mechanism]; u != nil {
			c.scram = u.broker.NewConversation()
		}
		return sent, nil
	case !isLogin(sent.name) && c.clientLogin == shaken:
		return sent, fmt.Errorf("%s of client %d during its login", sent.name, c.client.number)
	case !isLogin(sent.name) && c.clientLogin != loggedIn:
		return sent, fmt.Errorf("%s of client %d before its login", sent.name, c.client.number)
	case !isLogin(sent.name):
		return sent, nil
	}
	if sent.name != firstToken {
		c.clientLogin = loggedIn
	}
	if sent.mechanism == auth.Plain {
		sent.auth = []byte(strconv.Itoa(int(sent.token)))
		return sent, nil
	}
	token, err := c.scram.Step(string(sent.auth))
	sent.auth = []byte(token)
	return sent, err
}

// proxyToken is the broker's response to a token of kproxy's own login.
func (c *brokerConn) proxyToken(token []byte) (response []byte, done bool, err error) {
	mechanism := c.set.run.script.Settings.Mechanism
	if mechanism == auth.Plain {
		if !bytes.Equal(token, plainToken(proxyUser, password)) {
			err = errors.New("kproxy logs in with another password")
		}
		return nil, true, err
	}
	said, err := c.scram.Step(string(token))
	return []byte(said), c.scram.Done(), err
}
