package proxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/certlab"
	"kproxy/internal/netlab"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// lab is a proxy between two networks: brokers are on vpc, under names that
// clients cannot resolve, and clients are outside, where there is the proxy
// only.
type lab struct {
	vpc, outside netlab.Network
	proxy        *proxy.Proxy
	log          lines
	ends         *journal[proxy.SessionEnd] // of every session that has ended
	dials        *journal[dialled]
	first        *broker // that open started

	brokerTLS *tls.Config // of brokers; nil: plaintext
	door      *door       // of every broker
}

// dialled is one attempt of the proxy to reach a broker.
type dialled struct {
	node    int32
	address string
	failed  bool
}

// copyAll has every test run with splicing off:
//
//	go test ./proxy -proxy.copy
var copyAll = flag.Bool("proxy.copy", false, "copy everything, as systems without splice do")

// notCopying skips a test that has no meaning with -proxy.copy, or on systems without splice.
func notCopying(t *testing.T) {
	t.Helper()
	if *copyAll || runtime.GOOS != "linux" {
		t.Skip("everything is copied")
	}
}

// noise is n bytes that are not like each other.
func noise(n int) []byte {
	random := rand.New(rand.NewPCG(uint64(n), 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

func (l *lab) moved() (up, down proxy.Direction) {
	all := sumOf(l.proxy.Stats())
	return all.up, all.down
}

// splicePipes is Config.SplicePipes, which depends on -proxy.copy.
func splicePipes() int {
	if *copyAll {
		return -1
	}
	return 0
}

// overTLS has tests run with TLS on both sides:
//
//	go test ./proxy -proxy.tls
//
// Those that cannot say so by needsPlainTCP.
var overTLS = flag.Bool("proxy.tls", false, "speak TLS on both sides")

// needsPlainTCP skips a test with -proxy.tls whose ends speak plain TCP, or that has
// certificates of its own: it is about sockets, about splicing, about bytes before a
// handshake, or about brokers that differ only by their addresses.
func needsPlainTCP(t *testing.T) {
	t.Helper()
	if *overTLS {
		t.Skip("it needs plain TCP")
	}
}

// The certificate of all brokers and listeners with -proxy.tls.
var everybody struct {
	once     sync.Once
	ca       *certlab.Authority
	identity certlab.Identity
}

// certify makes that certificate.
func certify(t *testing.T) {
	t.Helper()
	everybody.once.Do(func() {
		everybody.ca = certlab.NewAuthority(t, "everybody")
		always := func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = everybody.ca.Cert.NotBefore, everybody.ca.Cert.NotAfter
		}
		everybody.identity = everybody.ca.Issue(t, always, "*.vpc.invalid", "*.test")
	})
}

// inMemory makes both networks pipes, which testing/synctest can wait for.
func (l *lab) inMemory() {
	l.vpc.InMemory = true
	l.outside.InMemory = true
}

// config is a configuration with one cluster and the listeners bob and fred.
func (l *lab) config() *proxy.Config {
	l.log = lines{newJournal[string]()}
	l.ends = newJournal[proxy.SessionEnd]()
	l.dials = newJournal[dialled]()
	return &proxy.Config{
		Config: config.Config{
			SplicePipes: splicePipes(),
			ParkAfter:   20 * time.Millisecond, // as often as can be
			Clusters: []config.Cluster{{
				Name:      "orders",
				Bootstrap: []string{brokerName(0)},
				Listeners: []config.Listener{
					{
						Name: "bob", Bind: "127.0.0.1:9092", Advertise: "bob.test:9092",
						Nodes: config.Nodes{Ports: config.Range{First: 9100, Last: 9109}},
					},
					{
						Name: "fred", Bind: "127.0.0.1:19092", Advertise: "localhost:39092",
						Nodes: config.Nodes{Ports: config.Range{First: 19100, Last: 19109}, AdvertisePorts: config.Range{First: 39100, Last: 39109}},
					},
				},
			}},
		},
		Logger: slog.New(slog.NewTextHandler(l.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Observer: &proxy.Observer{
			SessionClosed: func(_ proxy.Session, e proxy.SessionEnd) { l.ends.add(e) },
			Dialed: func(_ string, node int32, address string, err error) {
				l.dials.add(dialled{node, address, err != nil})
			},
		},
		Listen: l.outside.Listen,
		Dial:   l.vpc.Dial,
	}
}

// start runs a proxy with conf until the test ends, and puts its advertised addresses on the
// outside network.
func (l *lab) start(t *testing.T, conf *proxy.Config) {
	t.Helper()
	if *overTLS {
		l.secure(t, conf)
	}
	p, err := proxy.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.proxy = p
	t.Cleanup(func() {
		// Nothing is owed to the test any more: sessions are cut at once, also those
		// that give a broker its time to end its side.
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		p.Shutdown(ctx)
	})
	plan, err := conf.Compile()
	if err != nil {
		t.Fatal(err)
	}
	for _, planned := range plan.Endpoints() {
		if planned.FirstNode != config.AnyNode {
			l.alias(t, planned)
		}
	}
}

// secure has a configuration speak TLS wherever it does not already.
func (l *lab) secure(t *testing.T, conf *proxy.Config) {
	t.Helper()
	certify(t)
	files := certlab.NewFolder(t)
	cert, key := files.Pair(t, "everybody", everybody.identity)
	ca := files.Write(t, "ca", everybody.ca.PEM)
	for i := range conf.Clusters {
		c := &conf.Clusters[i]
		if c.TLS == nil {
			c.TLS = &config.UpstreamTLS{CA: ca}
		}
		for j := range c.Listeners {
			if c.Listeners[j].TLS == nil {
				c.Listeners[j].TLS = &config.ListenerTLS{Certs: []config.KeyPair{{Cert: cert, Key: key}}}
			}
		}
	}
}

// alias makes advertised addresses lead to the bound ones.
func (l *lab) alias(t *testing.T, planned config.Endpoints) {
	t.Helper()
	host, port := splitAddress(t, planned.FirstAdvertised)
	bindHost, bindPort := splitAddress(t, planned.FirstBind)
	for i := range int(planned.LastNode-planned.FirstNode) + 1 {
		l.outside.Alias(host+":"+strconv.Itoa(port+i), bindHost+":"+strconv.Itoa(bindPort+i))
	}
}

// learned waits until the proxy knows exactly these nodes.
func (l *lab) learned(t *testing.T, nodes ...int32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var known []int32
	for _, row := range l.proxy.Table(ctx) {
		if row.Listener == "bob" {
			known = append(known, row.Node)
		}
	}
	if !slices.Equal(known, nodes) {
		t.Fatalf("the proxy knows nodes %v, want %v", known, nodes)
	}
}

// ended waits for the next session to end, which must be for this reason.
// Connections that have sent nothing do not count, unless they are meant.
func (l *lab) ended(t *testing.T, want proxy.CloseReason) proxy.SessionEnd {
	t.Helper()
	e := l.ends.next(t)
	for e.Reason == proxy.NoRequest && want != proxy.NoRequest {
		e = l.ends.next(t)
	}
	if e.Reason != want {
		t.Fatalf("a session ended as %s (%v), want %s", e.Reason, e.Err, want)
	}
	return e
}

// open starts a broker and a proxy, and opens a session that has had one response.
func (l *lab) open(t *testing.T) (client, brokerConn) {
	t.Helper()
	l.first = l.startBroker(t, 0, 0)
	l.start(t, l.config())
	return l.session(t, l.first)
}

// session opens one more session.
func (l *lab) session(t *testing.T, b *broker) (client, brokerConn) {
	t.Helper()
	c := l.dial(t, "bob.test:9092")
	c.send(0, heartbeat())
	s := b.take()
	s.request(kmsg.Heartbeat, 0)
	s.answer(0, heartbeatAnswer())
	c.receive(0, heartbeatAnswer())
	return c, s
}

// eventually runs rounds until one is as it should be. In any round a reader may be
// slow for a moment, or a frame arrive in two parts, and then bytes are copied that
// are spliced as a rule: how many, no test can say.
func eventually(t *testing.T, what string, round func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !round(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not once within %v", what, patience)
		}
	}
}

// promptly fails the test if f takes so long that it may have waited for a timer:
// the shortest that could be missed, in anybody's code, is one of five seconds.
func promptly(t *testing.T, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}
