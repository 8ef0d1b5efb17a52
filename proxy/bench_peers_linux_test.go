package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// workload is the traffic of a client and a broker. Of each request one side is a frame of
// size bytes.
type workload struct {
	kind  string // produce or fetch
	size  int    // bytes of records
	parts int    // partitions that they are in
	conns int    // at one time
	depth int    // requests in flight on each
	slow  bool   // readers that are to stop read a little from time to time
}

func (w workload) name() string {
	if w.parts > 1 {
		return fmt.Sprintf("%d-in-%d", w.size, w.parts)
	}
	return strconv.Itoa(w.size)
}

// peers are a client and a broker in a process of their own.
type peers struct {
	broker string
	out    *bufio.Scanner
	in     io.Writer
}

// peersEnv is set in that process, to the workload.
const peersEnv = "KPROXY_BENCH_PEERS"

func startPeers(tb testing.TB, w workload) *peers {
	tb.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), os.Args[0], "-test.run=^TestBenchPeers$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d %d %d %t", peersEnv, w.kind, w.size, w.parts, w.conns, w.depth, w.slow))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	p := &peers{out: bufio.NewScanner(out), in: in}
	p.broker = p.line(tb)
	return p
}

func (p *peers) line(tb testing.TB) string {
	tb.Helper()
	if !p.out.Scan() {
		tb.Fatal("the peers have ended")
	}
	return p.out.Text()
}

// send has n requests sent to address, and waits for their responses.
func (p *peers) send(tb testing.TB, address string, n int) {
	tb.Helper()
	p.tell(tb, "send", address, n)
}

// stall has n connections opened to address, a request sent on each, and nothing
// read.
func (p *peers) stall(tb testing.TB, address string, n int) {
	tb.Helper()
	p.tell(tb, "stall", address, n)
}

func (p *peers) tell(tb testing.TB, what, address string, n int) {
	tb.Helper()
	_, _ = fmt.Fprintln(p.in, what, address, n)
	if got := p.line(tb); got != "done" {
		tb.Fatal(got)
	}
}

// TestBenchPeers is the process of the peers. In any other process it does nothing.
func TestBenchPeers(t *testing.T) {
	if os.Getenv(peersEnv) == "" {
		t.Skip("it is the other half of BenchmarkRelay")
	}
	var w workload
	if _, err := fmt.Sscan(os.Getenv(peersEnv), &w.kind, &w.size, &w.parts, &w.conns, &w.depth, &w.slow); err != nil {
		t.Fatal(err)
	}
	request, answer := w.frames()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go serveAnswers(socket, answer)
	say := func(s string) { _, _ = os.Stdout.WriteString(s + "\n") }
	say(socket.Addr().String())
	c := benchClient{workload: w, request: request, answer: len(answer)}
	for commands := bufio.NewScanner(os.Stdin); commands.Scan(); {
		var what, address string
		var n int
		_, err := fmt.Sscan(commands.Text(), &what, &address, &n)
		switch {
		case err != nil:
		case what == "stall":
			err = c.stall(address, n)
		default:
			err = c.send(address, n)
		}
		if err != nil {
			say(err.Error())
			return
		}
		say("done")
	}
}

// benchClient has the connections of all commands. They end with the process.
type benchClient struct {
	workload

	request []byte
	answer  int        // its length
	conns   []net.Conn // that requests are sent on
	stalled []net.Conn
}

// send sends n requests over all connections, and reads their responses.
func (c *benchClient) send(address string, n int) error {
	for len(c.conns) < c.workload.conns {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		c.conns = append(c.conns, conn)
	}
	errs := make([]error, len(c.conns))
	var all sync.WaitGroup
	for i, conn := range c.conns {
		mine := n / len(c.conns)
		if i < n%len(c.conns) {
			mine++
		}
		all.Go(func() { errs[i] = askAll(conn, make([]byte, 256<<10), c.request, c.answer, mine, c.depth) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// stall opens n connections with a request on each, whose readers stop.
func (c *benchClient) stall(address string, n int) error {
	for range n {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		c.stalled = append(c.stalled, conn) // or a finalizer would close it
		if _, err := conn.Write(c.request); err != nil {
			return err
		}
		if c.slow {
			go readSlowly(conn)
		}
	}
	return nil
}

func readSlowly(conn net.Conn) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for in := make([]byte, 64<<10); ; <-tick.C {
		if _, err := conn.Read(in); err != nil {
			return
		}
	}
}

// frames returns the one request and the one response, with correlation id 1.
func (w workload) frames() (request, answer []byte) {
	var req kmsg.Request
	var resp kmsg.Response
	if w.kind == "produce" {
		p := kmsg.NewPtrProduceRequest()
		p.Version, p.Acks = 9, -1
		partition := kmsg.NewProduceRequestTopicPartition()
		partition.Records = make([]byte, w.size)
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic, topic.Partitions = "t", append(topic.Partitions, partition)
		p.Topics = append(p.Topics, topic)
		req, resp = p, kmsg.NewPtrProduceResponse()
	} else {
		f := kmsg.NewPtrFetchResponse()
		topic := kmsg.NewFetchResponseTopic()
		for range w.parts {
			partition := kmsg.NewFetchResponseTopicPartition()
			partition.RecordBatches = make([]byte, w.size/w.parts)
			topic.Partitions = append(topic.Partitions, partition)
		}
		f.Topics = append(f.Topics, topic)
		req, resp = kmsg.NewPtrFetchRequest(), f
		req.SetVersion(17)
	}
	resp.SetVersion(req.GetVersion())
	request = kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
	body := append([]byte{0}, resp.AppendTo(nil)...) // both are flexible
	return request, append(wire.AppendResponsePrefix(nil, 1, len(body)), body...)
}

// serveAnswers answers every request with the same bytes. Questions of the
// proxy's own it does not answer.
func serveAnswers(socket net.Listener, answer []byte) {
	for {
		conn, err := socket.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.Close() }()
			in := bufio.NewReaderSize(conn, 256<<10)
			for {
				prefix, err := in.Peek(wire.RequestPrefixLen)
				if err != nil || wire.ParseRequestPrefix(prefix).Key > kmsg.Fetch.Int16() {
					return
				}
				if _, err := in.Discard(wire.SizeLen + int(wire.Size(prefix))); err != nil {
					return
				}
				if _, err := conn.Write(answer); err != nil {
					return
				}
			}
		}()
	}
}

// askAll sends n requests, and reads as many responses of size bytes each.
func askAll(conn net.Conn, in, request []byte, size, n, depth int) error {
	for n > 0 {
		batch := min(n, depth)
		for range batch {
			if _, err := conn.Write(request); err != nil {
				return err
			}
		}
		for left := batch * size; left > 0; {
			got, err := conn.Read(in[:min(left, len(in))])
			if err != nil {
				return err
			}
			left -= got
		}
		n -= batch
	}
	return nil
}
