//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"kproxy/e2e/lab"
)

const (
	firstNode  = 19101
	bootstrap  = 19092
	adminBind  = "127.0.0.1:9400"
	drainLimit = 60 * time.Second
)

// kproxyConfig is kproxy's configuration: the required keys, and no more.
var kproxyConfig = template.Must(template.New("").Parse(`
{{with .StateDir}}state_dir: {{.}}
{{end}}clusters:
  vpc:
    bootstrap: [{{.Seeds}}]
{{with .Password}}    sasl: {mechanism: ` + mechanism + `, username: ` + username + `, password_file: "{{.}}", allow_plaintext: true}
{{end}}    listeners:
      load: {bind: "{{.Host}}:{{.Bootstrap}}", nodes: {ports: {{.First}}-{{.Last}}, first_node: 1}}
admin: {bind: "{{.Admin}}"}
log: {level: info, format: json}
{{with .MaxConnections}}limits: {max_connections: {{.}}}
{{end}}`))

// setup is a fault's settings of kproxy beyond the defaults.
type setup struct {
	Binary         string   // another build
	NoState        bool     // no state_dir
	MaxConnections int      // 0: from the file limit
	Wrap           []string // a command that runs it, such as prlimit
	Seeds          []string // nil: seeds()
	Nodes          int      // how many have ports; 0: brokers
	LogsIn         bool     // kproxy logs in at the brokers
}

// kproxy is a running `kproxy serve`.
type kproxy struct {
	setup
	at   *lab.Namespace
	host string
	dir  string
	proc *lab.Process

	started time.Time
}

// startKproxy runs kproxy in a network until Stop.
func (s *site) startKproxy(ctx context.Context, at *lab.Namespace, host string, how setup) (*kproxy, error) {
	k, err := s.newKproxy(at, host, how)
	if err != nil {
		return k, err
	}
	return k, k.Start(ctx)
}

func (s *site) newKproxy(at *lab.Namespace, host string, how setup) (*kproxy, error) {
	dir, err := os.MkdirTemp(s.dir, "kproxy-")
	if err != nil {
		return nil, err
	}
	k := &kproxy{setup: how, at: at, host: host, dir: dir}
	if k.Binary == "" {
		k.Binary = s.kproxy
	}
	if !how.NoState {
		if err := os.Mkdir(k.stateDir(), 0o700); err != nil {
			return nil, err
		}
	}
	if k.Seeds == nil {
		k.Seeds = seeds()
	}
	k.Nodes = cmp.Or(k.Nodes, brokers)
	var file strings.Builder
	values := map[string]any{
		"Seeds": strings.Join(k.Seeds, ", "), "Host": host, "Bootstrap": bootstrap, "First": firstNode, "Last": k.lastNode(),
		"Admin": adminBind, "MaxConnections": how.MaxConnections,
	}
	if !how.NoState {
		values["StateDir"] = k.stateDir()
	}
	if how.LogsIn {
		file := filepath.Join(dir, "password")
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			return nil, err
		}
		values["Password"] = file
	}
	if err := kproxyConfig.Execute(&file, values); err != nil {
		return nil, err
	}
	return k, os.WriteFile(k.config(), []byte(file.String()), 0o600)
}

// kill ends a kproxy that may not have started.
func (k *kproxy) kill() {
	if k != nil && k.proc != nil {
		k.proc.Kill()
	}
}

// lastNode is the port of the last node that has one.
func (k *kproxy) lastNode() int { return firstNode + k.Nodes - 1 }

func (k *kproxy) config() string   { return filepath.Join(k.dir, "kproxy.yaml") }
func (k *kproxy) stateDir() string { return filepath.Join(k.dir, "state") }

// Start runs the binary and waits until it is ready.
func (k *kproxy) Start(ctx context.Context) error {
	command := slices.Concat(k.Wrap, []string{k.Binary, "serve", "--config", k.config()})
	proc, err := lab.StartProcess("kproxy", filepath.Join(k.dir, "kproxy.log"),
		k.at.Command(lab.Command(context.WithoutCancel(ctx), command[0], command[1:]...)))
	if err != nil {
		return err
	}
	k.proc, k.started = proc, time.Now()
	return lab.Poll(ctx, time.Minute, func() error {
		if err := proc.Alive(); err != nil {
			return lab.Permanent(err)
		}
		_, err := k.at.Get(ctx, adminBind, "/readyz")
		return err
	})
}

// Stop ends kproxy as an orchestrator does. Call reasons before.
func (k *kproxy) Stop() error { return k.proc.Stop(drainLimit) }

// endpoints are the addresses that kproxy advertises.
func (k *kproxy) endpoints() []string {
	all := []string{lab.HostPort(k.host, bootstrap)}
	for p := firstNode; p <= k.lastNode(); p++ {
		all = append(all, lab.HostPort(k.host, p))
	}
	return all
}

// reasons counts why sessions have ended, since kproxy was started last.
func (k *kproxy) reasons(ctx context.Context) (map[string]int, error) {
	metrics, err := k.at.Get(ctx, adminBind, "/metrics")
	if err != nil {
		return nil, err
	}
	return lab.Counts(metrics, "kproxy_sessions_closed_total", "reason", nil)
}

// says reports whether kproxy's log contains a text.
func (k *kproxy) says(text string) error {
	log, err := os.ReadFile(k.proc.LogPath)
	if err == nil && !strings.Contains(string(log), text) {
		err = fmt.Errorf("kproxy's log does not say %q", text)
	}
	return err
}
