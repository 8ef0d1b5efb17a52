//go:build e2e && linux

package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"

	"kproxy/e2e/lab"
	"kproxy/internal/portlab"
)

const (
	topic   = "t"
	records = 100
	size    = 100_000 // of a record: its frames would be spliced

	refusedLine  = "the system refuses to splice a connection, which is copied from now on"
	noMemoryLine = "memory limit: none, "
	noProcLine   = "there is no /proc"
)

// In each sandbox kproxy starts, logs once each function that it lacks, and carries all records.
// The metrics say which bytes were copied, and doctor says why.
func TestSandboxes(t *testing.T) {
	binary, err := lab.BuildKproxy(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		confinement
		copies string // the reason that doctor has; "": it splices
		once   []string
		never  []string
	}{
		"none":                 {never: []string{refusedLine, noProcLine}},
		"seccomp, EPERM":       {confinement{Errno: unix.EPERM}, "pipe2: operation not permitted", []string{refusedLine}, []string{noProcLine}},
		"seccomp, ENOSYS":      {confinement{Errno: unix.ENOSYS}, "pipe2: function not implemented", []string{refusedLine}, []string{noProcLine}},
		"no /proc, no cgroups": {confinement{Hidden: true}, "", []string{noMemoryLine, noProcLine}, []string{refusedLine}},
		"seccomp, no /proc, no cgroups": {
			confinement{Errno: unix.EPERM, Hidden: true}, "pipe2: operation not permitted", []string{refusedLine, noMemoryLine, noProcLine}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, binary, test.confinement)
			s.transfer(t)
			for _, line := range test.once {
				s.says(t, line)
			}
			s.copied(t, test.copies != "")
			s.examine(t, test.copies) // while the sweep looks again
			s.stop(t)
			for _, line := range test.never {
				if n := strings.Count(s.log(t), line); n != 0 {
					t.Errorf("%q is in the log", line)
				}
			}
			for _, line := range test.once {
				if n := strings.Count(s.log(t), line); n != 1 {
					t.Errorf("%q is %d times in the log", line, n)
				}
			}
		})
	}
}

// sandbox is a kproxy in one, before a fake cluster outside.
type sandbox struct {
	confinement
	binary, host string
	brokers      *kfake.Cluster
	process      *lab.Process
}

func start(t *testing.T, binary string, c confinement) *sandbox {
	t.Helper()
	brokers, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(brokers.Close)
	s := &sandbox{confinement: c, binary: binary, host: portlab.Host(t), brokers: brokers}
	dir := t.TempDir()
	config := filepath.Join(dir, "kproxy.yaml")
	text := fmt.Sprintf(`
clusters:
  c:
    bootstrap: [%q]
    listeners:
      l: {bind: "%s:9092", nodes: {ports: 9100-9109}}
limits: {idle_timeout: 2s}
admin: {bind: "%s:9400"}
`, brokers.ListenAddrs()[0], s.host, s.host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.process, err = lab.StartProcess("kproxy", filepath.Join(dir, "log"), s.command(t, binary, "serve", "--config", config))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.process.Kill()
		if t.Failed() {
			t.Log(s.log(t))
		}
	})
	if err := lab.Poll(t.Context(), 20*time.Second, func() error {
		_, err := lab.Get(t.Context(), s.host+":9400", "/readyz")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

// transfer has a client write records through kproxy, and read them.
func (s *sandbox) transfer(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.host+":9092"), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.Dialer(s.dial))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	value := func(i int) []byte { return bytes.Repeat([]byte{byte(i), byte(i * 7)}, size/2) }
	for i := range records {
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: value(i)}).FirstErr(); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	for read := 0; read < records; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d records: %v", read, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !bytes.Equal(r.Value, value(read)) {
				t.Fatalf("record %d differs", read)
			}
			read++
		})
	}
}

// dial reaches kproxy alone.
func (s *sandbox) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(address); err != nil || host != s.host {
		return nil, fmt.Errorf("%s is not kproxy's", address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// copied checks the metrics and the connections' path.
func (s *sandbox) copied(t *testing.T, all bool) {
	t.Helper()
	metrics, err := lab.Get(t.Context(), s.host+":9400", "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	refused, err := lab.Value(metrics, "kproxy_splice_refused_total")
	if err != nil || (refused > 0) != all {
		t.Errorf("kproxy_splice_refused_total is %v, %v", refused, err)
	}
	paths, err := lab.Counts(metrics, "kproxy_bytes_total", "path", nil)
	if err != nil {
		t.Fatal(err)
	}
	if spliced := paths["splice"]; (spliced == 0) != all {
		t.Errorf("%d bytes were spliced, %d copied", spliced, paths["copy"])
	}
}

// examine has doctor say why kproxy copies there.
func (s *sandbox) examine(t *testing.T, copies string) {
	t.Helper()
	out, err := lab.Output(s.command(t, s.binary, "doctor", s.brokers.ListenAddrs()[0], "--json"))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var report struct{ Copies string }
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if report.Copies != copies {
		t.Errorf("doctor says that kproxy copies because of %q, want %q", report.Copies, copies)
	}
}

// says waits for a line of the log. With this idle_timeout the sweep looks twice a second.
func (s *sandbox) says(t *testing.T, line string) {
	t.Helper()
	if err := lab.Poll(t.Context(), 15*time.Second, func() error {
		if !strings.Contains(s.log(t), line) {
			return fmt.Errorf("the log does not say %q", line)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func (s *sandbox) stop(t *testing.T) {
	t.Helper()
	if err := s.process.Stop(20 * time.Second); err != nil {
		t.Error(err)
	}
}

func (s *sandbox) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(s.process.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
