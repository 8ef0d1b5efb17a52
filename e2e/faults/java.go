//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"kproxy/e2e/lab"
)

const (
	javaRate    = "200"
	fencedGroup = "65534" // whose connections the firewall knows
)

// The producer's settings in place of VerifiableProducer's own, which may lose records.
const javaProducer = `acks=all
enable.idempotence=true
retries=2147483647
delivery.timeout.ms=120000
`

// javaEvent is a line of the verifiable tools' output.
type javaEvent struct {
	Name, Value, Message string
}

// javaLoad is a VerifiableProducer and two VerifiableConsumers in a group.
type javaLoad struct {
	run      *run
	producer *exec.Cmd
	ended    chan struct{} // closed when the producer has
	alone    bool          // there are no consumers
	logsIn   bool          // the producer logs in
	done     sync.WaitGroup

	ackTimes, readTimes ticker

	mu      sync.Mutex // guards the following
	acked   map[string]bool
	refused map[string]int
	read    map[string]bool
}

// newJavaLoad returns one that is not started.
func (r *run) newJavaLoad() *javaLoad {
	return &javaLoad{run: r, ended: make(chan struct{}), acked: map[string]bool{}, refused: map[string]int{}, read: map[string]bool{}}
}

// java is the run of Java's clients.
func (r *run) java(ctx context.Context, f fault) (*outcome, error) {
	running, cancel := context.WithCancel(ctx)
	l := r.newJavaLoad()
	defer l.done.Wait()
	defer cancel() // kills them
	if r.kproxy != nil {
		if err := r.fence(); err != nil {
			return nil, err
		}
		defer func() { _ = r.near.Run("nft", "delete table inet faults") }()
	}
	if err := l.start(running, seeds()); err != nil {
		return nil, err
	}
	if err := l.flows(ctx, 1000); err != nil {
		return nil, fmt.Errorf("before the fault: %w", err)
	}
	l.ackTimes.reset()
	l.readTimes.reset()
	if err := f.Act(ctx, r); err != nil {
		return nil, err
	}
	if err := l.flows(ctx, 1000); err != nil {
		r.fail("records do not flow again: %v", err)
	}
	o := &outcome{Pause: l.ackTimes.gap(), ReadPause: l.readTimes.gap()}
	l.finish(ctx)
	o.Acked, o.Read, o.Unread, o.Refused = len(l.acked), len(l.read), l.unread(), l.refused
	if err := r.tally(ctx, o, l.acked); err != nil {
		return nil, err
	}
	if r.kproxy != nil {
		if err := r.countFenced(o); err != nil {
			return nil, err
		}
	}
	o.Notes, o.Wrong = r.notes, r.wrong
	return o, nil
}

// start runs the tools beside the client's end of the link. Without kproxy they start from
// seeds.
func (l *javaLoad) start(ctx context.Context, seeds []string, producerArgs ...string) error {
	r := l.run
	classpath, err := lab.NewestTools(ctx)
	if err != nil {
		return err
	}
	config := filepath.Join(r.dir, "producer.properties")
	settings := javaProducer
	if l.logsIn {
		settings += javaLogin
	}
	if err := os.WriteFile(config, []byte(settings), 0o600); err != nil {
		return err
	}
	tool := func(class string, args ...string) *exec.Cmd {
		return r.fencedIn(r.site.java.Tool(ctx, r.cluster.Release.Client+":"+classpath, "org.apache.kafka.tools."+class,
			append(args, "--bootstrap-server", r.servers(seeds), "--topic", r.topic)...))
	}
	for i := 0; i < 2 && !l.alone; i++ {
		if _, err := l.watch(tool("VerifiableConsumer", "--group-id", r.group, "--verbose",
			"--session-timeout", strconv.Itoa(int(sessionTimeout.Milliseconds())))); err != nil {
			return err
		}
	}
	l.producer = tool("VerifiableProducer", append([]string{"--throughput", javaRate, "--command-config", config}, producerArgs...)...)
	ended, err := l.watch(l.producer)
	l.ended = ended
	return err
}

// servers is a client's --bootstrap-server.
func (r *run) servers(seeds []string) string {
	if r.kproxy != nil {
		return r.kproxy.endpoints()[0]
	}
	return strings.Join(seeds, ",")
}

// fencedIn runs a command beside the client's end of the link, in the group that the
// firewall checks.
func (r *run) fencedIn(cmd *exec.Cmd) *exec.Cmd {
	cmd.Args = append([]string{"setpriv", "--regid=" + fencedGroup, "--clear-groups", cmd.Path}, cmd.Args[1:]...)
	cmd.Path, cmd.Err = exec.LookPath("setpriv")
	return r.near.Command(cmd)
}

// watch starts a tool and reads its output, until it ends.
func (l *javaLoad) watch(cmd *exec.Cmd) (ended chan struct{}, err error) {
	log, err := os.OpenFile(filepath.Join(l.run.dir, "java-"+string(l.run.place)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := lab.Start(cmd); err != nil {
		return nil, err
	}
	ended = make(chan struct{})
	l.done.Go(func() {
		defer close(ended)
		for in := bufio.NewScanner(out); in.Scan(); {
			var e javaEvent
			if json.Unmarshal(in.Bytes(), &e) == nil {
				l.note(e)
			}
		}
		_ = cmd.Wait() // killed, mostly
	})
	return ended, nil
}

func (l *javaLoad) note(e javaEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.Name {
	case "producer_send_success":
		l.ackTimes.tick()
		l.acked[e.Value] = true
	case "producer_send_error":
		l.refused[e.Message]++
	case "record_data":
		l.readTimes.tick()
		l.read[e.Value] = true
	}
}

func (l *javaLoad) counts() (acked, read int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked), len(l.read)
}

func (l *javaLoad) unread() (n int) {
	if l.alone {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.acked {
		if !l.read[name] {
			n++
		}
	}
	return n
}

func (l *javaLoad) flows(ctx context.Context, n int) error {
	acked, read := l.counts()
	return lab.Poll(ctx, 2*time.Minute, func() error {
		if a, r := l.counts(); a < acked+n || !l.alone && r < read+n {
			return fmt.Errorf("%d more records acknowledged, %d more read; want %d", a-acked, r-read, n)
		}
		return nil
	})
}

// finish lets the producer deliver the records that it has begun, and the group read
// them.
func (l *javaLoad) finish(ctx context.Context) {
	_ = l.producer.Process.Signal(syscall.SIGTERM)
	select {
	case <-l.ended:
	case <-time.After(time.Minute):
	}
	_ = lab.Poll(ctx, time.Minute, func() error {
		if n := l.unread(); n > 0 {
			return fmt.Errorf("%d unread", n)
		}
		return nil
	})
}

// rollingRestart restarts all brokers one by one. kproxy, where there is one, dies
// while the second and the third are away.
func rollingRestart(ctx context.Context, r *run) error {
	for id := int32(1); id <= brokers; id++ {
		dead := make(chan error, 1)
		go func() {
			if r.kproxy == nil || id == 1 {
				dead <- nil
				return
			}
			err := wait(ctx, 2*time.Second)
			r.kproxy.proc.Kill()
			dead <- errors.Join(err, r.kproxy.Start(ctx))
		}()
		err := r.cluster.Restart(ctx, id, (*lab.Broker).Stop)
		if err := errors.Join(err, <-dead); err != nil {
			return err
		}
	}
	return nil
}

// fence refuses and counts fencedGroup's dials beyond the link: all its intended addresses
// are on this side.
func (r *run) fence() error {
	return errors.Join(
		r.near.Run("nft", "add table inet faults"),
		r.near.Run("nft", "add counter inet faults others"),
		r.near.Run("nft", "add chain inet faults say { type filter hook output priority 0; }"),
		r.near.Run("nft", fmt.Sprintf("add rule inet faults say oifname \"to-%s\" meta skgid %s counter name others reject with tcp reset",
			r.vpc.Name, fencedGroup)),
	)
}

var packets = regexp.MustCompile(`packets (\d+)`)

// countFenced adds the dials that the fence has refused to the other addresses that were
// dialled.
func (r *run) countFenced(o *outcome) error {
	tried, err := r.fenced()
	for range tried {
		o.Others = append(o.Others, "a broker")
	}
	return err
}

func (r *run) fenced() (int, error) {
	out, err := lab.Output(r.near.Command(exec.Command("nft", "list", "counter", "inet", "faults", "others"))) //nolint:noctx // at once
	if err != nil {
		return 0, fmt.Errorf("nft: %w: %s", err, out)
	}
	m := packets.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("nft said %q", out)
	}
	return strconv.Atoi(m[1])
}
