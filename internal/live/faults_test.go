package live

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kproxy/internal/certlab"
	"kproxy/internal/kfakelab"
	"kproxy/internal/portlab"
	"kproxy/internal/via/viatest"
	"kproxy/proxy/config"
)

var alice = kfake.Superuser("PLAIN", "alice", "alice-secret")

func login(password string) *config.SASL {
	return &config.SASL{Mechanism: "PLAIN", Username: "alice", Password: config.Secret{Text: password}}
}

// planted is a fault, and how it is named: its key, its kind and its node.
type planted struct {
	name string
	plan func(p plot) (*lab, []Client)
	want []string // faults
	says string   // a part of the texts
}

// plot makes the parts of a planted fault.
type plot struct{ t *testing.T }

// Each fault on the way to the brokers is named with its key.
func TestFaultsUpstream(t *testing.T) {
	t.Parallel()
	for _, tt := range []planted{
		{"the name of a bootstrap address does not resolve", func(p plot) (*lab, []Client) {
			return newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At[0], "b1.vpc.invalid:9092"), nil
		}, []string{"clusters.c.bootstrap[1] name_unknown"}, "does not resolve"},
		{"nothing listens at bootstrap", func(p plot) (*lab, []Client) {
			return newLab(p.t, portlab.Closed(p.t)), nil
		}, []string{"clusters.c.bootstrap[0] refused"}, "connection refused"},
		{"another service is at bootstrap", func(p plot) (*lab, []Client) {
			return newLab(p.t, viatest.NewGate(p.t, func(c net.Conn) {
				_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.6\r\n")
				_, _ = io.Copy(io.Discard, c)
			}).Address), nil
		}, []string{"clusters.c.bootstrap[0] other_service"}, "an SSH server"},
		{"two clusters at bootstrap", func(p plot) (*lab, []Client) {
			return newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At[0], kfakelab.Start(p.t, 1, kfakelab.Real, kfake.ClusterID("stranger")).At[0]), nil
		}, []string{"clusters.c.bootstrap[1] another_cluster"}, `"stranger"`},
		{"bootstrap leads to kproxy itself", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			l.serve(p.t)
			l.cluster().Bootstrap = []string{"kafka.test:9092"}
			l.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, l.at(9092))
			}
			return l, nil
		}, []string{"clusters.c.bootstrap[0] loop"}, "kproxy itself"},
		{"no TLS where the brokers want it", func(p plot) (*lab, []Client) {
			at, _ := secureBrokers(p.t, "127.0.0.1")
			return newLab(p.t, at...), nil
		}, []string{"clusters.c.tls tls_wanted"}, "wants TLS"},
		{"an authority that is not trusted", func(p plot) (*lab, []Client) {
			at, _ := secureBrokers(p.t, "127.0.0.1")
			l := newLab(p.t, at...)
			l.cluster().TLS = &config.UpstreamTLS{CA: certlab.NewFolder(p.t).Write(p.t, "ca.pem", certlab.NewAuthority(p.t, "other").PEM)}
			return l, nil
		}, []string{"clusters.c.tls.ca tls_untrusted"}, "not trusted"},
		{"a broker's certificate without its name", func(p plot) (*lab, []Client) {
			at, ca := secureBrokers(p.t, "broker.test")
			l := newLab(p.t, at...)
			l.cluster().TLS = &config.UpstreamTLS{CA: ca}
			return l, nil
		}, []string{"clusters.c.tls.server_name tls_wrong_name"}, "broker.test"},
		{"a wrong password", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real, kfake.EnableSASL(), alice).At...)
			l.cluster().SASL = login("wrong")
			return l, nil
		}, []string{"clusters.c.sasl login_refused"}, `"alice"`},
		{"a mechanism that is not offered", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real, kfake.EnableSASL(), alice).At...)
			l.cluster().SASL = &config.SASL{Mechanism: "OAUTHBEARER", OAuth: config.OAuth{TokenFile: certlab.NewFolder(p.t).Write(p.t, "token", []byte("a.b.c"))}}
			return l, nil
		}, []string{"clusters.c.sasl.mechanism login_mechanism"}, "does not offer"},
		{"one broker is down", func(p plot) (*lab, []Client) {
			down := portlab.Closed(p.t)
			return newLab(p.t, kfakelab.Start(p.t, 3, func(at []string) []string { return []string{at[0], down, at[2]} }).At[0]), nil
		}, []string{"clusters.c refused 1"}, "connection refused"},
		{"a broker's name is known inside only", func(p plot) (*lab, []Client) {
			return newLab(p.t, kfakelab.Start(p.t, 2, func(at []string) []string { return []string{at[0], "b1.vpc.invalid:9092"} }).At[0]), nil
		}, []string{"clusters.c name_unknown 1"}, "b1.vpc.invalid"},
		{"a dial rule leads to a closed port", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 2, kfakelab.Real).At[0])
			one := int32(1)
			l.cluster().Dial = []config.DialRule{{Match: "x:1", To: "x:2"}, {Node: &one, To: portlab.Closed(p.t)}}
			return l, nil
		}, []string{"clusters.c.dial[1] refused 1"}, "dialled at"},
		{"dial rules lead two nodes to one address", func(p plot) (*lab, []Client) {
			at := kfakelab.Start(p.t, 2, kfakelab.Real).At
			l := newLab(p.t, at[0])
			one := int32(1)
			l.cluster().Dial = []config.DialRule{{Node: &one, To: at[0]}}
			return l, nil
		}, []string{"clusters.c.dial[0] dial_conflict 1"}, "another node's address"},
		{"dial rules lead crosswise", func(p plot) (*lab, []Client) {
			at := kfakelab.Start(p.t, 2, kfakelab.Real).At
			l := newLab(p.t, at[0])
			zero, one := int32(0), int32(1)
			l.cluster().Dial = []config.DialRule{{Node: &zero, To: at[1]}, {Node: &one, To: at[0]}}
			return l, nil
		}, []string{"clusters.c.dial[0] another_node 0", "clusters.c.dial[1] another_node 1"}, "node 1 responds there"},
		{"brokers advertise each other's address", func(p plot) (*lab, []Client) {
			return newLab(p.t, kfakelab.Start(p.t, 2, func(at []string) []string { return []string{at[1], at[0]} }).At[0]), nil
		}, []string{"clusters.c another_node 0", "clusters.c another_node 1"}, "node 0 responds there"},
		{"a broker's address is not admitted", func(p plot) (*lab, []Client) {
			at := kfakelab.Start(p.t, 2, kfakelab.Real).At
			l := newLab(p.t, at[0])
			l.cluster().Brokers = []string{at[0]}
			return l, nil
		}, []string{"clusters.c.brokers not_dialled 1"}, "not admitted"},
		{"a source address that the machine does not have", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			l.cluster().Source = []string{"192.0.2.7"}
			return l, nil
		}, []string{"clusters.c.source not_reached"}, "cannot assign"},
		{"brokers advertise a balancer", func(p plot) (*lab, []Client) {
			return newLab(p.t, kfakelab.Start(p.t, 2, func(at []string) []string { return []string{at[0], balancer(p.t, at[1], at[0])} }).At[0]), nil
		}, []string{"clusters.c load_balancer 1"}, "different nodes respond there"},
		{"a proxy that is down", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			l.cluster().Via = config.Via{URL: "socks5://" + portlab.Closed(p.t)}
			return l, nil
		}, []string{"clusters.c.via via_failed"}, "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t) })
	}
}

// run checks that the fault, and no other, is named.
func (p *planted) run(t *testing.T) {
	t.Helper()
	t.Parallel()
	l, clients := p.plan(plot{t})
	r, faults := checked(t, l, clients...)
	if text := show(r); !slices.Equal(faults, p.want) || !strings.Contains(text, p.says) || strings.Contains(text, "alice-secret") {
		t.Errorf("got %q, want %q, with %q\n%s", faults, p.want, p.says, text)
	}
}

// secureBrokers starts a broker with TLS, and a certificate for a name. ca is the file of its
// authority.
func secureBrokers(t *testing.T, name string) (at []string, ca string) {
	t.Helper()
	authority := certlab.NewAuthority(t, "brokers")
	secure := serverTLS(authority.Issue(t, nil, name))
	return kfakelab.Start(t, 1, kfakelab.Real, kfake.TLS(secure)).At, certlab.NewFolder(t).Write(t, "ca.pem", authority.PEM)
}
