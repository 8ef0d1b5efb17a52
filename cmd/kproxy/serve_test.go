package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kproxy/internal/certlab"
	"kproxy/internal/portlab"
)

// The table at start has every node, and SIGTERM ends serve with success.
func TestServe(t *testing.T) {
	brokers, err := kfake.NewCluster(kfake.NumBrokers(2))
	if err != nil {
		t.Fatal(err)
	}
	defer brokers.Close()
	host := portlab.Host(t)
	k := startServe(t, fmt.Sprintf(`
clusters:
  orders:
    bootstrap: [%q]
    listeners:
      fred: {bind: "%s:9092", advertise: "localhost:9092", nodes: {ports: 9100-9102}}
`, brokers.ListenAddrs()[0], host))

	k.wantOut("cluster orders, listener fred: bootstrap at localhost:9092")
	k.wantOut("NODE BIND ADVERTISED DIALLED")
	for node, broker := range brokers.ListenAddrs() {
		k.wantOut(fmt.Sprintf("%d %s:%d localhost:%[3]d %s", node, host, 9100+node, broker))
	}
	k.signal(syscall.SIGTERM)
	k.wantLog("stopping")
	if err := <-k.done; err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

// A stdout that is not read any more does not block serve.
func TestServeWithAStdoutThatIsNotRead(t *testing.T) {
	brokers, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer brokers.Close()
	s, err := load(t, fmt.Sprintf(`
clusters:
  orders:
    bootstrap: [%q]
    listeners:
      fred: {bind: "%s:9092", nodes: {ports: 9100}}
`, brokers.ListenAddrs()[0], portlab.Host(t)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	defer r.Close()
	done := make(chan error, 1)
	go func() { done <- serve(ctx, s, &origin{}, w, io.Discard) }()
	if _, err := r.Read(make([]byte, 1)); err != nil { // the table is under way
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("serve ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("serve has not ended")
	}
}

// serve waits for clients that are owed a response; a second signal ends the wait.
func TestServeSecondSignalCuts(t *testing.T) {
	broker, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	host := portlab.Host(t)
	k := startServe(t, fmt.Sprintf(`
clusters:
  orders:
    bootstrap: [%q]
    listeners:
      fred: {bind: "%s:9092", nodes: {ports: 9100}}
`, broker.Addr(), host))
	k.wantLog("memory limit: ") // whichever it is
	k.wantLog("serving")
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", host+":9092")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// ApiVersions v0, correlation id 7, client id "test".
	request := "\x00\x00\x00\x0e" + "\x00\x12\x00\x00\x00\x00\x00\x07\x00\x04test"
	if _, err := io.WriteString(client, request); err != nil {
		t.Fatal(err)
	}
	awaitRequest(t, broker, request)

	k.signal(syscall.SIGTERM)
	k.wantLog("stopping")
	k.signal(syscall.SIGTERM)
	k.wantLog("sessions=1")
	if err := <-k.done; err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

// A signal during the wait for a reload counts.
func TestNotifyDuring(t *testing.T) {
	arrived := make(chan os.Signal, 1)
	signal.Notify(arrived, syscall.SIGTERM)
	defer signal.Stop(arrived)
	notified, stop := notifyDuring(t.Context(), func() {
		(&running{t: t}).signal(syscall.SIGTERM)
		<-arrived
	})
	defer stop()
	select {
	case <-notified.Done():
	case <-time.After(10 * time.Second):
		t.Error("the signal is lost")
	}
}

// SIGHUP reads certificates and the configuration, and does not disturb the connected clients.
func TestServeHangup(t *testing.T) {
	brokers, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer brokers.Close()
	files, ca := certlab.NewFolder(t), certlab.NewAuthority(t, "edge")
	cert, key := files.Pair(t, "edge", ca.Issue(t, nil, "localhost"))
	host := portlab.Host(t)
	k := startServe(t, fmt.Sprintf(`
reload: {watch: false}
clusters:
  orders:
    bootstrap: [%q]
    listeners:
      fred: {bind: "%s:9092", advertise: "localhost:9092", nodes: {ports: 9100}, tls: {certs: [{cert: %s, key: %s}]}}
`, brokers.ListenAddrs()[0], host, cert, key))
	k.wantLog("serving")
	connect := func() *tls.Conn {
		t.Helper()
		client, err := tls.Dial("tcp", host+":9092", &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		return client
	}
	old := connect()
	askVersions(t, old)
	before := old.ConnectionState().PeerCertificates[0].SerialNumber
	_, _ = files.Pair(t, "edge", ca.Issue(t, nil, "localhost"))
	k.signal(syscall.SIGHUP)
	k.wantLog("certificates and keys have changed; new connections use the new ones")
	k.wantLog(`level=INFO msg="configuration reloaded" generation=1 changes=0 by=signal`)
	askVersions(t, old)
	if after := connect().ConnectionState().PeerCertificates[0].SerialNumber; after.Cmp(before) == 0 {
		t.Error("a new connection has the old certificate")
	}
	k.signal(syscall.SIGTERM)
	if err := <-k.done; err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

// An address that is taken is named, with advice.
func TestServeCannotBind(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	k := startServe(t, fmt.Sprintf(`
clusters:
  orders:
    bootstrap: ["127.0.0.1:1"]
    listeners:
      fred: {bind: %q, nodes: {addresses: "127.0.0.2:{slot}", slots: 60000}}
`, taken.Addr()))
	err = <-k.done
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(err.Error(), "stop the process that listens there") {
		t.Errorf("serve ended with %v", err)
	}
}

// awaitRequest accepts connections, the proxy's own requests among them, until one
// carries request. It responds to none.
func awaitRequest(t *testing.T, broker net.Listener, request string) {
	t.Helper()
	for {
		conn, err := broker.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		got := make([]byte, len(request))
		if _, err := io.ReadFull(conn, got); err == nil && string(got) == request {
			return
		}
	}
}

// running is a serve whose output can be waited for.
type running struct {
	t        *testing.T
	file     string        // the configuration
	out, log <-chan string // its lines
	done     chan error
}

func startServe(t *testing.T, config string) *running {
	t.Helper()
	s, err := load(t, config)
	if err != nil {
		t.Fatal(err)
	}
	outReader, out := io.Pipe()
	logReader, log := io.Pipe()
	k := &running{t: t, file: s.File, out: lines(outReader), log: lines(logReader), done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	hangups, stop := notifyHangups()
	go func() {
		defer stop()
		err := serve(ctx, s, &origin{hangups: hangups}, out, log)
		_ = out.Close()
		_ = log.Close()
		k.done <- err
	}()
	return k
}

// With log.format json, collectors that read stdout and stderr find JSON alone, from the start to the end.
func TestServeInJSON(t *testing.T) {
	brokers, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer brokers.Close()
	host := portlab.Host(t)
	k := startServe(t, fmt.Sprintf(`
log: {format: json, level: info}
clusters:
  orders:
    bootstrap: [%q]
    listeners:
      fred: {bind: "%s:9092", advertise: "localhost:9092", nodes: {ports: 9100}}
`, brokers.ListenAddrs()[0], host))
	want := fmt.Sprintf(`"msg":"node advertised","cluster":"orders","listener":"fred","bootstrap":"localhost:9092","node":0,"bind":"%s:9100","advertised":"localhost:9100","upstream":%q}`, host, brokers.ListenAddrs()[0])
	var isShown, isStopped bool
	for out, log := k.out, k.log; out != nil || log != nil; {
		select {
		case line, ok := <-out:
			if !ok {
				out = nil
				continue
			}
			t.Errorf("stdout: %s", line)
		case line, ok := <-log:
			if !ok {
				log = nil
				continue
			}
			if !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
			isShown = isShown || strings.Contains(line, want)
		}
		if (isShown || t.Failed()) && !isStopped {
			isStopped = true
			k.signal(syscall.SIGTERM)
		}
	}
	if !isShown {
		t.Errorf("no line has %s", want)
	}
	if err := <-k.done; err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

// With log.format json, the reason why kproxy does not start is JSON too. Of a file with a mistake only the
// environment says the format.
func TestServeRefusedInJSON(t *testing.T) {
	host := portlab.Host(t)
	taken, err := net.Listen("tcp", host+":9092")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	config := fmt.Sprintf(`clusters: {orders: {bootstrap: ["127.0.0.1:1"], listeners: {fred: {bind: "%s:9092", nodes: {ports: 9100}}}}}`, host)
	serve := func(code int, config string) []string {
		file := filepath.Join(t.TempDir(), "kproxy.yaml")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		_, stderr := runWith(t, code, "serve", "--config", file)
		return strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	}
	isJSON := func(lines []string, want string) {
		t.Helper()
		for _, line := range lines {
			if !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
		}
		if last := lines[len(lines)-1]; !strings.Contains(last, `"level":"ERROR","msg":"kproxy does not start","error":"`) || !strings.Contains(last, want) {
			t.Errorf("got %s", last)
		}
	}
	isJSON(serve(exitFailed, "log: {format: json}\n"+config), "address already in use")
	if last := serve(exitUsage, "log: {format: json, level: loud}\n"+config)[0]; !strings.HasPrefix(last, "kproxy: ") {
		t.Errorf("got %s", last)
	}
	t.Setenv("KPROXY_LOG_FORMAT", "json")
	isJSON(serve(exitFailed, config), "address already in use")
	isJSON(serve(exitUsage, "log: {level: loud}\n"+config), "log.level")
}

// lines always reads on, so that serve never waits for the test.
func lines(r io.Reader) <-chan string {
	c := make(chan string, 1000)
	go func() {
		defer close(c)
		for s := bufio.NewScanner(r); s.Scan(); {
			c <- s.Text()
		}
	}()
	return c
}

// wantOut expects a line of the table, whatever its columns' widths.
func (k *running) wantOut(want string) {
	k.t.Helper()
	line, ok := <-k.out
	if got := strings.Join(strings.Fields(line), " "); got != want || !ok {
		k.t.Errorf("stdout: got %q, want %q", got, want)
	}
}

// wantLog waits for a log line that holds want.
func (k *running) wantLog(want string) {
	k.t.Helper()
	for line := range k.log {
		if strings.Contains(line, want) {
			return
		}
	}
	k.t.Fatalf("the log ended before %q", want)
}

// signal sends s to this process, which serve handles.
func (k *running) signal(s syscall.Signal) {
	k.t.Helper()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		k.t.Fatal(err)
	}
	if err := self.Signal(s); err != nil {
		if runtime.GOOS == "windows" {
			k.t.Skip("a process cannot send itself a signal on Windows")
		}
		k.t.Fatal(err)
	}
}

// askVersions sends a request to a kproxy, and waits for the whole response.
func askVersions(t *testing.T, client net.Conn) {
	t.Helper()
	// ApiVersions v0, correlation id 7, client id "test".
	if _, err := io.WriteString(client, "\x00\x00\x00\x0e"+"\x00\x12\x00\x00\x00\x00\x00\x07\x00\x04test"); err != nil {
		t.Fatal(err)
	}
	size := make([]byte, 4)
	if _, err := io.ReadFull(client, size); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, client, int64(binary.BigEndian.Uint32(size))); err != nil {
		t.Fatal(err)
	}
}
