package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"kproxy/internal/admin"
)

// health --all asks each address of a name: one replica that is not ready, holds another configuration,
// or does not respond makes it fail, and the line names its address.
func TestHealthOfAll(t *testing.T) {
	const ready = `{"ready": true, "clusters": {"a": {}}}`
	port := ""
	serve := func(address, body string) {
		ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(address, port))
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host != net.JoinHostPort("edge-admin.kafka.svc", port) {
				t.Errorf("asked for %s", r.Host)
			}
			if !strings.Contains(body, `"ready": true`) {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_, _ = w.Write([]byte(body))
		}))
		s.Listener.Close()
		s.Listener = ln
		s.Start()
		t.Cleanup(s.Close)
		_, port, _ = net.SplitHostPort(ln.Addr().String())
	}
	port = "0"
	serve("127.0.0.1", ready)
	serve("127.0.0.2", ready)
	serve("127.0.0.3", `{"ready": false, "reasons": ["cluster a does not answer"]}`)
	for name, tt := range map[string]struct {
		addresses []string
		want      string // of stdout, or of the error
	}{
		"all are ready":     {[]string{"127.0.0.2", "127.0.0.1", "127.0.0.1", "::ffff:127.0.0.1"}, "ready: 2 of 2\n"},
		"one is not":        {[]string{"127.0.0.1", "127.0.0.3", "127.0.0.2"}, "not ready: 127.0.0.3: cluster a does not answer"},
		"one is not there":  {[]string{"127.0.0.1", "127.0.0.4"}, "127.0.0.4: http://edge-admin.kafka.svc:" + port + "/readyz"},
		"two have a reason": {[]string{"127.0.0.3", "127.0.0.4"}, "not ready: 127.0.0.3: cluster a does not answer\n127.0.0.4: "},
		"none":              {nil, "--admin: no address of edge-admin.kafka.svc is known: no such host; see whether a replica is ready"},
		"too many":          {make([]string, maxReplicas+1), "--admin: edge-admin.kafka.svc has 1001 addresses, and 1000 are the most"},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthFlags{all: true, strict: true, lookup: func(_ context.Context, _, host string) ([]netip.Addr, error) {
				if host != "edge-admin.kafka.svc" {
					t.Errorf("looked up %s", host)
				}
				var all []netip.Addr
				for i, text := range tt.addresses {
					address, err := netip.ParseAddr(text)
					if text == "" {
						address, err = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), nil
					}
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, address)
				}
				if len(all) == 0 {
					return nil, errors.New("no such host")
				}
				return all, nil
			}}
			f.admin, f.timeout = "http://edge-admin.kafka.svc:"+port, 10*time.Second
			var stdout bytes.Buffer
			got := ""
			if err := f.run(t.Context(), &stdout); err != nil {
				got = err.Error()
			}
			if got += stdout.String(); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// An address is its own only one, by the system's resolver.
func TestHealthOfAllOfAnAddress(t *testing.T) {
	open := startAdmin(t, clusters{"a": true}, admin.Config{})
	if stdout, _ := runWith(t, exitDone, "health", "--all", "--strict", "--admin", "http://"+open); stdout != "ready: 1 of 1\n" {
		t.Errorf("got %q", stdout)
	}
}
