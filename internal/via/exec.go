package via

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kproxy/internal/wait"
)

// The placeholders for the broker in a command's words. An IPv6 host is without
// brackets, as OpenSSH's %h is.
const (
	placeHost = "{host}"
	placePort = "{port}"
)

const (
	// execGrace is how long a command has between SIGTERM and SIGKILL: enough to end a
	// session at a cloud's API.
	execGrace = 2 * time.Second

	// execStatus is how long the end of a command's output waits for the end of the
	// command, to tell a failure from an orderly end.
	execStatus = 500 * time.Millisecond

	maxStderrLine  = 1024 // bytes
	keepStderrLine = 3    // the last lines, for the error
)

// execHop starts a command for each connection, as OpenSSH's ProxyCommand: its
// standard input and output are the connection.
type execHop struct {
	path     string
	words    []string
	onStderr func(target, line string)
	children Streams
}

func (h *execHop) Close() { h.children.Close() }

// command is the command for t. Placeholders are replaced inside words, which are not
// split: t stays part of its arguments.
func (h *execHop) command(t Target) *exec.Cmd {
	place := strings.NewReplacer(placeHost, t.Host, placePort, strconv.Itoa(int(t.Port)))
	args := slices.Clone(h.words)
	for i := range args[1:] {
		args[i+1] = place.Replace(args[i+1])
	}
	return &exec.Cmd{Path: h.path, Args: args, SysProcAttr: ownGroup()}
}

func (h *execHop) Dial(_ context.Context, t Target) (net.Conn, error) {
	p, err := start(h.command(t))
	if err != nil {
		return nil, failf(OutcomeProxyUnreachable, "the command does not start: %w", err)
	}
	p.listening.Go(func() { p.listen(t.String(), h.onStderr) })
	if exit := openExit(p.cmd.Process); exit != nil {
		p.listening.Go(func() { p.guard(exit) })
	}
	return h.children.Adopt(p, schemeExec, h.words[0], t.String())
}

// process is a command that runs. Its process is reaped by end and nowhere else: until
// then no other process has its id or its group's, so that a signal cannot hit another
// process.
type process struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	stderr *os.File

	listening sync.WaitGroup // listen, watch and guard
	reaped    chan struct{}  // closed when the command has been reaped
	silent    chan struct{}  // closed when stderr has ended: as a rule, no process of the group is left

	watching sync.Once
	gone     chan struct{} // closed by watch

	mu    sync.Mutex // guards the following
	lines []string   // the last of stderr

	ending sync.Mutex // guards the following, and the leader's id
	ended  bool
	status error // of the command, once it has ended
}

// start starts cmd with pipes of its own. On failure it closes everything that it has
// opened.
func start(cmd *exec.Cmd) (*process, error) {
	var all []*os.File
	pipe := func() (r, w *os.File, err error) {
		if r, w, err = os.Pipe(); err == nil {
			all = append(all, r, w)
		}
		return r, w, err
	}
	stdin, in, err1 := pipe()
	out, stdout, err2 := pipe()
	errs, stderr, err3 := pipe()
	err := errors.Join(err1, err2, err3)
	if err == nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
		err = cmd.Start()
	}
	if err != nil {
		for _, f := range all {
			_ = f.Close()
		}
		return nil, err
	}
	for _, f := range []*os.File{stdin, stdout, stderr} {
		_ = f.Close() // the command has its own
	}
	return &process{cmd: cmd, stdin: in, stdout: out, stderr: errs, silent: make(chan struct{}), reaped: make(chan struct{})}, nil
}

// listen reads standard error to its end, in lines.
func (p *process) listen(target string, tell func(target, line string)) {
	defer close(p.silent)
	r := bufio.NewReaderSize(p.stderr, maxStderrLine)
	for {
		text, err := r.ReadSlice('\n')
		if line := strings.TrimSpace(strings.ToValidUTF8(string(text), "�")); line != "" {
			p.keep(line)
			if tell != nil {
				tell(target, line)
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (p *process) keep(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	p.lines = p.lines[max(0, len(p.lines)-keepStderrLine):]
}

// Read reads the command's output. If the command has failed, the end is an error with
// its status and the last lines of its standard error.
func (p *process) Read(b []byte) (int, error) {
	n, err := p.stdout.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) { // guard's: the command has failed
		if n = readNow(p.stdout, b); n > 0 {
			_ = p.stdout.SetReadDeadline(wait.Past) // Close may have closed it
			return n, nil
		}
		return 0, p.verdict(p.end())
	}
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	// A command may close its output before it ends, and its status is not known before
	// that. Or it may still accept input.
	if !p.over(execStatus) {
		return n, err
	}
	return n, p.verdict(p.end())
}

// guard ends reading when the command has failed and a process that it has left behind
// holds its output: there is no broker then. Processes that a successful command has left
// behind may carry the connection.
func (p *process) guard(exit *os.File) {
	defer exit.Close()
	if !awaitFailure(exit) {
		return
	}
	timer := time.NewTimer(execStatus) // for output that ends by itself
	defer timer.Stop()
	select {
	case <-timer.C:
		_ = p.stdout.SetReadDeadline(wait.Past) // Close may have closed it
	case <-p.reaped:
	}
}

// over waits, for a while, until the command and its output have ended.
func (p *process) over(within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.exited():
	case <-timer.C:
		return false
	}
	select {
	case <-p.silent:
	case <-timer.C: // a process that it has left behind may write more
	}
	return true
}

// exited is closed when the command has ended. It may not be reaped yet.
func (p *process) exited() <-chan struct{} {
	p.watching.Do(func() {
		p.gone = make(chan struct{})
		p.listening.Go(p.watch)
	})
	return p.gone
}

// watch waits for the command's end. It is started when that is near: it may take
// an operating system's thread.
func (p *process) watch() {
	defer close(p.gone)
	awaitExit(p.cmd.Process, p.silent)
}

// verdict is io.EOF if the command has succeeded.
func (p *process) verdict(status error) error {
	if status == nil {
		return io.EOF
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) == 0 {
		return fmt.Errorf("the command ended with %w", status)
	}
	return fmt.Errorf("the command ended with %w: %s", status, Quote(strings.Join(p.lines, " | ")))
}

// Write writes to the command.
func (p *process) Write(b []byte) (int, error) { return p.stdin.Write(b) }

// CloseWrite ends the command's input.
func (p *process) CloseWrite() error { return p.stdin.Close() }

// Close ends the command: first by the end of its input and by SIGTERM, then, if any
// process of its group is still there, by SIGKILL. It returns when the command has
// been reaped.
func (p *process) Close() error {
	_ = p.stdin.Close() // it may be closed already
	if p.terminate() {
		p.over(execGrace)
	}
	_ = p.end() // no goroutine reads any more
	_ = p.stdout.Close()
	return nil
}

// terminate asks the command to end, if it has not been reaped.
func (p *process) terminate() bool {
	p.ending.Lock()
	defer p.ending.Unlock()
	if !p.ended {
		terminate(p.cmd.Process)
	}
	return !p.ended
}

// end kills the remaining processes of the command, reaps it, and waits for listen.
// status is the command's.
func (p *process) end() (status error) {
	p.ending.Lock()
	defer p.ending.Unlock()
	if !p.ended {
		p.ended = true
		kill(p.cmd.Process)
		p.status = p.cmd.Wait()
		close(p.reaped)
		_ = p.stderr.Close() // a process that has left the group may hold the other end
		p.listening.Wait()
	}
	return p.status
}
