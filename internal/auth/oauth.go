package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"kproxy/internal/files"
)

// OAuth says where bearer tokens come from: a file, or a token endpoint that is
// asked with client credentials (RFC 6749, 4.4).
type OAuth struct {
	TokenURL     string
	ClientID     string
	ClientSecret Secret
	Scope        string // several are parted by spaces

	TokenFile string // instead of TokenURL; read again at every login

	Extensions map[string]string // SASL extensions (KIP-342), sent with each token
}

// IsZero reports whether nothing is set.
func (o *OAuth) IsZero() bool {
	return o.TokenURL == "" && o.ClientID == "" && o.ClientSecret.IsZero() && o.Scope == "" && o.TokenFile == "" && len(o.Extensions) == 0
}

// tokens gives a token to each login. One from an endpoint is kept until most of
// its life has passed, so that logins do not wait for the endpoint, nor begin
// with a token that expires at once.
type tokens struct {
	conf OAuth

	mu     sync.Mutex // guards the following; whoever asks the endpoint holds it
	token  string
	renew  time.Time // when another is asked for
	expiry time.Time
}

const (
	tokenPart    = 0.75             // of a token's life after which another is asked for
	tokenTimeout = 10 * time.Second // for one question to the endpoint
)

// bearer is what franz-go asks at each login.
func (t *tokens) bearer(ctx context.Context) (oauth.Auth, error) {
	text, err := t.next(ctx)
	return oauth.Auth{Token: text, Extensions: t.conf.Extensions}, err
}

func (t *tokens) next(ctx context.Context) (string, error) {
	if t.conf.TokenFile != "" {
		// A token has no blanks (RFC 6750): those around it are an editor's.
		text, err := Secret{File: t.conf.TokenFile}.Read(ctx)
		if text = strings.TrimSpace(text); text == "" && err == nil {
			err = fmt.Errorf("%s: %w", t.conf.TokenFile, files.ErrEmpty)
		}
		return text, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.token != "" && now.Before(t.renew) {
		return t.token, nil
	}
	token, err := t.ask(ctx)
	switch {
	case err == nil:
	case t.token != "" && now.Before(t.expiry):
		return t.token, nil // the old one is good yet; the next login asks again
	default:
		return "", err
	}
	t.token, t.expiry, t.renew = token.AccessToken, token.Expiry, time.Time{}
	if !token.Expiry.IsZero() {
		t.renew = now.Add(time.Duration(tokenPart * float64(token.Expiry.Sub(now))))
	}
	return t.token, nil
}

// ask asks the token endpoint. Of what that answers, an error keeps the code and
// the description alone: an answer may repeat the question.
func (t *tokens) ask(ctx context.Context) (*oauth2.Token, error) {
	secret, err := t.conf.ClientSecret.Read(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	endpoint := clientcredentials.Config{ClientID: t.conf.ClientID, ClientSecret: secret, TokenURL: t.conf.TokenURL}
	if t.conf.Scope != "" {
		endpoint.Scopes = []string{t.conf.Scope} // the library joins several by spaces
	}
	token, err := endpoint.Token(ctx)
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		status := "no status"
		if refused.Response != nil {
			status = refused.Response.Status
		}
		return nil, fmt.Errorf("the token endpoint %s answers %s %s %s", t.conf.TokenURL, status, refused.ErrorCode, refused.ErrorDescription)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the token endpoint: %w", err)
	}
	return token, nil
}
