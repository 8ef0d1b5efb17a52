package auth

import (
	"encoding/base64"
	"encoding/json"
	"net/url"

	"kproxy/internal/foreign"
)

// spoken returns what a broker or an endpoint has said, fit for a log: on one line,
// bounded, and without the secrets, in any form in which they may have been sent.
func spoken(text string, secrets []string) string {
	return foreign.Line(foreign.Without(text, forms(secrets)...))
}

// spokenError is [foreign.Error] without the secrets in any form.
func spokenError(err error, secrets []string) error {
	return foreign.Error(err, forms(secrets)...)
}

// forms returns each secret as it is, in base64 and as part of a URL.
func forms(secrets []string) []string {
	var all []string
	for _, secret := range secrets {
		all = append(all, secret, url.QueryEscape(secret), url.PathEscape(secret),
			base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)))
	}
	return all
}

// sent returns the secrets in a token that was sent: the whole of it and, where it
// is JSON, each value. AWS's signature is one that the broker can use again.
func sent(token []byte) []string {
	all := []string{string(token)}
	var values map[string]string
	if json.Unmarshal(token, &values) == nil {
		for _, name := range []string{"x-amz-signature", "x-amz-security-token"} {
			all = append(all, values[name])
		}
	}
	return all
}
