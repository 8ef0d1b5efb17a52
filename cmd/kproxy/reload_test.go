package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/portlab"
)

// edit replaces a text in the configuration of a running kproxy, by a rename.
func (k *running) edit(before, after string) {
	k.t.Helper()
	text, err := os.ReadFile(k.file)
	if err != nil {
		k.t.Fatal(err)
	}
	if !strings.Contains(string(text), before) {
		k.t.Fatalf("the configuration has no %s", before)
	}
	next := k.file + ".next"
	if err := os.WriteFile(next, []byte(strings.Replace(string(text), before, after, 1)), 0o600); err != nil {
		k.t.Fatal(err)
	}
	if err := os.Rename(next, k.file); err != nil {
		k.t.Fatal(err)
	}
}

// kproxy reload prints the differences and applies them, and prints every mistake.
func TestServeReload(t *testing.T) {
	k, bootstrap, address := serveWithAdmin(t, "reload: {watch: false}\nlog: {level: info}\n")
	k.wantLog("serving")
	reload := func(code int, args ...string) (stdout, stderr string) {
		t.Helper()
		return runWith(t, code, append([]string{"reload", "--admin", address}, args...)...)
	}
	if out, _ := reload(exitDone); out != "no difference: generation 1 stays in use\n" {
		t.Errorf("got %s", out)
	}
	k.wantLog(`msg="configuration reloaded" generation=1 changes=0 by=admin from=127.`)
	k.edit("{level: info}", "{level: debug, format: json}")
	const lines = "~ log.level: info -> debug\n~ log.format: text -> json\n"
	if out, _ := reload(exitDone, "--dry-run"); out != lines+"dry run: 2 differences, nothing has changed\n" {
		t.Errorf("got %s", out)
	}
	if out, _ := reload(exitDone); out != lines+"reloaded: 2 differences, generation 2 is in use\n" {
		t.Errorf("got %s", out)
	}
	k.wantLog(`"level":"INFO","msg":"configuration reloaded","generation":2,"changes":2,"by":"admin","from":"127.`)
	produce(t, bootstrap)

	inUse := func(code int, want string) {
		t.Helper()
		if stdout, stderr := runWith(t, code, "health", "--admin", address, "--config", k.file, "--timeout", "1m"); !strings.HasPrefix(stdout+stderr, want) {
			t.Errorf("health --config: got %s%s, want %s", stdout, stderr, want)
		}
	}
	inUse(exitDone, "ready\n")
	k.edit("{level: debug, format: json}", "{level: loud, colour: red}")
	_, errs := reload(exitFailed)
	for i, line := range []string{"log.level: \"loud\" is not one of", "log.colour: unknown key"} {
		if got := strings.Split(errs, "\n"); len(got) != 3 || !strings.HasPrefix(got[i], "kproxy: "+k.file+":9:") || !strings.Contains(got[i], line) {
			t.Errorf("got %s, want %s in line %d", errs, line, i+1)
		}
	}
	k.wantLog(`"msg":"the configuration is not reloaded"`)
	inUse(exitFailed, "kproxy: the configuration in use is not that of ")
	_, body := get(t, address, "/readyz")
	if !strings.Contains(body, "the last reload of the configuration failed: ") {
		t.Errorf("/readyz says %s", body)
	}
	_, body = get(t, address, "/metrics")
	for _, want := range []string{"\nkproxy_config_generation 2\n", "\nkproxy_config_last_reload_success 0\n"} {
		if !strings.Contains(regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(body, ""), want) {
			t.Errorf("/metrics has no %q", want)
		}
	}
	produce(t, bootstrap)
}

// With --live, brokers that do not respond are a mistake, and nothing changes.
func TestServeReloadTriesFirst(t *testing.T) {
	k, bootstrap, address := serveWithAdmin(t, "reload: {watch: false}\nlog: {level: info}\n")
	k.wantLog("serving")
	k.edit("{level: info}", "{level: debug}")
	if out, _ := runWith(t, exitDone, "reload", "--admin", address, "--live"); !strings.HasSuffix(out, "reloaded: 1 difference, generation 2 is in use\n") {
		t.Errorf("got %s", out)
	}
	k.edit("bootstrap: [", "bootstrap: ["+portlab.Closed(t)+", ")
	_, errs := runWith(t, exitFailed, "reload", "--admin", address, "--live")
	if !strings.Contains(errs, "kproxy: "+k.file+":") || !strings.Contains(errs, "clusters.") || !strings.Contains(errs, ".bootstrap") {
		t.Errorf("got %s", errs)
	}
	if _, body := get(t, address, "/metrics"); !strings.Contains(body, "kproxy_config_generation 2\n") {
		t.Errorf("the generation is another: %s", body)
	}
	produce(t, bootstrap)
	if out, _ := runWith(t, exitDone, "reload", "--admin", address); !strings.HasSuffix(out, "generation 3 is in use\n") {
		t.Errorf("without --live: got %s", out)
	}
}

// SIGHUP applies a changed configuration, and a broken one changes nothing.
func TestServeHangupReloads(t *testing.T) {
	k, bootstrap, address := serveWithAdmin(t, "drain: {delay: 10m}\nreload: {watch: false}\n")
	k.wantLog("serving")
	produce(t, bootstrap) // so that it is ready
	k.edit("10m", "never")
	k.signal(syscall.SIGHUP)
	k.wantLog(`drain.delay: \"never\" is not a duration`)
	if status, body := get(t, address, "/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d %s", status, body)
	}
	produce(t, bootstrap)
	k.edit("never", "0s")
	k.signal(syscall.SIGHUP)
	k.wantLog(`msg="configuration reloaded" generation=2 changes=1 by=signal`)
	k.signal(syscall.SIGTERM)
	k.wantLog("stopping: no new connections") // without the delay
	if err := <-k.done; err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

// The admin server and a listener exchange their addresses. The listener has another spelling
// of its new one.
func TestServeReloadExchangesAddresses(t *testing.T) {
	k, bootstrap, address := serveWithAdmin(t, "reload: {watch: false}\n")
	k.wantLog("serving")
	produce(t, bootstrap)
	k.edit(bootstrap, "ANOTHER")
	k.edit(address, bootstrap)
	k.edit("ANOTHER", "[::ffff:"+strings.Replace(address, ":", "]:", 1))
	if out, _ := runWith(t, exitDone, "reload", "--admin", address); !strings.HasSuffix(out, "reloaded: 2 differences, generation 2 is in use\n") {
		t.Errorf("got %s", out)
	}
	produce(t, address)
	if status, body := get(t, bootstrap, "/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d %s", status, body)
	}
}

// The admin server moves to another address. The response to the request that moved it is
// delivered, and the old address is closed after that.
func TestServeReloadMovesTheAdminServer(t *testing.T) {
	k, _, address := serveWithAdmin(t, "reload: {watch: false}\n")
	k.wantLog("serving")
	moved := strings.Replace(address, ":9400", ":9401", 1)
	k.edit(address, moved)
	if out, _ := runWith(t, exitDone, "reload", "--admin", address); !strings.Contains(out, "~ admin.bind: "+address+" -> "+moved+"\nreloaded: ") {
		t.Errorf("got %s", out)
	}
	if status, body := get(t, moved, "/livez"); status != http.StatusOK {
		t.Errorf("the new address: %d %s", status, body)
	}
	for end := time.Now().Add(10 * time.Second); ; {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			break
		}
		_ = conn.Close()
		if time.Now().After(end) {
			t.Fatal("the old address is open")
		}
	}

	// One that is taken changes nothing.
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", strings.Replace(address, ":9400", ":9402", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	k.edit(moved, taken.Addr().String())
	_, errs := runWith(t, exitFailed, "reload", "--admin", moved)
	if !regexp.MustCompile(`^kproxy: \S+:7:9: admin\.bind: bind ` + regexp.QuoteMeta(taken.Addr().String()) + `: .*address already in use; stop the process that listens there`).MatchString(errs) {
		t.Errorf("got %s", errs)
	}
	if status, _ := get(t, moved, "/livez"); status != http.StatusOK {
		t.Errorf("the address of before: %d", status)
	}

	// Without one, there is none.
	k.edit(fmt.Sprintf("admin: {bind: %q}", taken.Addr().String()), "")
	runWith(t, exitDone, "reload", "--admin", moved)
	k.edit("clusters:", fmt.Sprintf("admin: {bind: %q}\nclusters:", address))
	k.signal(syscall.SIGHUP)
	k.wantLog(`generation=4 changes=1 by=signal`)
	if status, body := get(t, address, "/metrics"); status != http.StatusOK || !strings.Contains(body, "kproxy_config_generation") {
		t.Errorf("the address that is there again: %d %s", status, body)
	}
}

// The admin server's other keys change at its address.
func TestServeReloadChangesTheAdminServer(t *testing.T) {
	k, _, address := serveWithAdmin(t, "reload: {watch: false}\n")
	k.wantLog("serving")
	if status, _ := get(t, address, "/debug/pprof/cmdline"); status != http.StatusNotFound {
		t.Errorf("before: %d", status)
	}
	k.edit("admin: {", "admin: {pprof: true, ")
	if out, _ := runWith(t, exitDone, "reload", "--admin", address); !strings.HasPrefix(out, "+ admin.pprof: true\nreloaded: ") {
		t.Errorf("got %s", out)
	}
	if status, body := get(t, address, "/debug/pprof/cmdline"); status != http.StatusOK {
		t.Errorf("after: %d %s", status, body)
	}
}

func TestSameAddress(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"localhost:9400", "127.0.0.1:9400", true},
		{":9400", "[::]:9400", true},
		{"127.0.0.1:9400", "127.0.0.1:9401", false},
		{"0.0.0.0:9400", ":9400", false},
		{"0.0.0.0:9400", "127.0.0.1:9400", false},
		{"", "", false},
	} {
		if got := sameAddress(tt.a, tt.b); got != tt.want {
			t.Errorf("%s and %s: got %t", tt.a, tt.b, got)
		}
	}
}

// A kproxy that started without an admin server can get one, with the metrics.
func TestServeReloadAddsTheAdminServer(t *testing.T) {
	host := portlab.Host(t)
	address := host + ":9400"
	k := startServe(t, strings.ReplaceAll(oneListener, "127.0.0.1", host))
	k.wantLog("serving")
	k.edit("clusters:", fmt.Sprintf("admin: {bind: %q}\nclusters:", address))
	k.signal(syscall.SIGHUP)
	k.wantLog(`msg="admin server"`)
	k.wantLog("generation=2 changes=1 by=signal")
	if status, body := get(t, address, "/metrics"); status != http.StatusOK || !strings.Contains(body, "\ngo_goroutines ") {
		t.Errorf("got %d %s", status, body)
	}
}

// A web page cannot have kproxy reload.
func TestServeReloadFromAnotherSite(t *testing.T) {
	k, _, address := serveWithAdmin(t, "")
	k.wantLog("serving")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/-/reload", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://evil.example.com")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("got %d", resp.StatusCode)
	}
}

// Text of any server at the port is bounded and cleaned.
func TestReloadOfAnotherServer(t *testing.T) {
	respond := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	many, err := json.Marshal(map[string]any{"errors": slicesOf(500, map[string]string{"problem": "p\nkproxy- forged\x1b[2J"})})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		code    int
		want    string
	}{
		"a page":          {respond(200, "<html>"), 1, "responds 200, which is not kproxy's"},
		"no generation":   {respond(200, "{}"), 1, "responds 200, which is not kproxy's"},
		"no file, or old": {respond(404, "404 page not found\n"), 1, "as kproxy demo does, or it is older than this one"},
		"no token":        {respond(401, ""), 1, "wants a token; add --token-file"},
		"not allowed":     {respond(403, "admin.bind is not a loopback address\n"), 1, "responds 403: admin.bind is not a loopback address\n"},
		"an HTTPS port":   {respond(400, ""), 1, "if admin.tls is set, write https://"},
		"elsewhere":       {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }, 1, "responds 302"},
		"no mistakes":     {respond(422, `{"errors": []}`), 1, "responds 422, which is not kproxy's"},
		"null mistakes":   {respond(422, `{"errors": [null]}`), 1, "responds 422, which is not kproxy's"},
		"stopping":        {respond(503, `{"errors": [{"problem": "kproxy is stopping"}]}`), 1, "kproxy: kproxy is stopping\n"},
		"hostile errors":  {respond(422, string(many)), 1, `p\nkproxy- forged\x1b[2J`},
		"hostile changes": {respond(200, `{"generation": 2, "changes": [{"change": "added", "key": "a\u001b[2J\nb", "now": "c\nd`+strings.Repeat("x", 9000)+`"}],
			"removes": [{"listener": "l\nkproxy- forged", "cluster": "c", "sessions": 1}]}`), 0, `+ a\x1b[2J\nb:`},
		"many changes": {respond(200, `{"generation": 2, "changes": [`+strings.Repeat(`{"key": "k"},`, 5000)+`{"key": "k"}]}`), 0, "reloaded: 5001 differences"},
	} {
		s := httptest.NewServer(tt.handler)
		stdout, stderr := runWith(t, tt.code, "reload", "--admin", s.URL, "--timeout", "5s")
		s.Close()
		wantTame(t, name, stdout+stderr)
		if !strings.Contains(stdout+stderr, tt.want) || strings.Count(stdout+stderr, "\n") > maxDifferences+10 {
			t.Errorf("%s: got %.500s, want %q", name, stdout+stderr, tt.want)
		}
	}
}

// slicesOf repeats an element.
func slicesOf[T any](n int, element T) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = element
	}
	return all
}

// The last line has the result, the ones above it the listeners that are closed.
func TestPrintReloaded(t *testing.T) {
	removal := []admin.Removal{{Cluster: "orders", Listener: "fred", Sessions: 1}}
	changes := []admin.Difference{{Kind: admin.Removed, Key: "clusters.orders.listeners.fred"}}
	for _, tt := range []struct {
		result admin.Reloaded
		dry    bool
		want   string
	}{
		{admin.Reloaded{Generation: 3, Changes: changes, Removes: removal}, true, "- clusters.orders.listeners.fred\nwould close listener fred of cluster orders, with 1 session\ndry run: 1 difference, nothing has changed\n"},
		{admin.Reloaded{Generation: 3, Changes: changes, Removes: removal}, false, "- clusters.orders.listeners.fred\ncloses listener fred of cluster orders, with 1 session\nreloaded: 1 difference, generation 3 is in use\n"},
		{admin.Reloaded{Generation: 3, Changes: changes, LeftOut: 4}, true, "- clusters.orders.listeners.fred\n  and 4 more\ndry run: 5 differences, nothing has changed\n"},
	} {
		var got strings.Builder
		if err := printReloaded(&got, &tt.result, tt.dry); err != nil || got.String() != tt.want {
			t.Errorf("got %s, want %s", got.String(), tt.want)
		}
	}
}

func TestReloadFlags(t *testing.T) {
	runWith(t, exitUsage, "reload", "--admin", "ftp://x")
	runWith(t, exitUsage, "reload", "extra")
	runWith(t, exitUsage, "reload", "--token-file", "/no/such/file")
	_, stderr := runWith(t, exitFailed, "reload", "--admin", "127.0.0.1:1", "--dry-run")
	if !strings.Contains(stderr, "http://127.0.0.1:1/-/reload: ") || !strings.Contains(stderr, "see whether kproxy runs") {
		t.Errorf("got %s", stderr)
	}
}
