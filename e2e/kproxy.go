//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/lab"
)

// drainTimeout is kproxy's own limit for the responses in flight at SIGTERM.
const drainTimeout = 20 * time.Second

// route is how kproxy gets to the brokers: its bootstrap addresses, and its
// dial rules as lines of YAML.
type route struct {
	Bootstrap []string
	Dial      []string
}

// configuration is kproxy's configuration file, from a route and listeners.
var configuration = template.Must(template.New("").Funcs(template.FuncMap{"join": strings.Join}).Parse(`
clusters:
  story:
    bootstrap: [{{join .Route.Bootstrap ", "}}]
    dial:{{range .Route.Dial}}
      - {{.}}{{end}}
    connect_timeout: 5s
    keepalive: 30s
    listeners:{{range .Listeners}}
      {{.Name}}: {{.YAML}}{{end}}
limits: {first_request_timeout: 10s}
drain: {timeout: {{.DrainTimeout}}}
log: {level: info, format: json}
`))

// kproxy is a running `kproxy serve`.
type kproxy struct {
	proc      *lab.Process
	listeners []listener
	yaml      string // the configuration
	dir       string
	faulty    bool // the test makes faults that kproxy's log has to name
}

// byAddress bootstraps from the brokers' real addresses. One rule, a glob with a sum,
// leads to every broker that responses name, as a user would write for a port-forward of
// each broker.
func (c *cluster) byAddress() route {
	r := route{Dial: []string{fmt.Sprintf("{match: \"broker-*.vpc.invalid:9092\", to: \"127.0.0.1:{%d+node}\"}", c.clientBase)}}
	for _, b := range c.Brokers {
		r.Bootstrap = append(r.Bootstrap, c.client(b.ID))
	}
	return r
}

// startKproxy runs kproxy in front of the shared cluster until the test ends. Its end is
// tested, too: SIGTERM must lead to exit code 0 within the drain timeout, whatever the
// test has done.
func startKproxy(t *testing.T, r route) *kproxy {
	t.Helper()
	dir, err := os.MkdirTemp(shared.dir, strings.ReplaceAll(t.Name(), "/", "-")+"-") //nolint:usetesting // E2E_DIR keeps it after the test
	if err != nil {
		t.Fatal(err)
	}
	p := &kproxy{listeners: newListeners(t, shared.ports), dir: dir}
	var file strings.Builder
	err = configuration.Execute(&file, map[string]any{"Route": r, "Listeners": p.listeners, "DrainTimeout": drainTimeout})
	if err != nil {
		t.Fatal(err)
	}
	p.yaml = file.String()
	p.Start(t)
	t.Cleanup(func() {
		p.Stop(t)
		p.refuseFaults(t)
		if t.Failed() {
			t.Logf("kproxy's configuration:\n%s\nkproxy complained:\n%s\n%s",
				p.yaml, p.proc.Complaints(), shared.kafka.Complaints())
		}
	})
	return p
}

// Start runs the binary and waits until each listener leads to a broker.
func (p *kproxy) Start(t *testing.T) {
	t.Helper()
	// Not the test's context: that ends before the cleanup which stops kproxy.
	proc, err := lab.StartKproxy(context.Background(), shared.kproxy, p.dir, nil, p.yaml)
	if err != nil {
		t.Fatal(err)
	}
	p.proc = proc
	for _, l := range p.listeners {
		if err := p.waitReady(t.Context(), l); err != nil {
			t.Errorf("listener %s: %v", l.Name, err)
		}
	}
	if t.Failed() {
		t.Fatalf("kproxy is not ready:\n%s", p.proc.LogTail())
	}
}

// waitReady waits until a client gets an ApiVersions and a Metadata response.
func (p *kproxy) waitReady(ctx context.Context, l listener) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(l.Advertise))
	if err != nil {
		return err
	}
	defer client.Close()
	return lab.Poll(ctx, 20*time.Second, func() error {
		if err := p.proc.Alive(); err != nil {
			return lab.Permanent(err)
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return client.Ping(ctx)
	})
}

// Stop ends kproxy as an orchestrator does. It may be called again.
func (p *kproxy) Stop(t *testing.T) {
	t.Helper()
	if err := p.proc.Stop(drainTimeout + 5*time.Second); err != nil {
		t.Error(err)
	}
}

// Via returns the listener with this name.
func (p *kproxy) Via(name string) listener {
	i := slices.IndexFunc(p.listeners, func(l listener) bool { return l.Name == name })
	return p.listeners[i]
}

// harmless has the reasons for which a session may end without a fault of kproxy: the
// tests stop clients, brokers and kproxy itself during their work.
var harmless = []string{
	"no_request", "client_closed", "client_reset", "broker_closed", "broker_reset", "dial_failed", "relearn", "drained",
}

// refuseFaults fails the test if kproxy closed a session for a fault it saw in a
// request or a response: all of them came from real clients and real brokers.
func (p *kproxy) refuseFaults(t *testing.T) {
	t.Helper()
	if p.faulty {
		return
	}
	log, err := os.ReadFile(p.proc.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(log) {
		var entry struct{ Level, Reason string }
		if json.Unmarshal(line, &entry) != nil {
			continue // the table that serve prints at its start
		}
		if entry.Level == "ERROR" || entry.Reason != "" && !slices.Contains(harmless, entry.Reason) {
			t.Errorf("kproxy's log: %s", line)
		}
	}
}
