package simulate

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The exchanges of a client's login. Kproxy responds to them itself, or a broker does.
const (
	shake    = "shake"
	login    = "login"
	badLogin = "badlogin" // by a wrong password; only kproxy is given one
)

const clientUser = "alice"

// isLogin reports whether an exchange is of a login.
func isLogin(name string) bool { return name == shake || name == login || name == badLogin }

func shakeRequest(call) kmsg.Request {
	req := kmsg.NewPtrSASLHandshakeRequest()
	req.Mechanism = "PLAIN"
	return req
}

func loginBy(secret string) func(call) kmsg.Request {
	return func(call) kmsg.Request {
		req := kmsg.NewPtrSASLAuthenticateRequest()
		req.SASLAuthBytes = []byte("\x00" + clientUser + "\x00" + secret)
		return req
	}
}

// shakenBy and loggedInBy are the responses of a broker. Each has the token of its call.
func shakenBy(c call, _ []place) kmsg.Response {
	resp := kmsg.NewPtrSASLHandshakeResponse()
	resp.SupportedMechanisms = []string{"PLAIN", strconv.Itoa(int(c.token))}
	return resp
}

func loggedInBy(c call, _ []place) kmsg.Response {
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	resp.SASLAuthBytes = []byte(strconv.Itoa(int(c.token)))
	return resp
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
		if resp.ErrorCode != want || !c.own && string(resp.SASLAuthBytes) != token {
			return fmt.Errorf("error code %d, want %d; token %q", resp.ErrorCode, want, resp.SASLAuthBytes)
		}
	default:
		return errors.New("it is no response to a login")
	}
	return nil
}

// loginOf moves the login of a client at a broker by one of the client's requests.
func (c *brokerConn) loginOf(sent call) error {
	switch {
	case sent.name == shake:
		c.clientLogin = shaken
	case isLogin(sent.name):
		c.clientLogin = loggedIn
	case c.clientLogin == shaken:
		return fmt.Errorf("%s of client %d during its login", sent.name, c.client.number)
	case c.clientLogin != loggedIn:
		return fmt.Errorf("%s of client %d before its login", sent.name, c.client.number)
	}
	return nil
}
