package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"kproxy/internal/auth"
	"kproxy/internal/logkey"
)

const (
	// minToken is the least number of characters of a token. A good one has more.
	minToken = 16
	// sayAgain is how often the same bad token file is logged: any client can cause a
	// read.
	sayAgain = time.Minute
)

// readToken reads a token, without a byte order mark and line end. One that no header
// can carry, or that can be guessed, is an error.
func readToken(ctx context.Context, file string) (string, error) {
	text, err := auth.Secret{File: file}.Read(ctx)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(text)
	if len(token) < minToken {
		return "", fmt.Errorf("%s holds a token of %d characters, and %d are the least", file, len(token), minToken)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s holds more than one word, or characters that are not ASCII", file)
	}
	return token, nil
}

// guard admits requests with the token (RFC 6750). Without a file it admits all.
type guard struct {
	file string
	log  *slog.Logger

	mu   sync.Mutex // guards the following
	said string     // why the file is invalid, as logged
	when time.Time
}

// admits reports whether a request gets everything.
func (g *guard) admits(r *http.Request) bool {
	if g.file == "" {
		return true
	}
	scheme, sent, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	token, err := readToken(r.Context(), g.file)
	if err != nil {
		g.complain(err)
		return false
	}
	want, got := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(strings.TrimSpace(sent)))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

func (g *guard) complain(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.said == err.Error() && time.Since(g.when) < sayAgain {
		return
	}
	g.said, g.when = err.Error(), time.Now()
	g.log.Error("there is no good admin token; no request is let in", slog.Any(logkey.Error, err),
		slog.String(logkey.Fix, "correct the file of "+key+".token_file; it is read at each request"))
}

// only responds 401 to clients that do not send the token.
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
