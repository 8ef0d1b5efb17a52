//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
)

// TestPrometheusFillsDashboards lets a real Prometheus scrape a kproxy that shows each thing that the dashboards of
// configs/grafana have: it has taken over from another one, has a certificate, a listener for readers, a cluster whose
// brokers its predecessor did not know, and one that it cannot reach; leaders move, and a client is led to another broker. Each query of each panel has data.
func TestPrometheusFillsDashboards(t *testing.T) {
	s := startSuccession(t)
	route := shared.kafka.byAddress()
	s.more = s.listener("readers", s.ports.bob, ", apis: {preset: read-only}") +
		fmt.Sprintf("  new:\n    bootstrap: [%s]\n    dial: [%s]\n    listeners:\n", strings.Join(route.Bootstrap, ", "), strings.Join(route.Dial, ", ")) +
		s.listener("new", s.ports.stock, "") +
		fmt.Sprintf("  gone:\n    bootstrap: [\"127.0.0.1:%d\"]\n    listeners:\n", s.ports.spare) +
		s.listener("gone", s.ports.fred, "")
	s.write(t, s.yaml())
	s.handOver(t)
	prom := startPrometheus(t, lab.HostPort("127.0.0.1", s.ports.admin+1), lab.HostPort("127.0.0.1", s.ports.admin), s.token)

	readers := listener{
		Name: "readers", Advertise: lab.HostPort("127.0.0.1", s.ports.bob),
		told: func(node int32) string { return lab.HostPort("127.0.0.1", s.ports.bob+int(node)) },
	}
	counts := regexp.MustCompile(`(?m)^kproxy_leader_hints_total\{.*$`)
	hints := func() string {
		text, err := s.ask(t.Context(), http.MethodGet, "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(counts.FindAllString(text, -1), "\n")
	}
	work := func() {
		before := hints()
		topic := shared.kafka.NewTopic(t, "dashboards", 3)
		client := newClient(t, s.many, kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		moves := shared.kafka.MoveLeaders(t, topic, 3, 500*time.Millisecond) // clients get leader hints
		eventually(t, 30*time.Second, func() error {
			for i := range 100 {
				if err := client.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprint(i))).FirstErr(); err != nil {
					return lab.Permanent(err)
				}
			}
			if hints() == before {
				return errors.New("no client has got a leader hint")
			}
			return nil
		})
		moves.Stop()
		fetchAll(t, client, topic)
		another := kmsg.NewPtrApiVersionsRequest() // of a client that a balancer has led to another broker
		another.ClientSoftwareName, another.ClientSoftwareVersion = "kproxy-e2e", "1"
		another.ClusterID, another.NodeID = new(lab.ClusterID), 2
		if resp, err := another.RequestWith(t.Context(), client.Broker(1)); err != nil || resp.ErrorCode != kerr.RebootstrapRequired.Code {
			t.Errorf("node 1 as node 2: %+v, %v", resp, err)
		}
		client.Close()

		reader := newClient(t, readers, kgo.DefaultProduceTopic(topic), kgo.DisableIdempotentWrite(), kgo.RecordRetries(1))
		if err := reader.ProduceSync(t.Context(), kgo.StringRecord("refused")).FirstErr(); err == nil {
			t.Error("the listener for readers accepted a record")
		}
		reader.Close()
		speakHTTP(t, s.many.Advertise)
	}
	work()
	if _, err := s.ask(t.Context(), http.MethodPost, "/-/reload"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() error { return prom.want(t, `sum(kproxy_requests_refused_total) > bool 0`, 1) })
	work() // a rate needs two values

	all := readDashboards(t)
	eventually(t, time.Minute, func() error {
		var missing []error
		for file, d := range all {
			for _, panel := range d.Panels {
				for _, target := range panel.Targets {
					if !prom.fills(t, target.Expr) {
						missing = append(missing, fmt.Errorf("%s: %s: no data: %s", file, panel.Title, target.Expr))
					}
				}
			}
		}
		return errors.Join(missing...)
	})
	for _, d := range all {
		for _, a := range d.Annotations.List {
			prom.query(t, chosen(a.Expr, "story")) // fails the test if it is no query
		}
	}
}

// fills reports whether a query of a dashboard has data, for one of the clusters.
func (p *prometheus) fills(t *testing.T, expr string) bool {
	t.Helper()
	return slices.ContainsFunc([]string{"story", "new", "gone"}, func(cluster string) bool {
		return len(p.query(t, chosen(expr, cluster))) > 0
	})
}

// chosen replaces a dashboard's variables.
func chosen(expr, cluster string) string {
	return strings.NewReplacer("$cluster", cluster, "$instance", ".+", "$listener", ".+", "$__rate_interval", "5m").Replace(expr)
}

// dashboard has the queries of a dashboard.
type dashboard struct {
	Panels []struct {
		Title   string
		Targets []struct{ Expr string }
	}
	Annotations struct{ List []struct{ Expr string } }
}

// readDashboards reads configs/grafana.
func readDashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob("../configs/grafana/*.json")
	if err != nil || len(files) != 2 {
		t.Fatalf("found %q, %v", files, err)
	}
	all := map[string]dashboard{}
	for _, file := range files {
		var d dashboard
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &d)
		}
		if err != nil || len(d.Panels) == 0 {
			t.Fatalf("%s: %d panels, %v", file, len(d.Panels), err)
		}
		all[file] = d
	}
	return all
}

// speakHTTP sends a request of another protocol, and waits for the end of the connection.
func speakHTTP(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: kafka\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Read(make([]byte, 1024)) // kproxy ends it
}
