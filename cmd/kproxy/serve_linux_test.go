package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/sys/unix"

	"kproxy/internal/portlab"
)

// drainTimeout is the drain.timeout of the processes below.
const drainTimeout = time.Second

// serveProcess is a serve in a process of its own, with the pipes that it writes to.
type serveProcess struct {
	*exec.Cmd

	bind           string
	stdout, stderr *os.File // the ends that are read
	full           *os.File // the process's end of stderr
}

func startServeProcess(t *testing.T) *serveProcess {
	t.Helper()
	brokers, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(brokers.Close)
	k := &serveProcess{bind: portlab.Host(t) + ":9092"}
	k.Cmd = kproxyCommand(t, "serve", "--config", write(t, fmt.Sprintf(`
drain: {timeout: %v}
clusters:
  orders:
    bootstrap: [%q]
    listeners:
      fred: {bind: %q, nodes: {ports: 9100}}
`, drainTimeout, brokers.ListenAddrs()[0], k.bind)))
	var out *os.File
	k.stdout, out = pipe(t)
	k.stderr, k.full = pipe(t)
	k.Stdout, k.Stderr = out, k.full
	return k
}

// kproxyCommand is kproxy itself: TestMain runs it under this name.
func kproxyCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Args = append([]string{"kproxy"}, args...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Close()
		_ = w.Close()
	})
	return r, w
}

// fill writes until the pipe is full.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	raw, err := w.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		_ = unix.SetNonblock(int(fd), true)
		for chunk := bytes.Repeat([]byte{'x'}, 4096); len(chunk) > 0; {
			if _, err := unix.Write(int(fd), chunk); err != nil {
				chunk = chunk[:len(chunk)/2]
			}
		}
		_ = unix.SetNonblock(int(fd), false) // the process has the same
	})
	if err != nil {
		t.Fatal(err)
	}
}

// session is one client's, with one response.
func session(t *testing.T, address string) {
	t.Helper()
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_ = client.SetDeadline(time.Now().Add(10 * time.Second))
	askVersions(t, client)
}

// wantLine waits for a line that holds want.
func wantLine(t *testing.T, r *os.File, want string) {
	t.Helper()
	_ = r.SetReadDeadline(time.Now().Add(20 * time.Second))
	for s := bufio.NewScanner(r); ; {
		if !s.Scan() {
			t.Fatalf("the output ended before %q: %v", want, s.Err())
		}
		if strings.Contains(s.Text(), want) {
			return
		}
	}
}

// wantEnd sends SIGTERM, and expects that the process ends by itself in time.
func (k *serveProcess) wantEnd(t *testing.T) {
	t.Helper()
	if err := k.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- k.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("serve ended with %v", err)
		}
	case <-time.After(drainTimeout + 2*time.Second):
		_ = k.Process.Kill()
		t.Errorf("serve has not ended after SIGTERM: %v", errors.Join(<-ended))
	}
}

// A stderr that is not read delays neither sessions nor the end of the process.
func TestServeWithAStderrThatIsNotRead(t *testing.T) {
	t.Parallel()
	k := startServeProcess(t)
	if err := k.Start(); err != nil {
		t.Fatal(err)
	}
	wantLine(t, k.stdout, "DIALLED")
	fill(t, k.full)
	for range 300 {
		session(t, k.bind)
	}
	k.wantEnd(t)
}

// A stderr whose reader is gone does not end the process.
func TestServeWithoutAReaderOfStderr(t *testing.T) {
	k := startServeProcess(t)
	_ = k.stderr.Close()
	if err := k.Start(); err != nil {
		t.Fatal(err)
	}
	wantLine(t, k.stdout, "DIALLED")
	session(t, k.bind)
	k.wantEnd(t)
}

// SIGHUP does not end the process while the configuration is read.
func TestServeHangupAtTheStart(t *testing.T) {
	config, w := pipe(t)
	k := kproxyCommand(t, "serve", "--config", "/dev/fd/3")
	var log bytes.Buffer
	k.Stderr, k.ExtraFiles = &log, []*os.File{config}
	if err := k.Start(); err != nil {
		t.Fatal(err)
	}
	_ = config.Close()
	// The file is larger than a pipe: serve reads while it is written.
	if _, err := w.WriteString(strings.Repeat("# nothing\n", 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := k.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("unknown: key\n"); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if err := k.Wait(); k.ProcessState.ExitCode() != exitUsage || !strings.Contains(log.String(), "unknown") {
		t.Errorf("serve ended with %v: %s", err, &log)
	}
}
