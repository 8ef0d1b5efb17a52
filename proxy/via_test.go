package proxy_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/crypto/ssh/knownhosts"

	"kproxy/internal/auth"
	"kproxy/internal/kfakelab"
	"kproxy/internal/racelab"
	"kproxy/internal/via"
	"kproxy/internal/via/viatest"
	"kproxy/proxy"
	"kproxy/proxy/config"
	"kproxy/proxy/ssh"
)

// commandEnv makes the test's binary the command of an exec.
const commandEnv = "KPROXY_VIA_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(commandEnv) != "" {
		os.Exit(viatest.Command(os.Args[1:])) //nolint:forbidigo // the command's status
	}
	racelab.WaitTogether()
	if err := os.Setenv(commandEnv, "1"); err != nil { // of the commands that this process runs
		panic(err)
	}
	m.Run()
}

// far is a cluster that is reached through a via only.
type far struct {
	lab
	conf    *proxy.Config
	machine *viatest.Gate   // the machine of the via; nil: a command
	brokers []*viatest.Gate // in front of each broker, by node
}

// vias are all ways through.
var vias = []string{"socks5", "http", "ssh", "exec"}

// goVia has the proxy go through a via of its own.
func (f *far) goVia(t *testing.T, scheme string) {
	t.Helper()
	c := &f.conf.Clusters[0]
	secret := viaFile(t, viatest.Password)
	switch scheme {
	case "socks5":
		f.machine = viatest.SOCKS5(t, true)
		c.Via = config.Via{URL: "socks5://" + viatest.User + "@" + f.machine.Address, PasswordFile: secret}
	case "http":
		f.machine = viatest.Connect(t, true)
		c.Via = config.Via{URL: "http://" + viatest.User + "@" + f.machine.Address, PasswordFile: secret}
	case "ssh":
		host, key := viatest.NewKey(t), viatest.NewKey(t)
		f.machine = viatest.SSH(t, host.Signer, key.Signer.PublicKey())
		c.Via = viaSSH(t, f.machine, host, key)
	case "exec":
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		c.Via.URL = "exec:'" + self + "' relay {host} {port}"
	}
}

func viaSSH(t *testing.T, machine *viatest.Gate, host, key viatest.Key) config.Via {
	t.Helper()
	return config.Via{
		URL:        "ssh://" + viatest.User + "@" + machine.Address,
		KeyFile:    viaFile(t, key.PEM),
		KnownHosts: viaFile(t, knownhosts.Line([]string{knownhosts.Normalize(machine.Address)}, host.Signer.PublicKey())),
	}
}

func viaFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// farCluster starts brokers that advertise names of the far side, and configures a
// proxy that would reach them nowhere else.
func farCluster(t *testing.T) *far {
	t.Helper()
	f := &far{}
	f.conf = f.config()
	f.conf.Parts.SSH = ssh.Hop
	f.conf.Dial = nil
	kfakelab.Start(t, 2, func(at []string) (far []string) {
		for _, address := range at {
			relay := viatest.Relay(t, address)
			f.brokers, far = append(f.brokers, relay), append(far, relay.Far())
		}
		return far
	}, kfake.SeedTopics(2, "t"))
	f.conf.Clusters[0].Bootstrap = []string{f.brokers[0].Far()}
	return f
}

// produces writes a record to each partition.
func produces(t *testing.T, c *kgo.Client, value []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for partition := range int32(2) {
		if err := c.ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: partition, Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// dialCount is how many dials have gone so.
func (f *far) dialCount(outcome proxy.DialOutcome) (n int64) {
	for _, c := range f.proxy.Stats().Clusters {
		for _, d := range c.Dials {
			if d.Outcome == outcome {
				n += d.Count
			}
		}
	}
	return n
}

// outage drops servers, waits until a client that has something to send has seen it, and
// has everything arrive once they are back.
func (f *far) outage(t *testing.T, c *kgo.Client, seen func(), servers ...*viatest.Gate) {
	t.Helper()
	for _, s := range servers {
		s.Cut()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for partition := range int32(2) {
		c.Produce(ctx, &kgo.Record{Topic: "t", Partition: partition, Value: []byte("x")}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("produce: %v", err)
			}
		})
	}
	seen()
	for _, s := range servers {
		s.Open()
	}
	if err := c.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// A cluster behind a via works, and works again after the via, or a broker behind it, was gone
// for a while. The log says which of them it was.
func TestViaDroppedAndRestored(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	for _, scheme := range vias {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			f := farCluster(t)
			f.goVia(t, scheme)
			f.start(t, f.conf)
			f.learned(t, 0, 1)
			c := f.franz(t, "bob.test:9092", kgo.RecordPartitioner(kgo.ManualPartitioner()))
			produces(t, c, []byte("first"))
			if f.machine == nil {
				f.outage(t, c, func() { // a command that runs counts as connected
					f.log.has(t, "session closed", "the command ended with", "cannot reach ", viatest.FarName, "via=exec:")
				}, f.brokers...)
				return
			}
			f.outage(t, c, func() {
				f.log.has(t, "session closed", "reason=dial_failed", "via="+scheme, "from the far side of via")
			}, f.brokers...)
			f.outage(t, c, func() {
				f.log.has(t, "session closed", "reason=dial_failed", "look at the machine or the command that via names")
			}, f.machine)
			for _, outcome := range []proxy.DialOutcome{proxy.OutcomeViaTargetUnreachable, proxy.OutcomeViaProxyUnreachable} {
				if f.dialCount(outcome) == 0 {
					t.Errorf("no dial was counted as %s", outcome)
				}
			}
		})
	}
}

// The connections and processes of a via end with the proxy.
func TestViaEndsWithTheProxy(t *testing.T) {
	needsPlainTCP(t)
	for _, scheme := range vias {
		t.Run(scheme, func(t *testing.T) {
			f := farCluster(t)
			f.goVia(t, scheme)
			f.proxy = nil
			before := measure()
			p, err := proxy.New(f.conf)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.proxy = p
			f.learned(t, 0, 1)
			f.outside.Alias("bob.test:9092", "127.0.0.1:9092")
			client := f.dial(t, "bob.test:9092")
			client.send(0, heartbeat())
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			p.Shutdown(ctx)
			client.close()
			for _, g := range append(f.brokers, f.machine) {
				if g != nil {
					g.Cut()
				}
			}
			before.settled(t)
		})
	}
}

// socks5 and http give TCP connections, so that records are spliced as without them.
func TestViaIsSpliced(t *testing.T) {
	needsPlainTCP(t)
	notCopying(t)
	for _, scheme := range []string{"socks5", "http"} {
		t.Run(scheme, func(t *testing.T) {
			f := farCluster(t)
			f.goVia(t, scheme)
			f.start(t, f.conf)
			c := f.franz(t, "bob.test:9092", kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
			const size = 900_000
			deadline := time.Now().Add(patience) // a reader that is slow for a moment has bytes copied
			for spliced := false; !spliced; {
				before, _ := f.moved()
				produces(t, c, noise(size))
				now, _ := f.moved()
				if spliced = now.Spliced-before.Spliced > size/2; !spliced && time.Now().After(deadline) {
					t.Fatalf("%d bytes were spliced and %d copied", now.Spliced, now.Copied)
				}
			}
			c.Close()
		})
	}
}

// The sweep for peers that are gone sees TCP. A far side of ssh that has fallen
// silent is found by ssh's own questions.
func TestViaFallsSilent(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	f := farCluster(t)
	host, key := viatest.NewKey(t), viatest.NewKey(t)
	machine := viatest.SSH(t, host.Signer, key.Signer.PublicKey())
	middle := viatest.NewHole(t, machine.Address)
	f.conf.Clusters[0].Via = viaSSH(t, middle.Gate, host, key)
	f.conf.Clusters[0].Keepalive = time.Second
	f.start(t, f.conf)
	f.learned(t, 0, 1)
	c := f.franz(t, "bob.test:9092", kgo.RecordPartitioner(kgo.ManualPartitioner()))
	produces(t, c, []byte("x"))
	middle.Swallow()
	f.ends.waitFor(t, "session whose broker was lost", func(all []proxy.SessionEnd) bool {
		return slices.ContainsFunc(all, func(e proxy.SessionEnd) bool {
			return e.Reason == proxy.BrokerReset && strings.Contains(e.Err.Error(), "the SSH connection is lost")
		})
	})
	produces(t, c, []byte("y"))
}

// Each outcome of a via is one of the proxy's own, with what to do about it.
func TestViaOutcomesHaveAdvice(t *testing.T) {
	f := farCluster(t)
	f.conf.Clusters[0].Via.URL = "socks5://" + viatest.SOCKS5(t, true).Address // which wants a login
	f.start(t, f.conf)
	c := f.dial(t, "bob.test:9092")
	c.send(0, heartbeat())
	e := f.ended(t, proxy.DialFailed)
	if through, ok := errors.AsType[*via.Error](e.Err); !ok || through.Outcome != via.OutcomeLoginRefused {
		t.Errorf("ended with %v", e.Err)
	}
	f.log.has(t, "session closed", "see whether via's user")
	if f.dialCount(proxy.OutcomeViaLoginRefused) == 0 {
		t.Error("not counted")
	}
}

// A via on loopback is not a broker on loopback: what lies behind it may see a secret.
func TestViaKeepsSecrets(t *testing.T) {
	needsPlainTCP(t)
	f := farCluster(t)
	f.goVia(t, "socks5")
	f.conf.Clusters[0].SASL = &config.SASL{Mechanism: auth.Plain, Username: "u", Password: config.Secret{Text: "secret"}}
	f.start(t, f.conf)
	c := f.dial(t, "bob.test:9092")
	c.send(0, heartbeat())
	if e := f.ended(t, proxy.BrokerLogin); !errors.Is(e.Err, auth.ErrPlaintext) {
		t.Errorf("ended with %v", e.Err)
	}
}
