package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"kproxy/internal/logkey"
	"kproxy/internal/page"
)

const (
	// maxLogins is how many browsers are logged in at one time; a further one ends the oldest.
	maxLogins = 64
	// loginAge is how long a browser stays logged in.
	loginAge = 12 * time.Hour
	// maxForm is the most bytes of a form with a token.
	maxForm = 8 << 10
)

// The forms without the token that a source may send: some at once, then one in a while. A token cannot be
// guessed so.
const (
	formsAtOnce = 10
	formEach    = 6 * time.Second
	maxSources  = 1000 // that are remembered
)

// logins are the browsers that have logged in by the token of a guard. Each has a cookie with a random id.
// It is good for reading alone, and as long as the token stays the same.
type logins struct {
	guard *guard
	often rate.Sometimes // a log line

	mu      sync.Mutex // guards the following
	open    []login    // the oldest first
	sources map[netip.Prefix]*rate.Limiter
}

// login is a browser's.
type login struct {
	id, token [sha256.Size]byte // hashes
	until     time.Time
}

// cookieOf names the cookie of a request's host and port: a browser sends a cookie to all ports of a
// host, and there may be several kproxys. A cookie with the prefix __Host- comes from this server alone.
func cookieOf(r *http.Request) string {
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil || strings.Trim(port, "0123456789") != "" {
		port = "default"
	}
	if r.TLS != nil {
		return "__Host-kproxy_" + port
	}
	return "kproxy_" + port
}

// admits reports whether a request that reads has the cookie of an open login.
func (l *logins) admits(r *http.Request) bool {
	if l.guard.file == "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	cookie, err := r.Cookie(cookieOf(r))
	if err != nil {
		return false
	}
	token, ok := l.guard.token(r.Context())
	if !ok {
		return false
	}
	id, now, found := sha256.Sum256([]byte(cookie.Value)), time.Now(), 0
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.open {
		one := &l.open[i]
		if now.Before(one.until) {
			found |= subtle.ConstantTimeCompare(one.id[:], id[:]) & subtle.ConstantTimeCompare(one.token[:], token[:])
		}
	}
	return found == 1
}

// in takes the token from a form, and has the browser keep a cookie.
func (l *logins) in(w http.ResponseWriter, r *http.Request) {
	if !l.mayTry(r, true) {
		l.refuse(w, r)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			status = http.StatusRequestEntityTooLarge
		}
		l.mayTry(r, false)
		page.LogIn(w, status, "The form cannot be read.")
		return
	}
	want, ok := l.guard.token(r.Context())
	if !ok {
		page.LogIn(w, http.StatusServiceUnavailable, "kproxy has no valid token at the moment; its log says why.")
		return
	}
	sent := sha256.Sum256([]byte(strings.TrimSpace(r.PostForm.Get("token"))))
	right := subtle.ConstantTimeCompare(sent[:], want[:]) == 1
	switch {
	case !l.mayTry(r, right): // also with the right one, which would be found by trying otherwise
		l.refuse(w, r)
		return
	case !right:
		page.LogIn(w, http.StatusUnauthorized, "This is not the token.")
		return
	}
	id := rand.Text()
	l.add(login{id: sha256.Sum256([]byte(id)), token: want, until: time.Now().Add(loginAge)})
	setCookie(w, r, id, int(loginAge.Seconds()))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// mayTry reports whether a request's source may send a form. A form that is not right counts.
func (l *logins) mayTry(r *http.Request, right bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter := l.limiter(r)
	if right {
		return limiter.Tokens() >= 1
	}
	return limiter.Allow()
}

// refuse responds to a source that has sent too many forms.
func (l *logins) refuse(w http.ResponseWriter, r *http.Request) {
	l.often.Do(func() {
		l.guard.log.Warn("a client of the admin server tries to log in too often", slog.String(logkey.From, r.RemoteAddr),
			slog.String(logkey.Fix, "find out who tries tokens; the token is not guessed at this rate"))
	})
	w.Header().Set("Retry-After", "60")
	page.LogIn(w, http.StatusTooManyRequests, "Too many tries. Wait a minute.")
}

// add keeps a login in place of those that have ended, or of the oldest.
func (l *logins) add(one login) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.open = slices.DeleteFunc(l.open, func(o login) bool { return !now.Before(o.until) })
	if len(l.open) == maxLogins {
		l.open = slices.Delete(l.open, 0, 1)
	}
	l.open = append(l.open, one)
}

// out ends the login of a browser.
func (l *logins) out(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(cookieOf(r)); err == nil {
		id := sha256.Sum256([]byte(cookie.Value))
		l.mu.Lock()
		l.open = slices.DeleteFunc(l.open, func(o login) bool { return subtle.ConstantTimeCompare(o.id[:], id[:]) == 1 })
		l.mu.Unlock()
	}
	setCookie(w, r, "", -1)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func setCookie(w http.ResponseWriter, r *http.Request, value string, age int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure where there is TLS: a browser would drop it elsewhere
		Name: cookieOf(r), Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
}

// limiter returns that of a request's source: an IPv4 address, or an IPv6 network of 64 bits. If there are too many,
// any of them is forgotten. The caller holds mu.
func (l *logins) limiter(r *http.Request) *rate.Limiter {
	var source netip.Prefix
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		ip, bits := at.Addr().Unmap().WithZone(""), 32
		if ip.Is6() {
			bits = 64
		}
		source, _ = ip.Prefix(bits) // it has as many
	}
	one := l.sources[source]
	if one == nil {
		for other := range l.sources {
			if len(l.sources) < maxSources {
				break
			}
			delete(l.sources, other)
		}
		one = rate.NewLimiter(rate.Every(formEach), formsAtOnce)
		l.sources[source] = one
	}
	return one
}

// linked reports whether a browser loads a document because the person follows a link to it, also
// from another site: that site cannot read it, nor show it in a frame.
func linked(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path == "/" && r.Header.Get("Origin") == "" &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// page serves the status page. A browser without the token gets a form for it.
func (c *Config) page(g *guard, p *page.Page) http.Handler {
	sites := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asChange := *r
		asChange.Method = http.MethodPost
		switch {
		case sites.Check(&asChange) != nil && !linked(r):
			http.Error(w, fromAnotherSite, http.StatusForbidden)
		case c.TokenFile == "" && c.isExposed():
			http.Error(w, needsToken, http.StatusForbidden)
		case g.logins.admits(r):
			p.SignedIn(w, r)
		case g.admits(r):
			p.ServeHTTP(w, r)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="kproxy"`)
			page.LogIn(w, http.StatusUnauthorized, "")
		}
	})
}

// forms admits the forms of the page itself.
func (c *Config) forms(next http.HandlerFunc) http.Handler {
	sites := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case sites.Check(r) != nil:
			http.Error(w, fromAnotherSite, http.StatusForbidden)
		case c.TokenFile == "":
			http.Redirect(w, r, "/", http.StatusSeeOther) // there is nothing to log in to
		default:
			next(w, r)
		}
	})
}
