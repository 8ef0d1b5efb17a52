package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"strings"

	"kproxy/internal/auth"
	"kproxy/internal/logkey"
)

// minToken is fewer characters than a token is made of that nobody can guess.
const minToken = 16

// guard lets those through who send the token (RFC 6750). The zero guard lets all
// through.
type guard struct {
	token auth.Secret
	log   *slog.Logger
}

// admits reports whether a request may have everything.
func (g *guard) admits(r *http.Request) bool {
	if g.token.IsZero() {
		return true
	}
	token, err := g.token.Read()
	if err != nil || len(token) < minToken {
		g.log.Error("the admin token cannot be read; nobody is let in", slog.Any(logkey.Error, err),
			slog.String(logkey.Fix, "correct the file of "+key+".token_file; it is read at each request"))
		return false
	}
	scheme, sent, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	want, got := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(strings.TrimSpace(sent)))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// only answers 401 to those who do not send the token.
func (g *guard) only(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.admits(r) {
			refuse(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func refuse(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="kproxy"`)
	http.Error(w, "send the token of admin.token_file: Authorization: Bearer TOKEN", http.StatusUnauthorized)
}
