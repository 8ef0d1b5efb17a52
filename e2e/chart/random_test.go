//go:build e2e && linux

package chart

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

var (
	randomN    = flag.Int("random.n", 80, "random values that are rendered")
	randomSeed = flag.Uint64("random.seed", 1, "their seed")
)

// kproxy check accepts every configuration that the chart renders, for random values of the keys
// with addresses, ports and names, and the Service leads to what kproxy binds. A refusal is one of
// the chart's rules, and no error of a template.
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
			text, err := json.Marshal(randomValues(rand.New(rand.NewPCG(*randomSeed, uint64(i)))))
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
			leads(t, all, portsOf(t, checked(t, configuration(t, all))))
			if t.Failed() {
				t.Logf("%s", text)
			}
		})
	}
}

// randomValues are values with few mistakes.
func randomValues(r *rand.Rand) map[string]any {
	mode := pick(r, "clusterIP", "loadBalancer", "gateway", "ports", "ports", "sidecar")
	v := map[string]any{
		"exposure": map[string]any{
			"mode": mode, "ports": map[string]any{"type": pick(r, "NodePort", "LoadBalancer")},
			"gateway":      map[string]any{"className": "envoy"},
			"loadBalancer": map[string]any{"nodePort": pick(r, 0, 0, 0, 0, 31443)},
		},
		"networkPolicy": map[string]any{"enabled": true},
		"admin":         map[string]any{"bind": pick(r, ":9400", ":9400", ":9400", "0.0.0.0:9401", "[::]:9105", ":9400", ":9400", ":9400", "127.0.0.1:9400", ":31100")},
	}
	clusters := map[string]any{"orders": randomCluster(r, mode)}
	if r.IntN(3) == 0 {
		clusters["audit"] = randomCluster(r, mode)
	}
	v["clusters"] = clusters
	return v
}

func randomCluster(r *rand.Rand, mode string) map[string]any {
	bySNI := mode == "loadBalancer" || mode == "gateway"
	c := map[string]any{"bootstrap": []string{pick(r, "b0.internal:9092", "10.0.0.7:9092", "[fd00::7]:9092", "b1:19092", "b2.internal.:9092", "b_3:1")}}
	if r.IntN(10) == 0 {
		c["bootstrap"] = []string{"b0.internal:9092", pick(r, "b0", "b0:", "b0:99999", "10.0.0:9092", ":9092", "PLAINTEXT://b1:9092", "b1:9092,b2:9092")}
	}
	if bySNI || r.IntN(4) == 0 {
		c["certificate"] = map[string]any{"secret": "tls"}
	}
	l, nodes := map[string]any{}, map[string]any{}
	some := func(in map[string]any, key string, of int, value any) {
		if r.IntN(of) == 0 {
			in[key] = value
		}
	}
	some(l, "bind", 2, pick(r, ":9092", ":9192", "0.0.0.0:9093", "[::]:9192", ":31092", "127.0.0.1:9092", "localhost:9192", ":9105"))
	if bySNI || mode == "ports" || r.IntN(4) == 0 {
		l["advertise"] = pick(r, "nodes.example.com:31092", "kafka.example.com:31192", "nodes.example.com:31092", "kafka.example.com:31192", "a.example.com:31102", "b3.example.com:443", "kafka.example.com")
	}
	some(l, "proxy_protocol", 8, map[string]any{"from": []string{"10.0.0.0/8"}})
	some(l, "unknown_sni", 8, pick(r, "refuse", "bootstrap"))
	some(nodes, "ports", 4, pick[any](r, "9100-9109", "9100-9109", "9200-9209", "9200-9209", 9100, "9109-9100", "9090-9099", "65530-65539", "31090-31099"))
	if mode == "ports" || r.IntN(16) == 0 {
		nodes["advertise_ports"] = pick[any](r, "31100-31109", "31100-31109", "31100-31109", "31200-31209", "31200-31219", 31500, "31109-31100", "31090-31099", "32760-32769")
	}
	if bySNI || r.IntN(16) == 0 {
		some(nodes, "sni", 3, pick(r, "b{node}.example.com:31092", "n{node}.{cluster}.example.com:31192", "b.example.com:443"))
	}
	some(nodes, "first_node", 10, r.IntN(3))
	some(nodes, "pin", 10, map[string]any{"1001": pick(r, 9105, 9100, 9300)})
	if len(nodes) > 0 {
		l["nodes"] = nodes
	}
	if len(l) > 0 {
		c["listener"] = l
	}
	return c
}

func pick[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }
