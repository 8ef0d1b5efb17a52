package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"kproxy/internal/files"
)

// OAuth is the source of bearer tokens: a file, or a token endpoint to which kproxy sends
// client credentials (RFC 6749, 4.4).
type OAuth struct {
	TokenURL     string
	ClientID     string
	ClientSecret Secret
	Scope        string // several are separated by spaces

	TokenFile string // instead of TokenURL; read again at every login

	Extensions map[string]string // SASL extensions (KIP-342), sent with each token
}

// IsZero reports whether nothing is set.
func (o *OAuth) IsZero() bool {
	return o.TokenURL == "" && o.ClientID == "" && o.ClientSecret.IsZero() && o.Scope == "" && o.TokenFile == "" && len(o.Extensions) == 0
}

// tokens gives a token to each login.
type tokens struct {
	conf     *OAuth
	kept     *keeper[string]
	client   *http.Client
	endpoint *clientcredentials.Config // has the style of authentication that the endpoint accepts; nil: not known. Only fetch uses it
}

const (
	// tokenPart is the part of a token's life after which another is asked for.
	tokenPart = 0.75
	// No login begins with a token in the last tokenRest of its life, or in its last
	// tokenMargin: the broker would end the session at once.
	tokenRest   = 0.1
	tokenMargin = 10 * time.Second
	// tokenTimeout bounds one request to the endpoint.
	tokenTimeout = 10 * time.Second
	// unknownLife is the time after which a token without expires_in is replaced (RFC
	// 6749 only recommends expires_in). It is used until the new one comes, or a broker
	// refuses it.
	unknownLife = time.Minute
	// maxTokenHeader bounds the head of an endpoint's response. The body is bounded by
	// the library, by 1 MiB.
	maxTokenHeader = 64 << 10
)

func newTokens(conf *OAuth) *tokens {
	t := &tokens{conf: conf}
	t.kept = newKeeper("the token endpoint has not answered", tokenTimeout, t.fetch)
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // as package http documents
	transport.MaxResponseHeaderBytes = maxTokenHeader
	transport.DisableKeepAlives = true // net/http writes bytes that come on an idle connection to stderr, and they may hold the secret
	t.client = &http.Client{
		Transport: transport,
		// A redirect would send the client secret to another server, in plaintext if that
		// is http, and the token of that server would be used.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return t
}

// Close ends a question to the endpoint.
func (t *tokens) Close() { t.kept.close() }

// Get returns the token of one login.
func (t *tokens) Get(ctx context.Context) (Credentials, error) {
	var c Credentials
	var text string
	if t.conf.TokenFile != "" {
		var err error
		if text, err = readToken(ctx, t.conf.TokenFile); err != nil {
			return c, err
		}
	} else {
		token, err := t.kept.get(ctx)
		if err != nil {
			return c, err
		}
		text, c.Refused = token.value, func() { t.kept.forget(token) }
	}
	c.Mechanism, c.Secrets = oauth.Auth{Token: text, Extensions: t.conf.Extensions}.AsMechanism(), []string{text}
	return c, nil
}

// readToken returns the token in a file. A token has no blanks (RFC 6750): those around
// it come from an editor.
func readToken(ctx context.Context, file string) (string, error) {
	text, err := Secret{File: file}.Read(ctx)
	if text = strings.TrimSpace(text); text == "" && err == nil {
		err = fmt.Errorf("%s: %w", file, files.ErrEmpty)
	}
	return text, err
}

// fetch asks the token endpoint.
func (t *tokens) fetch(ctx context.Context) (*good[string], error) {
	secret, err := t.conf.ClientSecret.Read(ctx)
	if err != nil {
		return nil, err
	}
	if t.endpoint == nil {
		t.endpoint = &clientcredentials.Config{ClientID: t.conf.ClientID, TokenURL: t.conf.TokenURL}
		if t.conf.Scope != "" {
			t.endpoint.Scopes = []string{t.conf.Scope} // the library joins several by spaces
		}
	}
	t.endpoint.ClientSecret = secret
	asked := time.Now()
	token, err := t.endpoint.Token(context.WithValue(ctx, oauth2.HTTPClient, t.client))
	if err != nil {
		t.endpoint = nil // the endpoint may accept another style from now on
		return nil, t.explain(err, secret)
	}
	return &good[string]{
		value: token.AccessToken,
		renew: renewToken(asked, token.Expiry),
		until: lastUse(asked, token.Expiry),
	}, nil
}

// renewToken returns the time at which a token is renewed.
func renewToken(asked, expiry time.Time) time.Time {
	if !expiry.After(asked) { // it is missing or invalid
		return asked.Add(unknownLife)
	}
	return asked.Add(time.Duration(tokenPart * float64(expiry.Sub(asked))))
}

// lastUse returns the time until which logins may use a token; zero: no limit.
func lastUse(asked, expiry time.Time) time.Time {
	if !expiry.After(asked) {
		return time.Time{}
	}
	return expiry.Add(-min(tokenMargin, time.Duration(tokenRest*float64(expiry.Sub(asked)))))
}

// explain returns an error of the token endpoint for the log. It keeps the code and the
// description, without the secret: a response may repeat the request.
func (t *tokens) explain(err error, secret string) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // its own text has the whole URL
		}
		return spokenError(fmt.Errorf("ask the token endpoint %s: %w", t.place(), err), forms(secret))
	}
	status, leads := "no status", ""
	if r := refused.Response; r != nil {
		status, leads = r.Status, redirect(r, secret)
	}
	text := spoken(strings.TrimSpace(status+" "+refused.ErrorCode+" "+refused.ErrorDescription), forms(secret))
	return fmt.Errorf("the token endpoint %s responds %s%s", t.place(), text, leads)
}

// place is the URL of the token endpoint without its query, which may hold a key.
func (t *tokens) place() string {
	place, _, hasQuery := strings.Cut(t.conf.TokenURL, "?")
	if hasQuery {
		place += "?…"
	}
	return place
}

// redirect describes the target of a redirect, if the response is one.
func redirect(r *http.Response, secret string) string {
	if r.StatusCode < 300 || r.StatusCode > 399 {
		return ""
	}
	to, err := r.Location()
	if err != nil {
		return ""
	}
	place := url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path} // the rest may hold anything
	return "; it leads to " + spoken(place.String(), forms(secret)) + ", and kproxy follows no redirect with a secret: write that as token_url if it is right"
}
