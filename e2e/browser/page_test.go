//go:build e2e

package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/lab"
	"kproxy/internal/logkey"
)

// job is what visit.js does.
type job struct {
	Chromium string      `json:"chromium"`
	Out      string      `json:"out"`   // folder for the pictures
	Cases    []visitCase `json:"cases"` // pages to look at
	Steps    []visitCase `json:"steps"` // things to do
}

type visitCase struct {
	Name    string `json:"name"`
	URL     string `json:"url"`
	Token   string `json:"token,omitempty"`
	Control string `json:"control,omitempty"` // a server of the test
}

// The status page in a browser: everything that it may show, at two widths, light and dark, without JavaScript, by the
// keyboard, with a log-in. axe-core and the browser's console have nothing to say. With E2E_SCREENSHOTS the pictures
// go to that folder.
func TestStatusPage(t *testing.T) {
	chromium, err := lab.Tool("chromium", "a browser (Debian: apt-get install chromium)")
	if err != nil {
		t.Fatal(err)
	}
	node, err := lab.Tool("node", "Node (Debian: apt-get install nodejs)")
	if err != nil {
		t.Fatal(err)
	}
	modules := install(t)
	do := job{Chromium: chromium, Out: os.Getenv("E2E_SCREENSHOTS")}
	if do.Out == "" {
		do.Out = t.TempDir()
	}
	for _, s := range []struct {
		name  string
		state *state
	}{{"none", new(state)}, {"demo", demoState()}, {"docs", docsState()}, {"many", manyState()}, {"broken", brokenState()}} {
		do.Cases = append(do.Cases, visitCase{Name: s.name, URL: s.state.serve(t, "").url})
	}
	_, address := start(t)
	do.Cases = append(do.Cases, visitCase{Name: "real", URL: "http://" + address + "/"})
	const token = "0123456789abcdef0123456789abcdef"
	guarded := demoState().serve(t, token).url
	do.Cases = append(do.Cases, visitCase{Name: "login", URL: guarded})
	live := demoState().serve(t, "")
	control := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/event":
			live.state.log().Warn("session closed", logkey.Reason, "planted_reason", logkey.Cluster, "orders", logkey.Fix, "none is needed")
		case "/stop":
			live.stop()
		}
	}))
	t.Cleanup(control.Close)
	do.Steps = []visitCase{{Name: "logIn", URL: guarded, Token: token}, {Name: "live", URL: live.url, Control: control.URL}}

	input, err := json.Marshal(do)
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs(filepath.Join("page", "visit.js"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	cmd := lab.Command(ctx, node, script)
	cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(modules, "node_modules"))
	cmd.Stdin = bytes.NewReader(input)
	out, err := lab.Output(cmd)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var findings []string
	if err := json.Unmarshal([]byte(out), &findings); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(findings) > 0 {
		t.Error(strings.Join(findings, "\n"))
	}
	pictures, err := filepath.Glob(filepath.Join(do.Out, "*.png"))
	if want := 4*len(do.Cases) + 2; err != nil || len(pictures) < want {
		t.Errorf("%d pictures, want %d; %v", len(pictures), want, err)
	}
}

// install installs the packages of page/package-lock.json, and returns their folder.
func install(t *testing.T) string {
	t.Helper()
	npm, err := lab.Tool("npm", "Node's package manager (Debian: apt-get install npm)")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := lab.Cached(filepath.Join("page", "package-lock.json"), func(dir string) error {
		for _, name := range []string{"package.json", "package-lock.json"} {
			content, err := os.ReadFile(filepath.Join("page", name))
			if err != nil {
				return err
			}
			if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name), content, 0o600)); err != nil {
				return err
			}
		}
		cmd := lab.Command(t.Context(), npm, "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund")
		cmd.Dir = dir
		_, err := lab.Output(cmd)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
