//go:build e2e

package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kproxy/e2e/lab"
	"kproxy/internal/certlab"
)

// The addresses. The first network is the Internet of these tests; each of its addresses
// is on this machine. The brokers' private network is reached from the bastion alone. The
// third network is private, too, but a VPN leads there from here.
const (
	gateway  = "203.0.113.1"
	here     = "203.0.113.200"
	balancer = "203.0.113.20"
	servers  = "203.0.113.30"
	fakes    = "203.0.113.40"
	vacant   = "203.0.113.66" // no machine has it
	vpn      = "10.50.0.10"
	noRoute  = "192.168.77.0/24"
)

func public(id int) string  { return fmt.Sprintf("203.0.113.%d", 10+id) }
func private(id int) string { return fmt.Sprintf("10.99.0.%d", 10+id) }

// host is the broker's name, which both networks know.
func host(id int) string { return fmt.Sprintf("b%d.kafka.example", id) }

// internal is a name of the broker that its own network knows.
func internal(id int) string { return fmt.Sprintf("ip-10-99-0-%d.ec2.internal", 10+id) }

// site is a machine of a user, here, and the network of brokers and other servers.
type site struct {
	dir    string         // the user's folder: doctor runs in it
	files  certlab.Folder // the same
	binary string         // kproxy
	java   lab.Java
	net    *lab.Namespace // of the servers
	me     *lab.Namespace // of the user
	kafka  *lab.Cluster

	release   lab.Release
	authority *certlab.Authority
	life      context.Context // ends after the tests' own contexts
}

func newSite(t *testing.T) *site {
	t.Helper()
	life, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s := &site{dir: t.TempDir(), life: life}
	s.files = certlab.Folder(s.dir)
	if keep := os.Getenv("E2E_DIR"); keep != "" {
		s.dir = filepath.Join(keep, "doctor")
		s.files = certlab.Folder(s.dir)
		check(t, os.MkdirAll(s.dir, 0o700))
	}
	var err error
	if s.java, err = lab.NewJava(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if s.release, err = lab.NewRelease(t.Context(), lab.Newest); err != nil {
		t.Fatal(err)
	}
	if s.binary, err = kproxyBinary(t); err != nil {
		t.Fatal(err)
	}
	s.connect(t)
	s.makeCertificates(t)
	return s
}

// kproxyBinary is the kproxy under test: the one that KPROXY_BINARY names, or this tree's.
func kproxyBinary(t *testing.T) (string, error) {
	t.Helper()
	if file := os.Getenv("KPROXY_BINARY"); file != "" {
		return filepath.Abs(file)
	}
	return lab.BuildKproxy(t.Context(), t.TempDir())
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// connect makes the networks, the names in them, and the firewall.
func (s *site) connect(t *testing.T) {
	t.Helper()
	s.net, s.me = space(t, "kp-dr-net"), space(t, "kp-dr-me")
	check(t, s.net.Link(gateway+"/24", s.me, here+"/24"))
	mine := []string{balancer, servers, fakes, vpn}
	names := map[string]string{
		"kafka.example": balancer, "www.example": servers, "bastion.example": servers, loneName: loneAt, "vpn.kafka.example": vpn,
	}
	inside := map[string]string{}
	for id := 1; id <= brokers; id++ {
		mine = append(mine, public(id), private(id))
		names[host(id)] = public(id)
		names[fmt.Sprintf("old-b%d.kafka.example", id)] = vacant
		inside[host(id)], inside[internal(id)] = public(id), private(id)
	}
	for _, address := range mine {
		check(t, s.net.Run("ip", "addr", "add", address+"/32", "dev", "lo"))
	}
	check(t,
		s.net.Hosts(inside), s.me.Hosts(names),
		// The resolver's time limits, which are longer than doctor's.
		os.WriteFile(filepath.Join("/etc/netns", s.me.Name, "resolv.conf"), []byte("nameserver 127.0.0.1\n"), 0o644),
		s.me.Run("ip", "route", "add", "default", "via", gateway),
		s.me.Run("ip", "route", "add", "unreachable", noRoute),
		s.net.Run("nft", "add table inet firewall"),
		s.net.Run("nft", "add chain inet firewall in { type filter hook input priority 0; }"),
	)
	for _, rule := range []string{
		"ip saddr " + here + " ip daddr 10.99.0.0/24 drop",
		fmt.Sprintf("ip saddr %s tcp dport %d-%d drop", here, filteredPort, filteredPort+9),
		fmt.Sprintf("ip saddr %s ip daddr %s tcp dport %d drop", here, public(3), portOf("ONEFILTERED")),
	} {
		check(t, s.net.Run("nft", "add rule inet firewall in "+rule))
	}
	s.serveNames(t)
}

func space(t *testing.T, name string) *lab.Namespace {
	t.Helper()
	n, err := lab.NewNamespace(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// listen is net.Listen in the servers' network, until the test ends.
func (s *site) listen(t *testing.T, address string) net.Listener {
	t.Helper()
	var l net.Listener
	check(t, s.net.Inside(func() (err error) {
		var lc net.ListenConfig
		l, err = lc.Listen(s.life, "tcp", address)
		return err
	}))
	t.Cleanup(func() { l.Close() })
	return l
}

// process runs a program until the test ends.
func (s *site) process(t *testing.T, name string, in *lab.Namespace, args ...string) *lab.Process {
	t.Helper()
	path, err := lab.Tool(args[0], "one of the servers (Debian: apt-get install haproxy openssh-server)")
	if err != nil {
		t.Fatal(err)
	}
	cmd := lab.Command(s.life, path, args[1:]...)
	cmd.Dir, cmd.Env = s.dir, []string{"HOME=" + s.dir, "PATH=" + os.Getenv("PATH")}
	p, err := lab.StartProcess(name, filepath.Join(s.dir, strings.ReplaceAll(name, " ", "-")+".log"), in.Command(cmd))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s:\n%s", name, p.LogTail())
		}
	})
	return p
}

// accepts waits until a server accepts connections.
func (s *site) accepts(t *testing.T, p *lab.Process, address string) {
	t.Helper()
	check(t, lab.Poll(t.Context(), startLimit, func() error {
		if err := p.Alive(); err != nil {
			return lab.Permanent(err)
		}
		conn, err := s.net.Dial(t.Context(), "tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	}))
}
