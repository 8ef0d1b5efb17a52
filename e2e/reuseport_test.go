//go:build e2e && handovers

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// migrate has a closing socket's connections go to another one of its address (Linux 5.14). It is
// the network's.
const migrate = "/proc/sys/net/ipv4/tcp_migrate_req"

// twin is the configuration of one of two kproxys at the same addresses.
func (s *succession) twin(number int) string {
	const admin = "admin: {bind: 127.0.0.1:%d, token_file: %q}\n"
	token := filepath.Join(string(s.files), "token")
	return "reuse_port: true\n" + strings.NewReplacer(
		filepath.Join(string(s.files), "state"), filepath.Join(string(s.files), fmt.Sprint("state", number)),
		"delay: 1h", "delay: 0s",
		fmt.Sprintf(admin, s.ports.admin, token), fmt.Sprintf(admin, s.ports.spare+number, token),
	).Replace(s.yaml())
}

func (s *succession) startTwin(t *testing.T, number int) *lab.Process {
	t.Helper()
	dir := filepath.Join(string(s.files), fmt.Sprint("twin", number))
	proc, err := lab.StartKproxy(context.Background(), shared.kproxy, dir, nil, s.twin(number))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proc.Kill)
	eventually(t, 30*time.Second, func() error {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", s.ports.spare+number))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("kproxy %d: %s", number, resp.Status)
		}
		return nil
	})
	return proc
}

// TestReusePort replaces a kproxy again and again by one that is started before the other drains, under
// load. Nothing is lost. Without tcp_migrate_req, connections that wait in the queue of the one that ends
// are reset; with it, none is.
func TestReusePort(t *testing.T) {
	const rounds = 5
	if err := os.WriteFile(migrate, []byte("0"), 0); err != nil {
		t.Fatalf("%v; run it in a network of its own (make handovers)", err)
	}
	s := newSuccession(t)
	running := s.startTwin(t, 0)
	number := 0
	l := s.startLoads(t, false)
	for _, migrates := range []string{"0", "1"} {
		if err := os.WriteFile(migrate, []byte(migrates), 0); err != nil {
			t.Fatal(err)
		}
		before, others := l.watch.Count(), startStorm(t, 8, s.many.Advertise)
		for range rounds {
			number = (number + 1) % 2
			next := s.startTwin(t, number)
			if err := running.Stop(30 * time.Second); err != nil {
				t.Error(err)
			}
			running = next
			flow(t, l.traces, 50)
		}
		others.end()
		asked, failed, how := others.counts()
		c := l.watch.Count()
		refused, reset := c.Refused-before.Refused, c.Resets-before.Resets
		t.Logf("tcp_migrate_req=%s, %d replacements: %d SYNs refused, %d open connections reset; %d of %d other connections without a response %s",
			migrates, rounds, refused, reset, failed, asked, how)
		if refused > 0 || migrates == "1" && failed > 0 {
			t.Error("connections were refused")
		}
	}
	l.end(t)
	l.nothingLost(t)
}
