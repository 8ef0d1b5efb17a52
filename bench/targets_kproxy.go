//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"kproxy/e2e/lab"
)

const kproxyName = "kproxy"

// findKproxy builds kproxy as `make build` does, unless a binary was named.
func findKproxy(ctx context.Context, e *env) (string, error) {
	if e.kproxy == "" {
		binary := filepath.Join(e.dir, "kproxy-built")
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+describe(ctx),
			"-o", binary, "kproxy/cmd/kproxy")
		cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		e.kproxy = binary
	}
	version := firstLine(exec.CommandContext(ctx, e.kproxy, "version"))
	if version == "" {
		return "", fmt.Errorf("%s version: it says none; name a kproxy with --kproxy", e.kproxy)
	}
	return version, nil
}

// describe names the commit that is measured.
func describe(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func startKproxy(ctx context.Context, e *env, r route) (*running, error) {
	last := r.port + lab.PortBlock - 1
	var up, down string
	if r.tls.up() {
		up = fmt.Sprintf("\n    tls: {ca: %s, server_name: %s}", e.keys.Cert, tlsName)
	}
	if r.tls.down() {
		down = fmt.Sprintf(", tls: {certs: [{cert: %s, key: %s}]}", e.keys.Cert, e.keys.Key)
	}
	run := &running{addresses: []string{r.listen(0)}, config: fmt.Sprintf(`clusters:
  bench:
    bootstrap: [%s]%s
    listeners:
      bench: {bind: %s, nodes: {ports: %d-%d}%s}
`, strings.Join(r.upstream, ", "), up, r.listen(0), r.port+1, last, down)}
	dir, err := e.configured(kproxyName, "kproxy.yaml", run.config)
	if err != nil {
		return nil, err
	}
	cmd := e.command(ctx, r.place.proxy, e.kproxy, "serve", "--config", filepath.Join(dir, "kproxy.yaml"))
	threads := fmt.Sprintf("GOMAXPROCS=%d", e.threads)
	cmd.Env = append(cmd.Environ(), threads)
	run.config += "# " + threads
	run.server, err = e.serve(kproxyName, cmd)
	return run, err
}
