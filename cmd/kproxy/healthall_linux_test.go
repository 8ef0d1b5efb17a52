package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/certlab"
	"kproxy/internal/portlab"
)

// health --all asks each address of a name: one replica that is not ready or does not respond makes it
// fail, and each line names its address.
func TestHealthOfAll(t *testing.T) {
	const (
		name  = "edge-admin.kafka.svc"
		ready = `{"ready": true, "clusters": {"a": {}}}`
	)
	one, other, waiting, silent := portlab.Host(t), portlab.Host(t), portlab.Host(t), portlab.Host(t)
	serveAll(t, nil, name, ready, one, other)
	serveAll(t, nil, name, `{"ready": false, "reasons": ["cluster a does not answer", "and b"]}`, waiting)
	for about, tt := range map[string]struct {
		addresses []string
		want      string // of stdout, or of the error
	}{
		"all are ready":     {[]string{other, one, one, "::ffff:" + one}, "ready: 2 of 2\n"},
		"one is not":        {[]string{one, waiting, other}, waiting + ": not ready: cluster a does not answer\n" + waiting + ": not ready: and b"},
		"one is not there":  {[]string{one, silent}, silent + ": http://" + name + ":9400/readyz"},
		"two have a reason": {[]string{waiting, silent}, waiting + ": not ready: cluster a does not answer\n" + waiting + ": not ready: and b\n" + silent + ": "},
		"none":              {nil, "--admin: no address of " + name + " is known: no such host; see whether a replica is ready"},
		"too many":          {make([]string, maxReplicas+1), "--admin: " + name + " has 1001 addresses, and 1000 are the most"},
	} {
		t.Run(about, func(t *testing.T) {
			f := healthFlags{all: true, strict: true, lookup: lookups(t, name, tt.addresses)}
			f.admin, f.timeout = "http://"+name+":9400", 10*time.Second
			if got := healthSays(t, &f); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// With --config a name without an address, and a replica that ends, are asked for again. A replica that
// holds the content back ends the wait.
func TestHealthOfAllOfAConfiguration(t *testing.T) {
	const name = "edge-admin.kafka.svc"
	file, digest := writtenConfig(t)
	one, ended, holds := portlab.Host(t), portlab.Host(t), portlab.Host(t)
	serveAll(t, nil, name, `{"ready": true, "configuration": {"sha256": "`+digest+`"}}`, one)
	serveAll(t, nil, name, `{"ready": true, "configuration": {"sha256": "00", "not_applied": {"sha256": "`+digest+`", "reasons": ["it removes clusters.a.tls", "and more"]}}}`, holds)
	for about, tt := range map[string]struct {
		turns [][]string // the addresses of each lookup; the last ones stay
		want  string
	}{
		"none at first":     {[][]string{nil, {one}}, "ready: 1 of 1\n"},
		"one ends":          {[][]string{{one, ended}, {one}}, "ready: 1 of 1\n"},
		"one holds it back": {[][]string{{one, holds}}, holds + ": the configuration in use is not that of " + file + "\n" + holds + ": it removes clusters.a.tls\n" + holds + ": and more"},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			f := healthFlags{all: true, config: file, lookup: lookups(t, name, tt.turns...)}
			f.admin, f.timeout = "http://"+name+":9400", time.Minute
			if got := healthSays(t, &f); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// The certificate of each replica must be for the name, not for the address.
func TestHealthOfAllInTLS(t *testing.T) {
	const name = "edge-admin.kafka.svc"
	files, ca := certlab.NewFolder(t), certlab.NewAuthority(t, "ca")
	host := portlab.Host(t)
	pair := ca.Issue(t, nil, name, host).Pair
	serveAll(t, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, name, `{"ready": true}`, host)
	for asked, want := range map[string]string{
		name:                    "ready: 1 of 1\n",
		"other-admin.kafka.svc": host + ": https://other-admin.kafka.svc:9400/readyz: tls: failed to verify certificate: x509: certificate is valid for " + name,
	} {
		f := healthFlags{all: true, lookup: lookups(t, asked, []string{host})}
		f.admin, f.ca, f.timeout = "https://"+asked+":9400", files.Write(t, "ca.pem", ca.PEM), 10*time.Second
		if got := healthSays(t, &f); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// serveAll serves /readyz at port 9400 of hosts, to clients that ask for a name; in TLS, unless secure is nil.
func serveAll(t *testing.T, secure *tls.Config, name, body string, hosts ...string) {
	t.Helper()
	for _, host := range hosts {
		ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(host, "9400"))
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host != name+":9400" {
				t.Errorf("asked for %s", r.Host)
			}
			if !strings.Contains(body, `"ready": true`) {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_, _ = io.WriteString(w, body)
		}))
		s.Listener.Close()
		s.Listener = ln
		if s.TLS = secure; secure == nil {
			s.Start()
		} else {
			s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			s.StartTLS()
		}
		t.Cleanup(s.Close)
	}
}

// lookups returns the addresses of a name, turn by turn.
func lookups(t *testing.T, name string, turns ...[]string) func(context.Context, string, string) ([]netip.Addr, error) {
	t.Helper()
	asked := 0
	return func(_ context.Context, _, host string) ([]netip.Addr, error) {
		if host != name {
			t.Errorf("looked up %s", host)
		}
		addresses := turns[min(asked, len(turns)-1)]
		asked++
		if len(addresses) == 0 {
			return nil, errors.New("no such host")
		}
		all := make([]netip.Addr, len(addresses))
		for i, text := range addresses {
			if text == "" {
				all[i] = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			} else {
				all[i] = netip.MustParseAddr(text)
			}
		}
		return all, nil
	}
}

// healthSays is the output of health, and its error.
func healthSays(t *testing.T, f *healthFlags) string {
	t.Helper()
	var stdout bytes.Buffer
	if err := f.run(t.Context(), &stdout); err != nil {
		return err.Error()
	}
	return stdout.String()
}

// The system's resolver gives an address as its own, and no other.
func TestHealthOfAllOfAnAddress(t *testing.T) {
	open := startAdmin(t, clusters{"a": true}, admin.Config{})
	if stdout, _ := runWith(t, exitDone, "health", "--all", "--strict", "--admin", "http://"+open); stdout != "ready: 1 of 1\n" {
		t.Errorf("got %q", stdout)
	}
}
