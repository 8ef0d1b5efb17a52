//go:build e2e

package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// offer has the lines of doctor --json for pasting.
type offer struct {
	Command   string `json:"connect_command"`
	Addresses []struct {
		Fix *fix `json:"fix"`
	} `json:"addresses"`
}

type fix struct {
	Text       string   `json:"text"`
	Properties []string `json:"properties"`
	Env        []string `json:"env"`
	Command    string   `json:"command"`
}

// lines are the first fix that has lines for a file.
func (o *offer) lines(t *testing.T) *fix {
	t.Helper()
	for _, a := range o.Addresses {
		if a.Fix != nil && len(a.Fix.Properties) > 0 {
			return a.Fix
		}
	}
	t.Fatalf("no fix has lines to paste: %+v", o)
	return nil
}

// command is the first fix that is a command.
func (o *offer) command(t *testing.T) string {
	t.Helper()
	for _, a := range o.Addresses {
		if a.Fix != nil && a.Fix.Command != "" {
			return a.Fix.Command
		}
	}
	t.Fatalf("no fix is a command: %+v", o)
	return ""
}

// ask runs doctor --json.
func (s *site) ask(t *testing.T, args ...string) *offer {
	t.Helper()
	r := s.run(t, nil, append([]string{"doctor", "--json"}, args...)...)
	o := &offer{}
	if err := json.Unmarshal([]byte(r.stdout), o); err != nil {
		t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
	}
	return o
}

// content wants doctor to find nothing wrong.
func (s *site) content(t *testing.T, args ...string) {
	t.Helper()
	if r := s.run(t, nil, append([]string{"doctor"}, args...)...); r.exit != 0 {
		t.Errorf("after the fix, kproxy doctor %s ended with %d:\n%s%s", quoted(args), r.exit, r.stdout, r.stderr)
	}
}

// mendings are faults of the broker whose configuration is Kafka's own. For each, doctor's
// command is run in a shell, and its lines are pasted into the broker's configuration.
var mendings = []struct {
	name, properties string
	flags            []string
	bare             bool // without listener.security.protocol.map
	env              bool // paste the environment of the container, in place of the properties
}{
	{name: "localhost", properties: "advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n"},
	{name: "cloud-name", properties: "advertised.listeners=PLAINTEXT://ip-10-99-7-1.ec2.internal:9092\n"},
	{name: "no-map-and-one-address", bare: true, properties: "listeners=PLAINTEXT://" + loneAt + ":9092,CONTROLLER://:9093\nadvertised.listeners=PLAINTEXT://ip-10-99-7-1.ec2.internal:9092\n"},
	{name: "unroutable-address", properties: "advertised.listeners=PLAINTEXT://192.168.77.50:9092\n"},
	{name: "container-name", properties: "advertised.listeners=PLAINTEXT://kafka:9092\n", env: true},
}

// mend pastes fixes.
func (s *site) mend(t *testing.T) {
	l := s.newLone(t)
	address := lab.HostPort(loneName, lonePort)
	for _, m := range mendings {
		t.Run(m.name, func(t *testing.T) {
			l.write(t, m.properties, m.bare)
			l.restart(t)
			s.examine(t, fault{name: "lone-" + m.name, args: args(address, m.flags), exit: 1, says: []string{"advertised.listeners=", "KAFKA_ADVERTISED_LISTENERS", "kproxy connect " + address}})
			o := s.ask(t, args(address, m.flags)...)
			t.Run("by its command", func(t *testing.T) { s.content(t, s.connectBy(t, o.Command)) })
			t.Run("by its lines", func(t *testing.T) {
				lines := o.lines(t).Properties
				if m.env {
					lines = propertiesOf(o.lines(t).Env)
				}
				l.paste(t, lines)
				l.restart(t)
				s.content(t, args(advertisedBy(t, lines), m.flags)...)
			})
		})
	}
	for _, f := range mendedByCommand {
		t.Run(f.name, func(t *testing.T) { s.content(t, s.connectBy(t, s.ask(t, f.args...).Command)) })
	}
	for _, f := range mendedByFlags {
		t.Run(f.name, func(t *testing.T) {
			command := s.ask(t, f.args...).command(t)
			cmd := s.shell(t, command)
			if out, err := lab.Output(s.me.Command(cmd)); err != nil {
				t.Errorf("%s: %v\n%s", command, err, out)
			}
		})
	}
	for _, file := range mendedFiles {
		t.Run(file, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(s.dir, file))
			check(t, err)
			mended := "mended-" + file
			s.files.Write(t, mended, []byte(pasted(string(text), withSecret(s.ask(t, from(file)...).lines(t).Properties))))
			s.content(t, from(mended)...)
		})
	}
}

// advertisedBy is the address of the listener that lines for a broker are about: the last
// that is no controller's.
func advertisedBy(t *testing.T, lines []string) string {
	t.Helper()
	for _, line := range lines {
		list, ok := strings.CutPrefix(line, "advertised.listeners=")
		if !ok {
			continue
		}
		for _, entry := range slices.Backward(strings.Split(list, ",")) {
			name, address, _ := strings.Cut(entry, "://")
			if name != "CONTROLLER" {
				return address
			}
		}
	}
	t.Fatalf("no advertised.listeners in %q", lines)
	return ""
}

// mendedByCommand are faults of the cluster that kproxy connect bypasses.
var mendedByCommand = []fault{
	{name: "private-address", args: args(lab.HostPort(private(1), portOf("INTRANET")), via(forwards, "me", "known_hosts"))},
	{name: "wildcard", args: args(fake(9301))},
	{name: "localhost-of-three", args: []string{first("LOCALHOST"), lab.HostPort(host(2), 9101), lab.HostPort(host(3), 9101)}},
}

// mendedByFlags are wrong flags, for which doctor prints its own command line with the right
// ones.
var mendedByFlags = []fault{
	{name: "tls", args: args(first("PLAIN"), tlsFlags)},
	{name: "login", args: args(first("TLS"), tlsFlags, login("PLAIN", username, "password"))},
	{name: "mechanism", args: args(first("SASL"), login("SCRAM-SHA-512", username, "password"))},
	{name: "plaintext", args: args(first("SASL"), loginFlags)},
}

// mendedFiles are clients' files with one wrong key.
var mendedFiles = []string{"ssl.properties", "no-sasl.properties", "mechanism.properties", "rdkafka-mechanism.conf"}

// withSecret fills in the password, as a user does in lines that have a place for it.
func withSecret(lines []string) []string {
	var all []string
	for _, line := range lines {
		all = append(all, strings.ReplaceAll(line, "SECRET", "alice-secret"))
	}
	return all
}

// pasted is a file of keys after a user has pasted lines into it: in the place of those with
// the same keys, and behind the others.
func pasted(text string, lines []string) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range lines {
		key, _, _ := strings.Cut(line, "=")
		all = slices.DeleteFunc(all, func(old string) bool { return strings.HasPrefix(old, key+"=") })
	}
	return strings.Join(append(all, lines...), "\n") + "\n"
}

// connectBy runs a command line of kproxy connect in a shell until the test ends, and returns
// the address that it serves.
func (s *site) connectBy(t *testing.T, command string) string {
	t.Helper()
	if !strings.HasPrefix(command, "kproxy connect ") {
		t.Fatalf("got the command %q, want kproxy connect …", command)
	}
	p, err := lab.StartProcess("kproxy connect", filepath.Join(t.TempDir(), "log"), s.me.Command(s.shell(t, command)))
	check(t, err)
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s\n%s", command, p.LogTail())
		}
	})
	bootstrap := regexp.MustCompile(`(?m)^bootstrap\.servers=(.*)$`)
	var address string
	check(t, lab.Poll(t.Context(), time.Minute, func() error {
		if err := p.Alive(); err != nil {
			return lab.Permanent(err)
		}
		log, err := os.ReadFile(p.LogPath)
		said := bootstrap.FindSubmatch(log)
		if err != nil || said == nil || !bytes.Contains(log, []byte("serving")) {
			return fmt.Errorf("%s does not serve yet: %w\n%s", command, err, log)
		}
		address = string(said[1])
		return nil
	}))
	return address
}

// shell is a command line for a shell in which kproxy is the one under test.
func (s *site) shell(t *testing.T, command string) *exec.Cmd {
	t.Helper()
	bin := t.TempDir()
	check(t, os.Symlink(s.binary, filepath.Join(bin, "kproxy")))
	cmd := lab.Command(context.Background(), "/bin/bash", "-c", command)
	cmd.Dir = s.dir
	cmd.Env = []string{"HOME=" + s.dir, "XDG_STATE_HOME=" + t.TempDir(), "PATH=" + bin + ":" + os.Getenv("PATH")}
	return cmd
}

// propertiesOf reads a container's environment as Kafka's image does.
func propertiesOf(env []string) (lines []string) {
	for _, line := range env {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		name = strings.TrimPrefix(name, "KAFKA_")
		lines = append(lines, strings.ToLower(strings.ReplaceAll(name, "_", "."))+"="+strings.Trim(value, `"'`))
	}
	return lines
}
