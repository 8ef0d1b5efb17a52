package admin_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"kproxy/internal/admin"
	"kproxy/proxy"
)

// askAs sends a request with a Host of the test's, and returns the status.
func askAs(t *testing.T, s *admin.Server, method, path, host string) int {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", method, path, host)
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode
}

// A page whose name resolves to kproxy's address reads only the open paths.
func TestUnknownHostIsRefused(t *testing.T) {
	f := &fake{health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{up("orders")}}}
	s := listenAs(t, admin.Config{Pprof: true, Hosts: []string{"KProxy.example.com."}}, &admin.Readiness{Proxy: f})
	for host, known := range map[string]bool{
		"127.0.0.1:9400": true, "10.0.0.7": true, "[::1]:9400": true, "[fd00::7]": true, "localhost:1": true, "LocalHost.": true,
		"kproxy.example.com": true, "kproxy.EXAMPLE.com.:9400": true,
		"attacker.example": false, "attacker.example:9400": false, "": false, "localhost.attacker.example": false,
		"127.0.0.1.attacker.example": false, "sub.kproxy.example.com": false, "127.1": false,
	} {
		for _, open := range []string{"/livez", "/readyz", "/metrics"} {
			if got := askAs(t, s, "GET", open, host); got != http.StatusOK {
				t.Errorf("%s of %q: got %d, want 200", open, host, got)
			}
		}
		for path, want := range map[string]int{
			"GET /debug/pprof/cmdline": http.StatusOK,
			"GET /":                    http.StatusNotFound,
			"GET /api/v1/connections":  http.StatusNotFound,
			"POST /-/reload":           http.StatusNotFound,
			"POST /metrics":            http.StatusMethodNotAllowed,
			"GET /metrics/":            http.StatusNotFound,
		} {
			if !known {
				want = http.StatusMisdirectedRequest
			}
			method, path, _ := strings.Cut(path, " ")
			if got := askAs(t, s, method, path, host); got != want {
				t.Errorf("%s %s of %q: got %d, want %d", method, path, host, got, want)
			}
		}
	}
}

// A name in the request line is the one that counts.
func TestUnknownHostInRequestLine(t *testing.T) {
	s := listenAs(t, admin.Config{Pprof: true}, nil)
	if got := askAs(t, s, "GET", "http://attacker.example/debug/pprof/cmdline", "localhost"); got != http.StatusMisdirectedRequest {
		t.Errorf("got %d", got)
	}
}
