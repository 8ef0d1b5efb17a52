package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

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
	if !IsSendable(token) {
		return "", fmt.Errorf("%s holds more than one word, or characters that are not ASCII", file)
	}
	return token, nil
}

// IsSendable reports whether a header can carry a token: it is one word of ASCII.
func IsSendable(token string) bool {
	return !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// guard admits requests with the token (RFC 6750). Without a file it admits all.
type guard struct {
	file   string
	log    *slog.Logger
	logins *logins // browsers that have sent the token in a form

	mu   sync.Mutex // guards the following
	said string     // why the file is invalid, as logged
	when time.Time
}

func newGuard(file string, log *slog.Logger) *guard {
	g := &guard{file: file, log: log}
	g.logins = &logins{guard: g, often: rate.Sometimes{Interval: sayAgain}, sources: map[netip.Prefix]*rate.Limiter{}}
	return g
}

// admits reports whether a request has the token.
func (g *guard) admits(r *http.Request) bool {
	if g.file == "" {
		return true
	}
	scheme, sent, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	want, ok := g.token(r.Context())
	got := sha256.Sum256([]byte(strings.TrimSpace(sent)))
	return ok && subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// token returns the hash of the token; ok is false while there is no good one.
func (g *guard) token(ctx context.Context) (hash [sha256.Size]byte, ok bool) {
	token, err := readToken(ctx, g.file)
	switch {
	case err != nil && ctx.Err() != nil:
		return hash, false // the client has gone, and the file may be good
	case err != nil:
		g.complain(err)
		return hash, false
	}
	return sha256.Sum256([]byte(token)), true
}

// admitsReader reports whether a request may read everything: it has the token, or the cookie of a
// browser that has logged in.
func (g *guard) admitsReader(r *http.Request) bool { return g.admits(r) || g.logins.admits(r) }

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

// only responds 401 to clients that admits refuses.
func only(admits func(*http.Request) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !admits(r) {
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
