//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
)

// TestPrometheusAgreesWithClients lets a real Prometheus scrape kproxy, and compares its
// sums with the counts of franz-go clients: connections, requests by API, and bytes in
// both directions.
func TestPrometheusAgreesWithClients(t *testing.T) {
	const records = 3000
	topic := shared.kafka.NewTopic(t, "prometheus", 3)
	base, err := shared.ports.Block(t.Context(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	admin := lab.HostPort("127.0.0.1", base)
	t.Setenv("KPROXY_ADMIN_BIND", admin)
	p := startKproxy(t, shared.kafka.byAddress())
	prom := startPrometheus(t, lab.HostPort("127.0.0.1", base+1), admin, "")

	// The clients that waited for kproxy's start are not counted.
	eventually(t, 30*time.Second, func() error { return prom.want(t, `sum(kproxy_sessions_active)`, 0) })
	before := prom.sums(t)

	counted := &counts{requests: map[string]int64{}}
	for _, name := range []string{"bob", "fred", "alice", "many"} {
		client := newClient(t, p.Via(name), kgo.DefaultProduceTopic(topic), kgo.WithHooks(counted),
			kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		for i := range records {
			client.Produce(t.Context(), kgo.StringRecord(fmt.Sprintf("%s %0*d", name, i%1000, i)), func(_ *kgo.Record, err error) {
				if err != nil {
					t.Errorf("produce: %v", err)
				}
			})
		}
		if err := client.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		fetchAll(t, client, topic)
		client.Close()
	}

	want := counted.sums()
	eventually(t, 30*time.Second, func() error {
		got := prom.sums(t)
		for name, n := range before {
			if got[name] -= n; got[name] == 0 {
				delete(got, name)
			}
		}
		if !maps.Equal(got, want) {
			return fmt.Errorf("Prometheus has %v, the clients have counted %v", got, want)
		}
		return nil
	})
	t.Logf("Prometheus and the clients agree: %v", want)
	for query, n := range map[string]float64{
		`min(kproxy_cluster_up)`:      1,
		`max(kproxy_cluster_brokers)`: brokerCount,
		`sum(kproxy_sessions_opened_total) - sum(kproxy_sessions_closed_total) - sum(kproxy_sessions_active)`:   0,
		`sum(kproxy_requests_total{api="Produce"}) - sum(kproxy_request_duration_seconds_count{api="Produce"})`: 0,
		`count(kproxy_sessions_closed_total{reason!~"client_closed|no_request"}) or vector(0)`:                  0,
		`sum(kproxy_addresses_total{kind!="rewritten"})`:                                                        0,
		`count(go_goroutines) * count(process_open_fds) * count(target_info{service_name="kproxy"})`:            1,
		`count(ALERTS) or vector(0)`: 0,
	} {
		if err := prom.want(t, query, n); err != nil {
			t.Error(err)
		}
	}
	for _, query := range []string{
		`cluster_direction:kproxy_bytes:rate1m`, `cluster_api:kproxy_requests:rate1m`,
		`cluster_api:kproxy_request_duration_seconds:p99_5m`, `cluster_reason:kproxy_sessions_closed:rate5m`,
	} {
		eventually(t, 30*time.Second, func() error { return prom.hasData(t, query) }) // a rate needs two samples
	}
}

// fetchAll reads each partition once, from its leader. A consumer would leave a
// Fetch unread when it closes, and count fewer bytes than were written to it.
func fetchAll(t *testing.T, client *kgo.Client, topic string) {
	t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = &topic
	req.Topics = append(req.Topics, one)
	resp, err := req.RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	for _, partition := range resp.Topics[0].Partitions {
		fetch := kmsg.NewPtrFetchRequest()
		fetch.MaxWaitMillis, fetch.MinBytes, fetch.MaxBytes = 100, 1, 64<<20
		ft := kmsg.NewFetchRequestTopic()
		ft.Topic, ft.TopicID = topic, resp.Topics[0].TopicID
		fp := kmsg.NewFetchRequestTopicPartition()
		fp.Partition, fp.PartitionMaxBytes = partition.Partition, 64<<20
		ft.Partitions = append(ft.Partitions, fp)
		fetch.Topics = append(fetch.Topics, ft)
		response, err := fetch.RequestWith(t.Context(), client.Broker(int(partition.Leader)))
		if err != nil {
			t.Fatal(err)
		}
		if got := response.Topics[0].Partitions[0]; got.ErrorCode != 0 || len(got.RecordBatches) == 0 {
			t.Fatalf("fetch partition %d: error code %d, %d bytes", partition.Partition, got.ErrorCode, len(got.RecordBatches))
		}
	}
}

// counts is a franz-go hook that counts clients' requests.
type counts struct {
	mu                      sync.Mutex // guards the following
	connects, written, read int64
	requests                map[string]int64
}

// OnBrokerConnect counts connections.
func (c *counts) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.connects++
	}
}

// OnBrokerWrite counts requests, and their bytes.
func (c *counts) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, n int, _, _ time.Duration, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written += int64(n)
	c.requests[kmsg.NameForKey(key)]++
}

// OnBrokerRead counts the bytes of responses.
func (c *counts) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, n int, _, _ time.Duration, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read += int64(n)
}

// sums have the names of Prometheus's.
func (c *counts) sums() map[string]float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]float64{
		"opened": float64(c.connects), "closed": float64(c.connects),
		"bytes up": float64(c.written), "bytes down": float64(c.read),
	}
	for name, n := range c.requests {
		all[name] = float64(n)
	}
	return all
}

// prometheus is a running Prometheus that scrapes one kproxy.
type prometheus struct{ address string }

// startPrometheus runs Debian's Prometheus until the test ends. It scrapes an address, with a token if there is one.
func startPrometheus(t *testing.T, address, scraped, token string) *prometheus {
	t.Helper()
	binary, err := lab.Tool("prometheus", "the Prometheus server (Debian: apt-get install prometheus)")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	rules, err := filepath.Abs("../configs/prometheus/kproxy.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("global: {scrape_interval: 500ms, evaluation_interval: 500ms}\nrule_files: [%q]\n"+
		"scrape_configs:\n  - job_name: kproxy\n    static_configs: [{targets: [%q]}]\n", rules, scraped)
	if token != "" {
		text += fmt.Sprintf("    authorization: {credentials: %q}\n", token)
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := lab.Command(context.Background(), binary, "--config.file="+config, "--web.listen-address="+address,
		"--storage.tsdb.path="+filepath.Join(dir, "data"))
	proc, err := lab.StartProcess("prometheus", filepath.Join(dir, "prometheus.log"), cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proc.Stop(30 * time.Second); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Prometheus's log:\n%s", proc.LogTail())
		}
	})
	prom := &prometheus{address: address}
	eventually(t, 30*time.Second, func() error {
		if err := proc.Alive(); err != nil {
			return lab.Permanent(err)
		}
		return prom.want(t, "up", 1)
	})
	return prom
}

// sums are the figures that are compared with the clients.
func (p *prometheus) sums(t *testing.T) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for name, query := range map[string]string{
		"opened":     `sum(kproxy_sessions_opened_total)`,
		"closed":     `sum(kproxy_sessions_closed_total)`,
		"bytes up":   `sum(kproxy_bytes_total{direction="up"})`,
		"bytes down": `sum(kproxy_bytes_total{direction="down"})`,
	} {
		for _, s := range p.query(t, query) {
			all[name] = s.value
		}
	}
	for _, s := range p.query(t, `sum by (api) (kproxy_requests_total)`) {
		all[s.labels["api"]] = s.value
	}
	return all
}

// want is an error unless the query has this one value.
func (p *prometheus) want(t *testing.T, query string, want float64) error {
	t.Helper()
	got := p.query(t, query)
	if len(got) != 1 || got[0].value != want {
		return fmt.Errorf("%s: got %v, want %v", query, got, want)
	}
	return nil
}

// hasData is an error unless the query has a value.
func (p *prometheus) hasData(t *testing.T, query string) error {
	t.Helper()
	if len(p.query(t, query)) == 0 {
		return fmt.Errorf("%s: no data", query)
	}
	return nil
}

type sample struct {
	labels map[string]string
	value  float64
}

// query asks Prometheus for a vector; nil while it does not respond.
func (p *prometheus) query(t *testing.T, query string) []sample {
	t.Helper()
	address := "http://" + p.address + "/api/v1/query?query=" + url.QueryEscape(query)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var response struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any // time, and the value as a text
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&response); err != nil {
		return nil // it is starting
	}
	if response.Status != "success" {
		t.Fatalf("%s: %s", query, response.Error)
	}
	var all []sample
	for _, r := range response.Data.Result {
		text, _ := r.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		all = append(all, sample{r.Metric, value})
	}
	return all
}
