package admin

import "net/http"

// baseHeaders are those of every response. A handler may set another value: the status page has a
// policy of its own.
var baseHeaders = map[string]string{
	"Cache-Control":                "no-store", // responses are about now, and about clients
	"Content-Security-Policy":      "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Referrer-Policy":              "same-origin", // with no-referrer, a form would have no Origin
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
}

// withBaseHeaders gives every response of a handler the base headers.
func withBaseHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for name, value := range baseHeaders {
			h.Set(name, value)
		}
		next.ServeHTTP(w, r)
	})
}
