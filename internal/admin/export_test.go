package admin

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
)

// Handler is that of a site, with its guard.
type Handler struct {
	http.Handler

	guard *guard
}

// HandlerOf returns the handler of a site, without a socket.
func HandlerOf(site *Site, log *slog.Logger) Handler {
	g := newGuard(site.Config.TokenFile, log)
	return Handler{site.handlerWith(g), g}
}

// Ask sends a request from a source, with a form and a cookie if there are some.
func Ask(h Handler, method, path string, form url.Values, source string, cookie *http.Cookie) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.RemoteAddr = source
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if cookie != nil {
		r.AddCookie(cookie)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// CountLogins counts the log-ins that are kept, and the sources.
func CountLogins(h Handler) (open, sources int) {
	l := h.guard.logins
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open), len(l.sources)
}
