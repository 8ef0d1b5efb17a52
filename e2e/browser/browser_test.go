//go:build e2e

// Package browser has a real browser attack the admin server: pages of other sites must not
// change anything, nor read anything, while probes go on.
package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// attack is a page that does everything that a page of another site can do to have kproxy
// reload, or to read its statuses. It writes the outcomes into its title.
const attack = `<!doctype html><body><script>
const admin = %q, done = [];
async function attempt(name, f) {
  try { const r = await f(); done.push(name + ":" + r.type + ":" + r.status); } catch (e) { done.push(name + ":refused"); }
}
(async () => {
  await attempt("post", () => fetch(admin + "/-/reload", {method: "POST", mode: "no-cors"}));
  await attempt("cors", () => fetch(admin + "/-/reload", {method: "POST", headers: {"X-A": "b"}}));
  await attempt("read", () => fetch(admin + "/readyz"));
  await attempt("beacon", async () => ({type: String(navigator.sendBeacon(admin + "/-/reload", "")), status: 0}));
  const frame = document.createElement("iframe"); frame.name = "f"; document.body.append(frame);
  const form = document.createElement("form"); form.method = "POST"; form.target = "f"; form.action = admin + "/-/reload";
  document.body.append(form); form.submit();
  await new Promise(r => frame.onload = r);
  done.push("form:sent");
  await fetch("/done?" + encodeURIComponent(done.join(" ")));
})();
</script>`

func TestOtherSitesChangeNothing(t *testing.T) {
	chromium, err := lab.Tool("chromium", "a browser (Debian: apt-get install chromium)")
	if err != nil {
		t.Fatal(err)
	}
	kproxy, admin := start(t)
	if got := generation(t, admin); got != 1 {
		t.Fatalf("generation %v", got)
	}
	edit(t, kproxy.file) // so that a reload would be seen
	done := make(chan string, 1)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			fmt.Fprintf(w, attack, "http://"+admin)
		case "/done":
			done <- r.URL.RawQuery
		default:
			http.NotFound(w, r)
		}
	}))
	defer site.Close()
	_, port, err := net.SplitHostPort(site.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, host := range []string{"evil.test", "127.0.0.1", "localhost"} { // another site, and the same host at another port
		page := "http://" + net.JoinHostPort(host, port) + "/"
		browser := lab.Command(ctx, chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(),
			"--host-resolver-rules=MAP *.test 127.0.0.1", "--disable-features=BlockInsecurePrivateNetworkRequests,LocalNetworkAccessChecks", "--remote-debugging-port=0", page)
		if err := lab.Start(browser); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-done:
			t.Logf("%s: %s", host, got)
			if !strings.Contains(got, "form") {
				t.Errorf("%s: the page has not come to its end: %s", host, got)
			}
		case <-ctx.Done():
			t.Errorf("%s: the page has not run", host)
		}
		_ = browser.Process.Kill()
		_ = browser.Wait()
		if got := generation(t, admin); got != 1 {
			t.Fatalf("%s: a page has had kproxy reload: generation %v", host, got)
		}
	}
	if got := strings.Count(read(t, kproxy.proc.LogPath), "reloaded"); got != 0 {
		t.Errorf("%d reloads were tried", got)
	}
	// A name that resolves to kproxy (DNS rebinding): the page could read every response.
	_, port, err = net.SplitHostPort(admin)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/debug/pprof/": "admin.hosts does not have the name", "/-/reload": "admin.hosts does not have the name"} {
		out, err := lab.Output(lab.Command(ctx, chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(),
			"--host-resolver-rules=MAP *.test 127.0.0.1", "--dump-dom", "http://rebound.test:"+port+path))
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: got %v, %s", path, err, out)
		}
	}
	// Probes, by IP address and by the name of a service.
	for _, host := range []string{admin, "kproxy.svc.cluster.local:" + port} {
		for _, path := range []string{"/livez", "/readyz", "/metrics"} {
			if status := probe(t, admin, host, path); status != http.StatusOK && status != http.StatusServiceUnavailable {
				t.Errorf("probe of %s as %s: got %d", path, host, status)
			}
		}
	}
	// And the operator's own request has it reload.
	resp, err := http.Post("http://"+admin+"/-/reload", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := generation(t, admin); resp.StatusCode != http.StatusOK || got != 2 {
		t.Errorf("POST: got %s, generation %v", resp.Status, got)
	}
}

type running struct {
	proc *lab.Process
	file string
}

// start runs kproxy in front of nothing, with an admin server.
func start(t *testing.T) (running, string) {
	t.Helper()
	dir := t.TempDir()
	binary, err := lab.BuildKproxy(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	base, err := lab.NewPorts().Block(t.Context(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	proc, err := lab.StartKproxy(context.Background(), binary, dir, nil, fmt.Sprintf(`
clusters:
  a:
    bootstrap: [127.0.0.1:1]
    listeners:
      l: {bind: 127.0.0.1:%d, nodes: {ports: %d-%d}}
reload: {watch: false}
admin: {bind: 127.0.0.1:%d, pprof: true}
`, base, base+1, base+3, base+9))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proc.Stop(20 * time.Second); err != nil {
			t.Error(err)
		}
	})
	admin := lab.HostPort("127.0.0.1", base+9)
	if err := lab.Poll(t.Context(), 10*time.Second, func() error {
		resp, err := http.Get("http://" + admin + "/livez")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return running{proc, filepath.Join(dir, "kproxy.yaml")}, admin
}

// edit changes the configuration file.
func edit(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(data, "drain: {timeout: 7s}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// generation is that of the configuration in use.
func generation(t *testing.T, admin string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+admin+"/-/reload?dry_run=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body struct{ Generation int }
	data, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(data, &body)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return body.Generation
}

// probe asks for a path under a name.
func probe(t *testing.T, admin, host, path string) (status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
