//go:build e2e && linux

package chart

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

var (
	randomN    = flag.Int("random.n", 60, "random values that are rendered")
	randomSeed = flag.Uint64("random.seed", 1, "their seed")
)

// kproxy check accepts every configuration that the chart renders, for random values of the keys
// with addresses, ports and names, and the Service leads to the ports that kproxy binds. A refusal is one of
// the chart's rules, and no error of a template or of the schema.
func TestRandom(t *testing.T) {
	t.Parallel()
	var accepted, refused atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d are accepted, %d refused", accepted.Load(), refused.Load())
		if least := int64(*randomN / 6); accepted.Load() < least || refused.Load() < least {
			t.Errorf("fewer than %d", least)
		}
	})
	for i := range *randomN {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			text, err := json.Marshal(newValues(rand.New(rand.NewPCG(*randomSeed, uint64(i)))))
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "values.json")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := helm(t, "template", "edge", chart, "-n", "kafka", "-f", file)
			if err != nil {
				if refused.Add(1); !strings.Contains(err.Error(), "execution error at ") {
					t.Errorf("%s\n%v", text, err)
				}
				return
			}
			accepted.Add(1)
			all := objects(t, out)
			ports := portsOf(t, checked(t, configuration(t, all)))
			leads(t, all, ports)
			reached(t, all, ports)
			if t.Failed() {
				t.Logf("%s", text)
			}
		})
	}
}

// randomValues are values in the making. One choice at most is a mistake, or may be one.
type randomValues struct {
	*rand.Rand

	mistake int // the choice that is one; 0: it was made
}

// newValues are values for a random mode.
func newValues(r *rand.Rand) map[string]any {
	v := &randomValues{r, 1 + r.IntN(72)}
	mode := pick(v, []string{"clusterIP", "loadBalancer", "gateway", "ports", "ports", "sidecar"}, "sidecar")
	clusters := map[string]any{pick(v, []string{"orders"}, "Orders_1", "orders.1", "1"): v.cluster(mode, 0)}
	if v.IntN(3) == 0 {
		clusters["audit"] = v.cluster(mode, 1)
	}
	admin := map[string]any{"bind": pick(v, []string{":9400", "0.0.0.0:9401", "[::]:9400", "[fd00::1]:9400"}, "127.0.0.1:9400", ":9105", ":9092", "localhost:9400", "[::ffff:7f00:1]:9400", "ip6-localhost:9400", "[::1:2:3:4:5:6:7:8]:9400")}
	if pick(v, []bool{false}, true) {
		admin["pprof"] = true
	}
	return map[string]any{
		"exposure": map[string]any{
			"mode": mode, "ports": map[string]any{"type": pick(v, []string{"NodePort", "LoadBalancer"}, "LoadBalancer")},
			"gateway":      pick(v, []map[string]any{{"className": "envoy"}, {"parentRefs": []any{map[string]any{"name": "edge"}}}}, map[string]any{}),
			"loadBalancer": map[string]any{"nodePort": pick(v, []int{0}, 31443, 443)},
		},
		"networkPolicy": map[string]any{"enabled": true},
		"admin":         admin,
		"limits":        map[string]any{"max_age": pick(v, []string{"1h", "0", "1m30s"}, "10000000h"), "handshake_timeout": pick(v, []string{"10s", "1ms"}, "0s", "0"), "max_connections": 100, "max_age_jitter": pick(v, []float64{0, 0.5}, 1, -0.1), "max_request_bytes": pick(v, []int{1 << 20, 1<<31 - 1}, 1<<31, 3000000000)},
		"drain":         map[string]any{"delay": pick(v, []string{"", "0", "5s"}, "999999999h"), "timeout": pick(v, []string{"60s"}, "0", "0.5ms")},
		"state_dir":     pick(v, []string{"", "/var/lib/kproxy"}, "state", "/etc/kproxy", "/run/secrets/a"),
		"secrets":       map[string]any{pick(v, []string{"users"}, "A_b"): "kproxy-users"},
		"clusters":      clusters,
	}
}

// cluster is the nth cluster.
func (v *randomValues) cluster(mode string, n int) map[string]any {
	bySNI := mode == "loadBalancer" || mode == "gateway"
	c := map[string]any{"bootstrap": []string{
		"b0.internal:9092",
		pick(v, []string{"10.0.0.7:9092", "[fd00::7]:9092", "b1:19092", "b2.internal.:9092", "b_3:1", "[::ffff:a00:7]:9092"}, "[::f1.2.3.4]:9092", "[0::0]:9092", "[1:2:3]:9092", "localhost:9092", "[::1]:9105", "127.0.0.7:9092", "b1", "b1:", "b1:99999", "10.0.0:9092", ":9092", "PLAINTEXT://b1:9092", "b1:9092,b2:9092"),
	}}
	l, nodes := map[string]any{}, map[string]any{}
	l["bind"] = pick(v, []string{fmt.Sprintf(":9%d92", n), fmt.Sprintf("0.0.0.0:9%d92", n)}, ":9105", ":9400", "127.0.0.1:9092", "localhost:9192", "[::]:9092", ":9092", "[::ffff:0.0.0.0]:9092", "127.0.0.2:9092", "[::1]:9092")
	if bySNI && v.IntN(2) == 0 {
		l["bind"] = ":9093" // for both clusters
	}
	if bySNI || pick(v, []bool{false, false, false}, true) {
		c["certificate"] = map[string]any{"secret": "tls"}
	}
	if bySNI || mode == "ports" || v.IntN(4) == 0 {
		l["advertise"] = pick(v, []string{fmt.Sprintf("k%d.example.com:31%d92", n, n)}, "k0.example.com:31105", "k0.example.com:443", "b3.example.com:31092", "k0.example.com", "10.0.0.7:31092", "k0.example.com:31092", "[::0]:31092", "K_0.Example.com.:31092", "localhost:9092")
	}
	if !bySNI {
		length := pick(v, []int{9, 19}, 0, -1)
		nodes["ports"] = fmt.Sprintf("9%d00-%d", 1+n, 9100+100*n+length)
		if pick(v, []bool{mode == "ports"}, mode != "ports") {
			nodes["advertise_ports"] = fmt.Sprintf("31%d00-%d", 1+n, 31100+100*n+pick(v, []int{length}, 9, 19, -1))
		}
		nodes["ports"] = pick(v, []any{nodes["ports"]}, 9100, "9090-9099", "9110-9100", "9395-9404", "65530-65539")
	} else if v.IntN(3) == 0 {
		nodes["sni"] = pick(v, []string{fmt.Sprintf("b{node}.{cluster}.example.com:31%d92", n), fmt.Sprintf("{node}.x%d.example.com:31%[1]d92", n), fmt.Sprintf("b%s{node}.y.example.com:31%d92", strings.Repeat("1", n), n)}, "b{node}.example.com:31092", "b1{node}.example.com:31092", "kafka.b{node}.example.com:31092", "b{node}:31092", "k{node}.example.com:31092", "b.example.com:31092")
	}
	for _, odd := range []struct {
		in    map[string]any
		key   string
		value any
	}{
		{nodes, "first_node", 1},
		{nodes, "pin", map[string]any{"1001": 9105}},
		{nodes, "pin", map[string]any{"99999999999": 9105}},
		{nodes, "pin", map[string]any{"-1": 9105}},
		{nodes, "pin", map[string]any{"07": 9105, "7": 9106}},
		{nodes, "first_node", 99999999999},
		{nodes, "advertise_ports", "31100-31109"},
		{nodes, "ports", 9107},
		{nodes, "sni", "b{node}.example.com:31092"},
		{l, "proxy_protocol", map[string]any{"from": []string{"10.0.0.0/8"}}},
		{l, "allow", []string{"10.0.0.0/8", "fd00::/8"}},
		{l, "deny", []string{"10.0.0.0/33"}},
		{l, "allow", []string{v.network(), v.network()}},
		{l, "allow", []string{v.network(), v.network(), v.network()}},
		{l, "deny", []string{v.network()}},
		{l, "proxy_protocol", map[string]any{"from": []string{v.network()}}},
		{l, "proxy_protocol", map[string]any{"mode": "required"}},
		{l, "limits", map[string]any{"max_connections": 101}},
		{l, "limits", map[string]any{"max_connections": 10, "max_per_source": 11}},
		{c, "keepalive", "10h"},
		{c, "via_password_file", "/run/secrets/kafka/password"},
		{c, "via", "socks5://bastion:1080"},
		{c, "dial", []any{map[string]any{"match": "localhost:*", "to": "b9:{port}"}}},
		{c, "sasl", map[string]any{"mechanism": "PLAIN", "username": "kproxy", "password_file": "/run/secrets/kafka/password", "password_env": "PASSWORD"}},
		{c, "sasl", map[string]any{"mechanism": "OAUTHBEARER"}},
		{c, "sasl", map[string]any{"mechanism": "AWS_MSK_IAM", "username": "kproxy"}},
		{l, "proxy_protocol", map[string]any{"mode": "optional"}},
		{c, "sasl", map[string]any{"mechanism": "PLAIN", "username": "kproxy"}},
		{l, "unknown_sni", "bootstrap"},
		{l, "tls", map[string]any{}},
		{l, "tls", map[string]any{"client_ca": "/run/configmaps/ca/ca.crt"}},
		{l, "tls", map[string]any{"subjects": []string{"CN=a"}}},
		{l, "login", map[string]any{"users_file": "/run/secrets/users/users"}},
		{l, "login", map[string]any{"mechanisms": []string{"PLAIN"}}},
		{l, "login", map[string]any{"mechanisms": []string{"GSSAPI"}, "users_file": "/run/secrets/users/users"}},
		{l, "login", map[string]any{"mechanisms": []string{"SCRAM-SHA-512"}, "users_file": "/run/secrets/users/users"}},
	} {
		if pick(v, []bool{false}, true) {
			odd.in[odd.key] = odd.value
		}
	}
	if len(nodes) > 0 {
		l["nodes"] = nodes
	}
	c["listener"] = l
	return c
}

// network is a network by chance: with host bits, as IPv4 in IPv6, and so often within another one.
func (v *randomValues) network() string {
	all := []string{"10.0.0.0", "10.0.0.7", "10.1.0.0", "192.168.255.0", "0.0.0.0", "fd00::", "fd00:a::", "::1", "::ffff:10.0.0.0"}
	address := all[v.IntN(len(all))]
	if v.IntN(3) == 0 {
		return address
	}
	return fmt.Sprintf("%s/%d", address, v.IntN(34))
}

// pick is a choice, of the second ones if it is the one that is a mistake.
func pick[T any](v *randomValues, good []T, mistakes ...T) T {
	if v.mistake--; v.mistake == 0 {
		return mistakes[v.IntN(len(mistakes))]
	}
	return good[v.IntN(len(good))]
}

// reached holds what leads to kproxy, without a Service of its own: in a pod nothing maps ports, and a
// TLSRoute leads to the ports that it names.
func reached(t *testing.T, all []object, ports map[int]int) {
	t.Helper()
	var routes []int
	service := false
	for _, o := range all {
		switch o.kind() {
		case "TLSRoute":
			port, _ := o.list("spec", "rules")[0].list("backendRefs")[0]["port"].(int)
			routes = append(routes, port)
		case "Service":
			service = true
		}
	}
	for advertised, bound := range ports {
		if !service && advertised != bound {
			t.Errorf("port %d is advertised, and nothing maps it to %d", advertised, bound)
		}
		if len(routes) > 0 && !slices.Contains(routes, advertised) {
			t.Errorf("port %d is advertised, and the TLSRoutes lead to %v", advertised, routes)
		}
	}
}
