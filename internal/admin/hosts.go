package admin

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"

	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
)

// hosts are the names under which the server serves everything. A browser sends the name
// that its page was loaded from. Otherwise an attacker's page, whose name is made to
// resolve to kproxy's address (DNS rebinding), could read every response.
type hosts []string // in canonical form

// newHosts returns the names of c, and the host that it binds.
func newHosts(c *Config) hosts {
	h := hosts{}
	for _, name := range c.Hosts {
		h = append(h, hostport.Canonical(name))
	}
	if bound, _, err := net.SplitHostPort(c.Bind); err == nil && !hostport.IsWildcard(bound) {
		h = append(h, hostport.Canonical(bound))
	}
	return h
}

// know reports whether a request's Host is an IP address, localhost, or one of h. A name
// that an attacker chooses is none of these: a name that resolves to an address is not
// that address.
func (h hosts) know(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "" {
		return false
	}
	name := hostport.Canonical(host)
	_, err := netip.ParseAddr(name)
	return err == nil || name == "localhost" || slices.Contains(h, name)
}

// openPaths are served under every name: Prometheus and probes of an orchestrator use DNS
// names of services, and these paths change nothing.
var openPaths = []string{"/livez", "/readyz", "/metrics"}

// only refuses requests for another host, except for openPaths.
func (h hosts) only(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		if !h.know(r.Host) && (!reads || !slices.Contains(openPaths, r.URL.Path)) {
			http.Error(w, fmt.Sprintf("%s.hosts does not have the name \"%s\"; add it, or ask by an IP address", key, foreign.Line(r.Host)),
				http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
