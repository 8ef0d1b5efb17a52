//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

// The addresses of the networks. The brokers' are on the loopback interface of
// vpc; kproxy has one on each link.
const (
	brokerNet     = "10.213.30.0/24"
	dockerKproxy  = "10.213.31.1"
	dockerClient  = "10.213.31.2"
	outsideKproxy = "10.213.32.1"
	outsideClient = "10.213.32.2"
	adminAddress  = "127.0.0.1:9400"
)

// The advertised names. Each name resolves in its own place alone.
const (
	bob   = "kproxy:19092"
	fred  = "localhost:19092"
	alice = "never-gonna-give-you-up:29094"
	// The same for the brokers' SASL listener.
	aliceSASL = "never-gonna-give-you-up:39094"
	// The same for a listener of readers.
	aliceReaders = "never-gonna-give-you-up:59094"
	// The same by a name that is longer than the brokers' own.
	aliceLong = longName + ":49094"
	shortName = "never-gonna-give-you-up"
	longName  = "never-gonna-give-you-up.never-gonna-let-you-down.example"
)

// brokersDomain is in every name that a broker has.
const brokersDomain = ".us-west-2.compute.internal"

// A client that prints such a word has got a broker's own address.
var brokerWords = []string{brokersDomain, "10.213.30."}

func brokerAddress(id int) string { return fmt.Sprintf("10.213.30.1%d", id) }
func brokerName(id int) string    { return fmt.Sprintf("ip-172-31-18-16%d%s", id, brokersDomain) }

// maxBrokers is how many brokers have a name.
const maxBrokers = 5

// places are the networks of one release.
type places struct {
	vpc, docker, outside *lab.Namespace
}

// newPlaces makes the networks. The owner must Close them.
func newPlaces() (p *places, err error) {
	p = &places{}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if p.vpc, err = lab.NewNamespace("kp-vpc"); err != nil {
		return p, err
	}
	if p.docker, err = lab.NewNamespace("kp-docker"); err != nil {
		return p, err
	}
	if p.outside, err = lab.NewNamespace("kp-outside"); err != nil {
		return p, err
	}
	names := map[string]string{shortName: outsideKproxy}
	for id := 1; id <= maxBrokers; id++ {
		names[brokerName(id)] = brokerAddress(id)
		if err := p.vpc.Run("ip", "addr", "add", brokerAddress(id)+"/32", "dev", "lo"); err != nil {
			return p, err
		}
	}
	return p, errors.Join(
		p.vpc.Hosts(names),
		p.vpc.Link(dockerKproxy+"/30", p.docker, dockerClient+"/30"),
		p.vpc.Link(outsideKproxy+"/30", p.outside, outsideClient+"/30"),
		countLeaks(p.docker, dockerKproxy),
		countLeaks(p.outside, outsideKproxy),
		p.docker.Hosts(map[string]string{"kproxy": dockerKproxy}),
		p.leadAstray(true),
	)
}

// leadAstray makes the brokers' names resolve outside, or not.
func (p *places) leadAstray(on bool) error {
	names := map[string]string{shortName: outsideKproxy, longName: outsideKproxy}
	for id := 1; on && id <= maxBrokers; id++ {
		names[brokerName(id)] = brokerAddress(id)
	}
	return p.outside.Hosts(names)
}

// countLeaks refuses and counts the packets of a network to the brokers. Without the
// route the firewall would have nothing to count.
func countLeaks(n *lab.Namespace, via string) error {
	return errors.Join(
		n.Run("ip", "route", "add", brokerNet, "via", via),
		n.Run("nft", "add table inet compat"),
		n.Run("nft", "add counter inet compat leaks"),
		n.Run("nft", "add chain inet compat out { type filter hook output priority 0; }"),
		n.Run("nft", "add rule inet compat out ip daddr "+brokerNet+" counter name leaks reject"),
	)
}

// leaks is how many packets the networks have sent to the brokers' own addresses.
func (p *places) leaks(ctx context.Context) (packets int, err error) {
	for _, n := range []*lab.Namespace{p.docker, p.outside} {
		leaks, err := counter(ctx, n, "compat", "leaks")
		if err != nil {
			return 0, err
		}
		packets += leaks.Packets
	}
	return packets, nil
}

// traffic is the count of a firewall.
type traffic struct{ Packets, Bytes int }

// counter reads a named counter of a network's firewall.
func counter(ctx context.Context, n *lab.Namespace, table, name string) (traffic, error) {
	out, err := n.Command(exec.CommandContext(ctx, "nft", "-j", "list", "counter", "inet", table, name)).Output()
	if err != nil {
		return traffic{}, fmt.Errorf("counter %s of %s: %w", name, n.Name, err)
	}
	var response struct {
		Nftables []struct{ Counter *traffic }
	}
	if err := json.Unmarshal(out, &response); err != nil {
		return traffic{}, err
	}
	for _, a := range response.Nftables {
		if a.Counter != nil {
			return *a.Counter, nil
		}
	}
	return traffic{}, fmt.Errorf("counter %s of %s: not in %s", name, n.Name, out)
}

// Close removes the networks.
func (p *places) Close() {
	for _, n := range []*lab.Namespace{p.outside, p.docker, p.vpc} {
		if n != nil {
			n.Close()
		}
	}
}

// kproxyConfig is a platform engineer's configuration at the edge of vpc.
func kproxyConfig(tapped bool) string {
	bootstrap := func(port int) string {
		var seeds []string
		for id := range clusterSize {
			seeds = append(seeds, fmt.Sprintf("%s:%d", brokerName(id+1), port))
		}
		return strings.Join(seeds, ", ")
	}
	dial := "[]"
	if tapped {
		dial = fmt.Sprintf(`[{match: "ip-172-31-18-16*%s:%d", to: "10.213.30.1{1}:%d"}]`, brokersDomain, plainPort, tapPort)
	}
	return fmt.Sprintf(`
clusters:
  plain:
    bootstrap: [%s]
    dial: %s
    listeners:
      bob:   {bind: %s:19092, advertise: %q, nodes: {ports: 19093-19099, first_node: 1}}
      fred:  {bind: 127.0.0.1:19092, advertise: %q, nodes: {ports: 19093-19099, first_node: 1}}
      alice: {bind: %s:29094, advertise: %q, nodes: {ports: 29095-29099, first_node: 1}}
      readers: {bind: %[6]s:59094, advertise: %[12]q, nodes: {ports: 59095-59099, first_node: 1}, apis: {preset: read-only}}
      long:  {bind: %[6]s:49094, advertise: %[11]q, nodes: {ports: 49095-49099, first_node: 1}}
  sasl:
    bootstrap: [%[8]s]
    listeners:
      alice: {bind: %[6]s:39094, advertise: %[9]q, nodes: {ports: 39095-39099, first_node: 1}}
admin: {bind: %[10]s}
log: {level: info, format: json}
`, bootstrap(plainPort), dial, dockerKproxy, bob, fred, outsideKproxy, alice, bootstrap(saslPort), aliceSASL, adminAddress, aliceLong, aliceReaders)
}

// startKproxy runs kproxy in vpc and waits until it is ready.
func (p *places) startKproxy(ctx context.Context, binary, dir string, tapped bool) (*lab.Process, error) {
	proc, err := lab.StartKproxy(ctx, binary, dir, p.vpc, kproxyConfig(tapped))
	if err != nil {
		return nil, err
	}
	return proc, lab.Poll(ctx, 30*time.Second, func() error {
		if err := proc.Alive(); err != nil {
			return lab.Permanent(err)
		}
		_, err := p.vpc.Get(ctx, adminAddress, "/readyz")
		return err
	})
}
