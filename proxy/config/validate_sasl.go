package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"kproxy/internal/auth"
)

// sasl checks the proxy's own login at a cluster. A key that the mechanism does not use is a
// mistake too: its author expects it to have an effect.
func (v *validator) sasl(key string, s *SASL) {
	if s == nil {
		return
	}
	key += ".sasl"
	switch s.Mechanism {
	case auth.Plain, auth.ScramSHA256, auth.ScramSHA512:
		if s.Username == "" {
			v.add(key+".username", "missing", "write the user that kproxy logs in as")
		}
		v.secret(key+".password_file", s.Password, ", or its environment variable as password_env")
	case auth.OAuthBearer:
		v.oauth(key+".oauth", &s.OAuth, s.AllowPlaintext)
	case auth.AWSMSKIAM:
		if v.parts.AWS == nil {
			v.add(key+".mechanism", auth.ErrNoAWS.Error(), "use a kproxy that is built without the tag small, or set Parts.AWS of its config.Config to aws.Source of package proxy/aws")
		}
		v.aws(key+".aws", &s.AWS)
	default:
		v.add(key+".mechanism", fmt.Sprintf("%q is no mechanism that kproxy knows", s.Mechanism), "write one of "+strings.Join(auth.Mechanisms(), ", "))
		return
	}
	if byPassword := s.Mechanism == auth.Plain || strings.HasPrefix(s.Mechanism, "SCRAM-"); !byPassword && (s.Username != "" || !s.Password.IsZero()) {
		v.add(key+".username", "the mechanism "+s.Mechanism+" has no username and no password", "take them out")
	}
	if s.Mechanism != auth.OAuthBearer && !s.OAuth.IsZero() {
		v.add(key+".oauth", "the mechanism is "+s.Mechanism, "take it out, or set mechanism to "+auth.OAuthBearer)
	}
	if s.Mechanism != auth.AWSMSKIAM && s.AWS != (AWS{}) {
		v.add(key+".aws", "the mechanism is "+s.Mechanism, "take it out, or set mechanism to "+auth.AWSMSKIAM)
	}
}

// AWS's own rules for names in its requests.
var (
	awsSessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	awsExternalID  = regexp.MustCompile(`^[\w+=,.@:/-]{2,}$`)
)

const maxExternalID = 1224

func (v *validator) aws(key string, a *AWS) {
	if a.SessionName != "" && !awsSessionName.MatchString(a.SessionName) {
		v.add(key+".session_name", "AWS does not take it", "write 2 to 64 letters, digits and any of _+=,.@-")
	}
	switch {
	case a.ExternalID == "":
	case a.RoleARN == "":
		v.add(key+".external_id", "there is no role_arn to assume with it", "write role_arn, or the external_id of a profile's role into the profile")
	case len(a.ExternalID) > maxExternalID || !awsExternalID.MatchString(a.ExternalID):
		v.add(key+".external_id", "AWS does not take it", "write 2 to 1224 letters, digits and any of _+=,.@:/-")
	}
}

// secret checks that a secret has exactly one source. key is that of its file; or names the
// other source, if there is one.
func (v *validator) secret(key string, s Secret, or string) {
	switch {
	case s.IsZero():
		v.add(key, "missing", "write the file that holds it"+or)
	case s.File != "" && s.Env != "":
		v.add(key, "the environment variable "+s.Env+" is named too", "keep one of them")
	}
}

func (v *validator) oauth(key string, o *OAuth, plaintext bool) {
	switch {
	case o.TokenFile != "" && o.TokenURL != "":
		v.add(key+".token_file", "there is token_url too", "keep one of them")
		return
	case o.TokenFile != "":
		if o.ClientID != "" || o.Scope != "" || !o.ClientSecret.IsZero() {
			v.add(key+".token_file", "client_id, client_secret_file and scope are for token_url", "take them out, or write token_url instead")
		}
	case o.TokenURL == "":
		v.add(key+".token_url", "missing", "write the URL of the token endpoint, or token_file")
	default:
		v.tokenURL(key+".token_url", o.TokenURL, plaintext)
		if o.ClientID == "" {
			v.add(key+".client_id", "missing", "write the client that kproxy is to the token endpoint")
		}
		v.secret(key+".client_secret_file", o.ClientSecret, "")
	}
	for name := range o.Extensions {
		if name == "auth" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || name == "" {
			v.add(key+".extensions", fmt.Sprintf("%q is no name of an extension", name), "use letters alone, and not auth")
		}
	}
}

// tokenURL checks the endpoint to which the client secret is sent.
func (v *validator) tokenURL(key, address string, plaintext bool) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https"}, u.Scheme) || u.User != nil {
		v.add(key, "it is no URL of a token endpoint", "write one such as https://login.example.com/oauth2/token")
		return
	}
	loopback := slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
	if u.Scheme == "http" && !loopback && !plaintext {
		v.add(key, "the client secret would go to it in plaintext", "write https, or set sasl.allow_plaintext if the network may see it")
	}
}

// login checks the clients' login at a listener.
func (v *validator) login(key string, l *Login) {
	if l == nil {
		return
	}
	if l.UsersFile == "" {
		v.add(key+".users_file", "missing", "write the file of users, with a line of kproxy passwd for each")
	}
	known := strings.Join(auth.UserMechanisms(), ", ")
	if len(l.Mechanisms) == 0 {
		v.add(key+".mechanisms", "missing", "write those that clients may choose from: "+known)
	}
	for i, m := range l.Mechanisms {
		item := item(key+".mechanisms", i)
		switch {
		case !slices.Contains(auth.UserMechanisms(), m):
			v.add(item, fmt.Sprintf("%q is no mechanism by which clients can log in here", m), "write some of "+known)
		case slices.Contains(l.Mechanisms[:i], m):
			v.add(item, m+" is there twice", "take it out")
		}
	}
}
