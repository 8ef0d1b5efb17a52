package admin

import (
	"net/http"

	"kproxy/internal/api"
)

// Refusals.
const (
	fromAnotherSite = "a page of another site may not use this path"
	needsToken      = key + ".bind is not a loopback address; this path needs " + key + ".token_file there, with a token"
)

// changing admits requests to a path that changes something, or shows who the clients are.
// Browsers send requests to it too, for pages of any site: these are refused by their Origin
// or Sec-Fetch-Site, also where they only read, because each stream of events takes one of a
// few places. A page whose name resolves to kproxy's address is refused by its Host before (hosts.go).
// Other machines need the token. A browser that has logged in may read.
func (c *Config) changing(g *guard, next http.Handler) http.Handler {
	sites := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asChange := *r
		asChange.Method = http.MethodPost // Check admits every GET
		switch {
		case sites.Check(&asChange) != nil:
			http.Error(w, fromAnotherSite, http.StatusForbidden)
		case c.TokenFile == "" && c.isExposed():
			http.Error(w, needsToken, http.StatusForbidden)
		case !g.admitsReader(r):
			refuse(w)
		default:
			next.ServeHTTP(w, r.WithContext(api.WithAccess(r.Context(), func() bool { return g.admitsReader(r) })))
		}
	})
}

// withToken refuses a path that wants a token wherever the server listens, if there is none. It is
// for changing: that has checked a token.
func (c *Config) withToken(next http.Handler) http.Handler {
	if c.TokenFile != "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "this path needs "+key+".token_file, with a token, at a loopback address too", http.StatusForbidden)
	})
}
