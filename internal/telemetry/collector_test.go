package telemetry_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// fakeCollector is an OpenTelemetry collector that keeps the pushes.
type fakeCollector struct {
	collector.UnimplementedMetricsServiceServer
	endpoint string
	ca       string // file; "": it speaks no TLS

	mu      sync.Mutex // guards the following
	pushes  []*collector.ExportMetricsServiceRequest
	headers []string // the Authorization of each
}

// Export takes a push by gRPC.
func (c *fakeCollector) Export(ctx context.Context, req *collector.ExportMetricsServiceRequest) (*collector.ExportMetricsServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	c.keep(req, append(md.Get("authorization"), "")[0])
	return &collector.ExportMetricsServiceResponse{}, nil
}

// ServeHTTP takes a push by HTTP.
func (c *fakeCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	req := &collector.ExportMetricsServiceRequest{}
	if err != nil || proto.Unmarshal(body, req) != nil || r.URL.Path != "/v1/metrics" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.keep(req, r.Header.Get("Authorization"))
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *fakeCollector) keep(req *collector.ExportMetricsServiceRequest, authorization string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pushes = append(c.pushes, req)
	c.headers = append(c.headers, authorization)
}

// startGRPC starts a collector without TLS.
func startGRPC(t *testing.T, options ...grpc.ServerOption) *fakeCollector {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &fakeCollector{endpoint: l.Addr().String()}
	s := grpc.NewServer(options...)
	collector.RegisterMetricsServiceServer(s, c)
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() {
		s.Stop()
		serving.Wait()
	})
	return c
}

// startGRPCOverTLS starts one with the certificate of httptest, for 127.0.0.1.
func startGRPCOverTLS(t *testing.T) *fakeCollector {
	t.Helper()
	donor := httptest.NewTLSServer(nil)
	defer donor.Close()
	c := startGRPC(t, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: donor.TLS.Certificates})))
	c.ca = caFile(t, donor)
	return c
}

func startHTTP(t *testing.T) *fakeCollector {
	t.Helper()
	c := &fakeCollector{}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	c.endpoint = s.Listener.Addr().String()
	return c
}

func startHTTPS(t *testing.T) *fakeCollector {
	t.Helper()
	c := &fakeCollector{}
	s := httptest.NewTLSServer(c)
	t.Cleanup(s.Close)
	c.endpoint, c.ca = s.URL+"/v1/metrics", caFile(t, s)
	return c
}

func caFile(t *testing.T, s *httptest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// last is the newest push.
func (c *fakeCollector) last(t *testing.T) (push *collector.ExportMetricsServiceRequest, authorization string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pushes) == 0 {
		t.Fatal("nothing was pushed")
	}
	return c.pushes[len(c.pushes)-1], c.headers[len(c.headers)-1]
}

// metric finds a metric in a push, by its name.
func metric(t *testing.T, push *collector.ExportMetricsServiceRequest, name string) *metrics.Metric {
	t.Helper()
	for _, r := range push.GetResourceMetrics() {
		for _, s := range r.GetScopeMetrics() {
			i := slices.IndexFunc(s.GetMetrics(), func(m *metrics.Metric) bool { return m.GetName() == name })
			if i >= 0 {
				return s.GetMetrics()[i]
			}
		}
	}
	t.Fatalf("%s was not pushed", name)
	return nil
}

// sum adds the points of a counter that have this label, or all for "".
func sum(m *metrics.Metric, label, value string) int64 {
	var total int64
	for _, p := range m.GetSum().GetDataPoints() {
		for _, kv := range p.GetAttributes() {
			if kv.GetKey() == label && kv.GetValue().GetStringValue() == value {
				total += p.GetAsInt()
			}
		}
		if label == "" {
			total += p.GetAsInt()
		}
	}
	return total
}
