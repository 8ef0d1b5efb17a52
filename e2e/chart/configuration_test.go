//go:build e2e && linux

package chart

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kproxy/internal/certlab"
)

// kproxy check accepts each configuration with the files that it names, and the Service and the
// NetworkPolicy lead from every advertised port to the one that kproxy binds.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	for _, name := range names(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := objects(t, rendered(t, name, "--set", "networkPolicy.enabled=true"))
			leads(t, all, portsOf(t, checked(t, configuration(t, all))))
		})
	}
}

// leads compares the ports of the Service and the NetworkPolicy with those of kproxy: the bound port
// of each advertised one.
func leads(t *testing.T, all []object, want map[int]int) {
	t.Helper()
	for _, o := range all {
		switch {
		case o.kind() == "Service" && o.text("metadata", "name") == "edge-kproxy":
			got := map[int]int{}
			for _, p := range o.list("spec", "ports") {
				got[p["port"].(int)] = p["targetPort"].(int)
				if node := p["nodePort"]; o.text("spec", "type") == "NodePort" && node != p["port"] {
					t.Errorf("node port %v is advertised as %v", node, p["port"])
				}
			}
			if !maps.Equal(got, want) {
				t.Errorf("the Service has %v, kproxy %v", got, want)
			}
		case o.kind() == "NetworkPolicy":
			var got []int
			for _, p := range o.list("spec", "ingress")[0].list("ports") {
				got = append(got, p["port"].(int))
			}
			binds := slices.Compact(slices.Sorted(maps.Values(want)))
			if slices.Sort(got); !slices.Equal(got, binds) {
				t.Errorf("the NetworkPolicy has %v, kproxy binds %v", got, binds)
			}
		}
	}
}

// checked is the output of kproxy check for a configuration. The files that it names are made.
func checked(t *testing.T, config string) string {
	t.Helper()
	dir := t.TempDir()
	config = strings.ReplaceAll(strings.ReplaceAll(config, "/run/", dir+"/run/"), "/var/lib/", dir+"/var/lib/")
	files := regexp.MustCompile(regexp.QuoteMeta(dir)+`/run/[a-z/.-]+`).FindAllString(config, -1)
	id := certlab.NewAuthority(t, "ca").Issue(t, nil, certificateNames(config)...)
	for _, file := range files {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		content := map[string][]byte{"tls.crt": id.CertPEM, "tls.key": id.KeyPEM, "ca.crt": id.Authority().PEM}[filepath.Base(file)]
		switch {
		case content != nil:
		case filepath.Base(file) == "users":
			content = []byte(program(t, "a password of alice\n", "passwd", "alice"))
		default:
			content = []byte("0123456789abcdef\n")
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "kproxy.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return program(t, "", "check", "--config", file)
}

// certificateNames are the names of a certificate for all listeners: as DNS has them, and those of broker 0.
func certificateNames(config string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^ +advertise: '?\[?(.+?)\]?:\d+'?$`).FindAllStringSubmatch(config, -1) {
		name := strings.TrimSuffix(strings.ToLower(m[1]), ".")
		all = append(all, name, "*."+name)
	}
	for _, m := range regexp.MustCompile(`(?m)^ +sni: '?(.+):\d+'?$`).FindAllStringSubmatch(config, -1) {
		for _, cluster := range []string{"orders", "audit"} {
			name := strings.NewReplacer("{cluster}", cluster, "{node}", "0").Replace(m[1])
			_, domain, _ := strings.Cut(name, ".")
			all = append(all, name, "*."+domain)
		}
	}
	return all
}

// program is the output of a command of kproxy that ends with 0.
func program(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), kproxy, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("kproxy %s: %v\n%s", args[0], err, stderr.String())
	}
	return stdout.String()
}

// portsOf reads the table that kproxy check prints: the bound port of each advertised one.
func portsOf(t *testing.T, out string) map[int]int {
	t.Helper()
	ports := map[int]int{}
	row := regexp.MustCompile(`(?m)^  \S+ +\S*:(\d+)(?:-(\d+))? +\S+:(\d+)(?:-\d+)?$`)
	for _, m := range row.FindAllStringSubmatch(out, -1) {
		bind, advertised := number(t, m[1]), number(t, m[3])
		last := bind
		if m[2] != "" {
			last = number(t, m[2])
		}
		for i := range last - bind + 1 {
			ports[advertised+i] = bind + i
		}
	}
	if len(ports) == 0 {
		t.Errorf("check prints no ports:\n%s", out)
	}
	return ports
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
