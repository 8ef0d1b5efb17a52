//go:build e2e

package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/image"
	"kproxy/e2e/lab"
)

// edge runs edge.yaml without Grafana: a client over TLS, by one port, and Prometheus.
func (s *site) edge(t *testing.T, f front) {
	t.Helper()
	prometheus, err := lab.Tool("prometheus", "Prometheus (Debian: apt-get install prometheus)")
	check(t, err)
	tree := t.TempDir()
	dir := filepath.Join(tree, "configs/compose")
	for _, part := range []string{"compose", "prometheus", "grafana"} {
		check(t, os.CopyFS(filepath.Join(tree, "configs", part), os.DirFS(filepath.Join(s.root, "configs", part))))
	}
	file := filepath.Join(dir, "edge.yaml")
	text, err := os.ReadFile(file)
	check(t, err)
	published := regexp.MustCompile(`image: (\S*prom/prometheus\S*)`).FindStringSubmatch(string(text))
	entrypoint := []string{"/bin/prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/tmp/prometheus"}
	check(t, s.importImage(t.Context(), entrypoint, published[1:], func(a *image.Archive) error {
		return errors.Join(a.Programs(t.Context(), prometheus), a.File(prometheus, "bin/prometheus"))
	}))
	certificate(t, tree, string(text))

	files := []string{file}
	defer func() { s.down(t, f, files) }()
	if out, err := s.try(t.Context(), f, files, "", "up", "--detach", "kafka0", "kafka1", "kafka2", "kproxy", "prometheus"); err != nil {
		t.Fatalf("up: %v\n%s", err, out)
	}
	kcat := func(stdin string, args ...string) (string, error) {
		return s.try(t.Context(), f, files, stdin, append([]string{"--profile", "tools", "run", "--rm", "-T", "kcat"}, args...)...)
	}
	check(t, lab.Poll(t.Context(), 3*time.Minute, func() error {
		out, err := kcat("", "-L", "-m", "10")
		for node := 1; node <= 3; node++ {
			if want := fmt.Sprintf("broker %d at b%d.kafka.example.com:9093", node, node); err == nil && !strings.Contains(out, want) {
				err = fmt.Errorf("there is no %q", want)
			}
		}
		if err != nil {
			return fmt.Errorf("kcat -L: %w\n%s", err, out)
		}
		return nil
	}))
	const records = "one\ntwo\nthree\n"
	if out, err := kcat(records, "-P", "-c", "3", "-t", "edge"); err != nil {
		t.Errorf("kcat -P: %v\n%s", err, out)
	}
	if out, err := kcat("", "-C", "-t", "edge", "-o", "beginning", "-e", "-q"); err != nil || !strings.Contains(out, records) {
		t.Errorf("kcat -C: %v\n%s\nkproxy:\n%s", err, out, s.log(f, files))
	}
	check(t, lab.Poll(t.Context(), time.Minute, func() error { return s.counted(t.Context(), "kproxy_requests_total") }))
	check(t, lab.Poll(t.Context(), time.Minute, func() error { return s.counted(t.Context(), "cluster_api:kproxy_requests:rate1m") })) // of the rules
}

// certificate runs the commands in the comment of edge.yaml, in a tree with configs/compose.
func certificate(t *testing.T, tree, text string) {
	t.Helper()
	commands := regexp.MustCompile(`(?m)^#   ((?:mkdir|openssl|chmod) .*)$`).FindAllStringSubmatch(text, -1)
	if len(commands) != 3 {
		t.Fatalf("edge.yaml has %d commands for the certificate, want 3", len(commands))
	}
	for _, command := range commands {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command[1])
		cmd.Dir = tree
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command[1], err, out)
		}
	}
}

// counted wants Prometheus to have a metric of kproxy.
func (s *site) counted(ctx context.Context, metric string) error {
	client := &http.Client{Transport: &http.Transport{DialContext: s.place.Dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:9090/api/v1/query?query="+metric, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var response struct {
		Data struct {
			Result []json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&response); err != nil {
		return err
	}
	if len(response.Data.Result) == 0 {
		return fmt.Errorf("Prometheus has no %s", metric)
	}
	return nil
}
