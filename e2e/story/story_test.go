//go:build e2e

package story

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// line is one line of the table: a client somewhere, with a bootstrap address.
type line struct {
	where     string
	service   string // of the compose file that runs kcat; "": kcat on the host
	bootstrap string
	brokers   string // what kcat -L says
	records   string // whether they pass
}

const (
	pass       = "yes"
	refused    = "no: connection refused"
	unresolved = "no: the name does not resolve"
)

// kcatErrors are those of records that fail, the more telling first.
var kcatErrors = []struct{ text, means string }{
	{"Failed to resolve", unresolved},
	{"Connection refused", refused},
}

// lines are those without a change to the broker.
var lines = []line{
	{"BOB: a container beside the broker", "kcat", "kafka0:29092", "kafka0:29092", pass},
	{"FRED: the host", "", "localhost:9092", "localhost:9092", pass},
	{"BOB, at FRED's listener", "kcat", "kafka0:9092", "localhost:9092", refused},
	{"FRED, at BOB's listener", "", "localhost:29092", "kafka0:29092", unresolved},
	{"FRED, at ALICE's listener", "", "localhost:29094", "never-gonna-give-you-up:29094", unresolved},
	{"BOB, by kproxy", "kcat", "kproxy:39092", "kproxy:39100", pass},
	{"FRED, by kproxy", "", "localhost:19092", "localhost:19100", pass},
	{"ALICE: another network, by kproxy", "alice", "never-gonna-give-you-up:49092", "never-gonna-give-you-up:49100", pass},
}

// mended are the lines after the two fixes that kproxy doctor offers FRED for BOB's listener.
var (
	connected = line{"FRED, after doctor's command", "", "localhost:20000", "localhost:20002", pass}
	pasted    = line{"FRED, after doctor's lines are pasted", "", "localhost:39092", "localhost:39092", pass}
)

func (l line) command() string {
	if l.service == "" {
		return "kcat -L -b " + l.bootstrap
	}
	return "docker compose run --rm " + l.service + " -L -b " + l.bootstrap
}

// row is the line in the table of docs/containers.md.
func (l line) row() string {
	return fmt.Sprintf("| %s | `%s` | `%s` | %s |", l.where, l.command(), l.brokers, l.records)
}

// TestCompose runs story.yaml and story-2.2.yaml by podman-compose, with E2E_DOCKER=1 story.yaml by the
// docker client too, and edge.yaml by podman-compose.
func TestCompose(t *testing.T) {
	s := newSite(t)
	byPodman := s.podmanCompose(t)
	for _, r := range releases {
		t.Run(r.compose, func(t *testing.T) { s.tell(t, byPodman, r) })
	}
	t.Run("edge.yaml", func(t *testing.T) { s.edge(t, byPodman) })
	if os.Getenv("E2E_DOCKER") != "1" {
		t.Log("the docker client was not run: E2E_DOCKER=1 runs it")
		return
	}
	t.Run("docker", func(t *testing.T) { s.tell(t, s.dockerCompose(t), releases[len(releases)-1]) })
}

// tell runs one compose file, prints the table, and compares it with the page's.
func (s *site) tell(t *testing.T, f front, r release) {
	t.Helper()
	files := []string{r.compose}
	defer func() { s.down(t, f, files) }()
	s.up(t, f, files, "localhost:9092", "localhost:19092")
	var table []string
	for _, l := range lines {
		table = append(table, s.follow(t, f, files, l))
	}
	o := s.doctor(t, "localhost:29092")
	s.connect(t, o.Command, func(l line) { table = append(table, s.follow(t, f, files, l)) })

	fix := filepath.Join(t.TempDir(), "fix.yaml")
	check(t, os.WriteFile(fix, o.override(t), 0o600))
	files = append(files, fix)
	s.up(t, f, files, pasted.bootstrap, "localhost:19092")
	table = append(table, s.follow(t, f, files, pasted))
	for _, l := range lines[5:] { // kproxy's
		s.follow(t, f, files, l)
	}
	t.Logf("%s, Kafka %s\n| where | command | brokers | records |\n|---|---|---|---|\n%s\n", f.name, r.version, strings.Join(table, "\n"))

	page, err := os.ReadFile(filepath.Join(s.root, "docs/containers.md"))
	check(t, err)
	for _, row := range table {
		if !strings.Contains(string(page), row+"\n") {
			t.Errorf("docs/containers.md does not have the line\n%s", row)
		}
	}
}

// kcat runs kcat where the client is. It waits 20 seconds for metadata, and not 5: the machine may be busy.
func (s *site) kcat(t *testing.T, f front, files []string, service, stdin string, args ...string) (string, error) {
	t.Helper()
	args = append([]string{"-m", "20"}, args...)
	if service == "" {
		// Ports are published at 127.0.0.1 alone.
		return s.onHost(t.Context(), stdin, "kcat", append([]string{"-X", "broker.address.family=v4"}, args...)...)
	}
	return s.try(t.Context(), f, files, stdin, append([]string{"--profile", "tools", "run", "--rm", "-T", service}, args...)...)
}

var broker = regexp.MustCompile(`broker \d+ at (\S+)`)

// follow is a client, and returns the row of the table with the results.
func (s *site) follow(t *testing.T, f front, files []string, l line) string {
	t.Helper()
	got, out := s.once(t, f, files, l)
	if got != l {
		t.Errorf("%s:\ngot  %s\nwant %s\n%s\nkproxy:\n%s", f.name, got.row(), l.row(), out, s.log(f, files))
	}
	return got.row()
}

// once lists the brokers, writes a record and reads it.
func (s *site) once(t *testing.T, f front, files []string, l line) (got line, out string) {
	t.Helper()
	got = l
	got.brokers, got.records = "", "no"
	out, err := s.kcat(t, f, files, l.service, "", "-L", "-m", "20", "-b", l.bootstrap)
	if found := broker.FindStringSubmatch(out); err == nil && found != nil {
		got.brokers = found[1]
		got.records, out = s.record(t, f, files, l)
	}
	return got, out
}

// record writes a record and reads it. It returns the result and the output of the last kcat.
func (s *site) record(t *testing.T, f front, files []string, l line) (records, out string) {
	t.Helper()
	value := fmt.Sprintf("%s at %s", l.where, time.Now())
	out, err := s.kcat(t, f, files, l.service, value+"\n", "-P", "-c", "1", "-t", "story", "-X", "message.timeout.ms=15000", "-b", l.bootstrap)
	// Of `docker run --rm`, podman's service loses the exit code.
	if err != nil || strings.Contains(out, "ERROR") {
		for _, e := range kcatErrors {
			if strings.Contains(out, e.text) {
				return e.means, out
			}
		}
		return "no", out
	}
	out, err = s.kcat(t, f, files, l.service, "", "-C", "-t", "story", "-o", "beginning", "-e", "-q", "-m", "30", "-b", l.bootstrap)
	if err != nil || !strings.Contains(out, value) {
		return "no", out
	}
	return pass, out
}

// offer has the fixes of doctor --json.
type offer struct {
	Command   string `json:"connect_command"`
	Addresses []struct {
		Fix *struct {
			Env       []string `json:"env"`
			Bootstrap string   `json:"bootstrap"`
		} `json:"fix"`
	} `json:"addresses"`
}

// doctor runs kproxy doctor on the host, which must find the fault.
func (s *site) doctor(t *testing.T, address string) *offer {
	t.Helper()
	out, err := s.onHost(t.Context(), "", s.kproxy, "doctor", address)
	if err == nil || !strings.Contains(out, "kproxy connect "+address) {
		t.Errorf("kproxy doctor %s: %v\n%s", address, err, out)
	}
	cmd := s.place.Command(lab.Command(t.Context(), s.kproxy, "doctor", "--json", address))
	said, _ := cmd.Output() // it ends with 1: there is a fault
	o := &offer{}
	if err := json.Unmarshal(said, o); err != nil {
		t.Fatalf("kproxy doctor --json %s: %v\n%s", address, err, said)
	}
	return o
}

// override is a compose file with the lines of the fix for the broker's environment.
func (o *offer) override(t *testing.T) []byte {
	t.Helper()
	for _, a := range o.Addresses {
		if a.Fix == nil || len(a.Fix.Env) == 0 {
			continue
		}
		if a.Fix.Bootstrap != pasted.bootstrap {
			t.Errorf("doctor's new listener is at %s, want %s", a.Fix.Bootstrap, pasted.bootstrap)
		}
		file := "services:\n  kafka0:\n    environment:\n"
		for _, line := range a.Fix.Env {
			name, value, _ := strings.Cut(line, "=")
			file += fmt.Sprintf("      %s: %q\n", name, value)
		}
		return []byte(file)
	}
	t.Fatalf("doctor offers no lines for the broker: %+v", o)
	return nil
}

// connect runs doctor's command while it calls f with the line of a client on the host.
func (s *site) connect(t *testing.T, command string, f func(line)) {
	t.Helper()
	args := strings.Fields(command)
	if len(args) < 2 || args[0] != "kproxy" {
		t.Fatalf("doctor's command is %q", command)
	}
	cmd := s.place.Command(lab.Command(context.Background(), s.kproxy, args[1:]...))
	home := t.TempDir() // with no ports of a run before
	cmd.Env = append(slices.Clone(os.Environ()), "HOME="+home, "XDG_STATE_HOME="+home)
	p, err := lab.StartProcess(command, filepath.Join(home, "log"), cmd)
	check(t, err)
	defer p.Kill()
	address := regexp.MustCompile(`(?m)^bootstrap\.servers=(.*)$`)
	check(t, lab.Poll(t.Context(), time.Minute, func() error {
		if err := p.Alive(); err != nil {
			return lab.Permanent(err)
		}
		log, err := os.ReadFile(p.LogPath)
		found := address.FindSubmatch(log)
		if err != nil || found == nil || !strings.Contains(string(log), "serving") {
			return fmt.Errorf("%s does not serve yet: %w\n%s", command, err, log)
		}
		l := connected
		l.bootstrap = string(found[1])
		f(l)
		return nil
	}))
}
