//go:build e2e && linux

package packages

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// standIn is systemctl for the scripts of packages. The test keeps the main process's id in a file, as
// kproxy's notifications have it.
const standIn = `#!/bin/sh
echo "$*" >>/run/systemd/calls
main=$(cat /run/systemd/main.pid 2>/dev/null)
runs() { grep '^State:' "/proc/$main/status" 2>/dev/null | grep -qv Z; }
case "$*" in
daemon-reload) ;;
*"is-active kproxy.service") runs || exit 3 ;;
"show --property=MainPID --value kproxy.service") echo "$main" ;;
"kill --kill-who=main --signal=SIGUSR2 kproxy.service") kill -USR2 "$main" ;;
*"disable --now kproxy.socket kproxy.service")
	while runs; do
		kill -TERM "$main" # again and again: without drain.delay
		/bin/sleep 0.1
	done
	;;
*) exit 1 ;;
esac
`

// withSystemctl puts the stand-in into a root. sleep returns at once, so that no script waits for a
// minute.
func (r *root) withSystemctl(t *testing.T) {
	t.Helper()
	r.write(t, "/run/systemd/system/here", nil, 0o644)
	r.write(t, "/usr/bin/systemctl", []byte(standIn), 0o755)
	for _, dir := range []string{"/run", "/run/systemd", "/tmp"} {
		if err := os.Chmod(r.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// calls returns the commands that the scripts gave systemctl.
func (r *root) calls(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(r.path("/run/systemd/calls"))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// service is kproxy in a root, started as kproxy.socket and kproxy.service start it.
type service struct {
	root *root
	cmd  *exec.Cmd
	log  string

	mu   sync.Mutex // guards the following
	main int
	said []string // of the notifications
}

// startService has systemd-socket-activate start the program at the first connection.
func startService(t *testing.T, r *root) *service {
	t.Helper()
	address := r.path("/run/systemd/notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	if err := os.Chmod(address, 0o666); err != nil {
		t.Fatal(err)
	}
	s := &service{root: r, log: filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cmd = r.command(t, "setpriv", "--reuid=kproxy", "--regid=kproxy", "--clear-groups",
		"systemd-socket-activate", "--setenv=NOTIFY_SOCKET=/run/systemd/notify", "--setenv=KPROXY_DRAIN_TIMEOUT=5s",
		"--listen=127.0.0.1:9092", "--listen=127.0.0.1:9100", "--listen=127.0.0.1:9400",
		"/usr/bin/kproxy", "serve", "--config", "/etc/kproxy/kproxy.yaml")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := lab.Start(s.cmd); err != nil {
		t.Fatal(err)
	}
	s.becomes(s.cmd.Process.Pid)
	go s.listen(socket) // ends with the socket
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.cmd.Wait() // by a signal, if the test failed
	}()
	t.Cleanup(func() {
		for _, pid := range []int{s.pid(), s.cmd.Process.Pid} {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill()
			}
		}
		<-ended
		if t.Failed() {
			t.Logf("notifications: %q\nlog:\n%s", s.said, lastLines(s.log, 40))
		}
	})
	poll(t, 10*time.Second, func() error { // a connection is refused before
		if text := lastLines(s.log, 10); !strings.Contains(text, "Listening on 127.0.0.1:9400") {
			return fmt.Errorf("nothing listens: %s", text)
		}
		return nil
	})
	return s
}

// lastLines returns the last lines of a file.
func lastLines(file string, most int) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(string(content), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "")
}

func (s *service) listen(socket *net.UnixConn) {
	buf := make([]byte, 4096)
	for {
		n, err := socket.Read(buf)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.said = append(s.said, string(buf[:n]))
		s.mu.Unlock()
		for line := range strings.Lines(string(buf[:n])) {
			if id, ok := strings.CutPrefix(strings.TrimSpace(line), "MAINPID="); ok {
				if pid, err := strconv.Atoi(id); err == nil {
					s.becomes(pid)
				}
			}
		}
	}
}

// becomes has another main process.
func (s *service) becomes(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.main = pid
	file := s.root.path("/run/systemd/main.pid")
	if err := errors.Join(os.WriteFile(file+".next", fmt.Appendln(nil, pid), 0o600), os.Rename(file+".next", file)); err != nil {
		panic(err) // the file is in a tmpfs of the test
	}
}

func (s *service) pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.main
}

// ready waits for a READY=1.
func (s *service) ready(t *testing.T) {
	t.Helper()
	poll(t, 30*time.Second, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, text := range s.said {
			if strings.Contains(text, "READY=1") {
				return nil
			}
		}
		return errors.New("there is no READY=1")
	})
}

// gone waits for the end of a process.
func gone(t *testing.T, pid int) {
	t.Helper()
	poll(t, 30*time.Second, func() error {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // there is none of a process that has ended
		if _, after, ok := strings.Cut(string(stat), ") "); ok && !strings.HasPrefix(after, "Z") {
			return fmt.Errorf("process %d runs", pid)
		}
		return nil
	})
}

func poll(t *testing.T, timeout time.Duration, cond func() error) {
	t.Helper()
	if err := lab.Poll(context.Background(), timeout, cond); err != nil {
		t.Fatal(err)
	}
}
