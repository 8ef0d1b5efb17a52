package connect

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kproxy/internal/certlab"
	"kproxy/internal/netlab"
	"kproxy/internal/portlab"
	"kproxy/proxy"
)

// advertising starts brokers that advertise what advertise makes of where they really are.
func advertising(t *testing.T, n int, advertise func(at []string) []string, opts ...kfake.Opt) (at []string) {
	t.Helper()
	var listeners []net.Listener
	for range n {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners, at = append(listeners, l), append(at, l.Addr().String())
	}
	names := advertise(at)
	next := -1
	listen := func(string, string) (net.Listener, error) {
		next++
		return netlab.Named(listeners[next], names[next]), nil
	}
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(n), kfake.ListenFn(listen))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return at
}

// told is an examination in a few words: for each address who, the step that failed, and
// the reason.
func told(t *testing.T, o *Options) (e *Examination, words []string) {
	t.Helper()
	e, err := o.Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range e.Findings {
		f := &e.Findings[i]
		word := fmt.Sprintf("%d %s", f.Node, f.Failed())
		if (f.Err == nil) != (f.Failed() == Arrived) || (f.Err == nil) != (f.Fix == "") {
			t.Errorf("%s: error %v, fix %q", word, f.Err, f.Fix)
		}
		words = append(words, word)
	}
	return e, words
}

// What a client meets whose brokers advertise this, and what it is told.
func TestExamineWhatBrokersAdvertise(t *testing.T) {
	closed := portlab.Closed(t)
	stranger := advertising(t, 1, func(at []string) []string { return at }, kfake.ClusterID("stranger"))[0]
	for _, tt := range []struct {
		name      string
		advertise func(at []string) []string
		want      string
		fix       string // of the last
	}{
		{"where they are", func(at []string) []string { return at }, "-1 arrived, 0 arrived, 1 arrived", ""},
		{"a name that nobody knows", func(at []string) []string { return []string{at[0], "b1.vpc.invalid:9092"} }, "-1 arrived, 0 arrived, 1 name", fixName},
		{"a closed port", func(at []string) []string { return []string{at[0], closed} }, "-1 arrived, 0 arrived, 1 connect", fixRefused},
		{"each other's", func(at []string) []string { return []string{at[1], at[0]} }, "-1 arrived, 0 itself, 1 itself", fixShared},
		{"one for both", func(at []string) []string { return []string{at[0], at[0]} }, "-1 arrived, 0 itself, 1 itself", fixShared},
		{"another cluster's", func(at []string) []string { return []string{at[0], stranger} }, "-1 arrived, 0 arrived, 1 itself", fixShared},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, _ := options(t, advertising(t, 2, tt.advertise)[0])
			e, words := told(t, o)
			if got := strings.Join(words, ", "); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if got := e.Findings[len(e.Findings)-1].Fix; got != tt.fix {
				t.Errorf("the fix is %q, want %q", got, tt.fix)
			}
			if e.Sound() != (tt.fix == "") {
				t.Errorf("sound: %t", e.Sound())
			}
		})
	}
}

// A node that fails where it says it is may be at an address of the user's.
func TestExamineSaysWhatConnectReaches(t *testing.T) {
	at := cluster(t, 3, nil)
	o, _ := options(t, at[2], at[0])
	e, words := told(t, o)
	if got, want := strings.Join(words, ", "), "-1 arrived, -1 arrived, 0 name, 1 name, 2 name"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for node, want := range map[int32]string{0: at[0], 1: "", 2: at[2]} {
		if got := e.Reached(node); got != want {
			t.Errorf("node %d: connect reaches it at %q, want %q", node, got, want)
		}
	}
}

// The user's own addresses, TLS and login.
func TestExamineBootstrap(t *testing.T) {
	t.Parallel()
	ca := certlab.NewAuthority(t, "ca")
	secure := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, nil, "127.0.0.1").Pair}}
	plainAt, secureAt := cluster(t, 1, nil)[0], cluster(t, 1, secure)[0]
	loginAt := cluster(t, 1, nil, kfake.EnableSASL(), alice)[0]
	strangerAt := cluster(t, 1, nil, kfake.ClusterID("stranger"))[0]
	for _, tt := range []struct {
		name string
		at   []string
		edit func(o *Options)
		want string
		fix  string // a part of the first one's
	}{
		{"TLS is wanted", []string{secureAt}, func(*Options) {}, "-1 tls", "add --tls"},
		{"TLS is not there", []string{plainAt}, func(o *Options) { o.TLS = &proxy.UpstreamTLS{} }, "-1 tls", "leave --tls out"},
		{"nobody knows the authority", []string{secureAt}, func(o *Options) { o.TLS = &proxy.UpstreamTLS{} }, "-1 tls", "--ca FILE"},
		{"no such name", []string{"kafka.invalid:9092"}, func(*Options) {}, "-1 name", "spelling"},
		{"the login is refused", []string{loginAt}, func(o *Options) {
			o.SASL = &proxy.SASL{Mechanism: "PLAIN", Username: "alice", Password: proxy.Secret{Text: "wrong-secret"}}
		}, "-1 login", "user and password"},
		{"two clusters", []string{plainAt, strangerAt}, func(*Options) {}, "-1 arrived, -1 itself, 0 name", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, _ := options(t, tt.at...)
			tt.edit(o)
			e, words := told(t, o)
			if got := strings.Join(words, ", "); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if f := e.Findings[0]; !strings.Contains(f.Fix, tt.fix) || f.Err != nil && strings.Contains(f.Reason(), "wrong-secret") {
				t.Errorf("%v; the fix is %q, want %q", f.Err, f.Fix, tt.fix)
			}
			if e.Sound() {
				t.Error("it is said to be sound")
			}
		})
	}

	o, _ := options(t, loginAt)
	if e, _ := told(t, o); e.Cluster == nil || !e.Cluster.NeedsLogin || e.Sound() {
		t.Errorf("of a cluster that wants a login: %+v", e.Cluster)
	}
}

// Brokers whose TLS is not that of bootstrap, which a client speaks to all of them.
func TestExamineOtherTLS(t *testing.T) {
	t.Parallel()
	files, ca := certlab.NewFolder(t), certlab.NewAuthority(t, "ca")
	secure := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, nil, "127.0.0.1").Pair}}
	trusted := &proxy.UpstreamTLS{CA: files.Write(t, "ca.pem", ca.PEM)}
	withTLS, without := cluster(t, 1, secure)[0], cluster(t, 1, nil)[0]
	other := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, nil, "b0.vpc.invalid").Pair}}
	named := cluster(t, 1, other)[0]
	for _, tt := range []struct {
		name, at string
		tls      *proxy.UpstreamTLS
		want     Step
		fix      string
	}{
		{"TLS is wanted", withTLS, nil, TLS, fixOneTLS},
		{"TLS is not there", without, trusted, TLS, fixOneTLS},
		{"the certificate has another name", named, trusted, TLS, fixNames},
	} {
		o, _ := options(t, tt.at)
		o.TLS = tt.tls
		host, port, _ := strings.Cut(tt.at, ":")
		b := Broker{Node: 7, Host: host}
		if _, err := fmt.Sscan(port, &b.Port); err != nil {
			t.Fatal(err)
		}
		err := o.ask(nil, func(a asker) error {
			if f := a.asAdvertised(t.Context(), &Cluster{Brokers: []Broker{b}}, b); f.Failed() != tt.want || f.Fix != tt.fix {
				t.Errorf("%s: %s, %v; fix %q, want %q", tt.name, f.Failed(), f.Err, f.Fix, tt.fix)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// Why nobody accepts a connection, by the address and what the system says.
func TestAdviseConnect(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Err: err} }
	refused, late := dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), dial(os.ErrDeadlineExceeded)
	for _, tt := range []struct {
		address, bootstrap string
		err                error
		want               string
	}{
		{"localhost:9092", "kafka.example.com:9092", refused, fixLocalhost},
		{"127.0.0.1:9092", "kafka.example.com:9092", late, fixLocalhost},
		{"[::1]:9092", "kafka.example.com:9092", refused, fixLocalhost},
		{"localhost:9093", "localhost:9092", refused, fixRefused},
		{"b0.example.com:9092", "kafka.example.com:9092", refused, fixRefused},
		{"172.17.0.2:9092", "kafka.example.com:9092", late, fixPrivate},
		{"192.0.2.1:9092", "kafka.example.com:9092", late, fixFiltered},
		{"192.0.2.1:9092", "kafka.example.com:9092", dial(os.NewSyscallError("connect", syscall.ENETUNREACH)), fixAdvertised},
	} {
		a := asker{Options: &Options{Addresses: []string{tt.bootstrap}}}
		if got := a.adviseConnect(tt.err, tt.address); got != tt.want {
			t.Errorf("%s, from %s: %v: %q, want %q", tt.address, tt.bootstrap, tt.err, got, tt.want)
		}
	}
}
