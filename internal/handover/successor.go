package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"kproxy/internal/foreign"
	"kproxy/internal/wait"
)

const (
	// lastLines is how long a new process that has failed may take to end by itself, so that its log
	// is complete.
	lastLines = 2 * time.Second
	// tellTimeout bounds the write of a message that is only information.
	tellTimeout = time.Second
)

// Plan is a hand-over, as the old process sees it.
type Plan struct {
	// Path is the program; Args begins with its name. Env is the environment, without the variable
	// by which the new process finds its end of the connection.
	Path string
	Args []string
	Env  []string

	Sockets []Socket
	Timeout time.Duration // for the new process to become ready
	Drain   time.Duration // how long this process drains after that, at most; the new one shows it
	// IDsAbove is a number above the ids of this process's connections. The new one gives its own ids
	// above it, so that an id that was read here is no other connection there.
	IDsAbove uint64

	// Release gives up everything that both processes would need alone: the state files. Retake
	// takes it back. The context of Release ends with the hand-over.
	Release func(context.Context) error
	Retake  func()

	start func() (*net.UnixConn, *child, error) // nil: the program
}

// Successor is a new process that serves.
type Successor struct {
	PID     int
	Version string // of its program

	link *link
}

// child is a process that was started.
type child struct {
	pid   int
	kill  func()
	ended chan struct{} // closed when it has ended and is reaped
	how   error         // how it ended; read it after ended is closed
}

// FailedError says that the new process did not take over. Nothing has changed.
type FailedError struct {
	Reasons []string // lines, one at least; they are clean
}

// Error joins the reasons.
func (e *FailedError) Error() string { return strings.Join(e.Reasons, "\n") }

// errLate is the cause of the end of a hand-over that took too long.
var errLate = errors.New("it is late")

// attempt is a Plan that runs.
type attempt struct {
	*Plan

	link      *link
	child     *child
	status    string // why the new process is not ready yet; "": it has not told
	version   string
	released  bool
	committed bool
}

// Run starts the program, and returns when it serves in the place of this process. Then the caller
// stops accepting. On an error the new process is gone, and nothing has changed. The error is a
// [*FailedError], or the cause of the end of ctx.
func (p *Plan) Run(ctx context.Context) (*Successor, error) {
	if err := p.enoughFiles(); err != nil {
		return nil, &FailedError{[]string{err.Error()}}
	}
	start := p.start
	if start == nil {
		start = p.exec
	}
	conn, child, err := start()
	if err != nil {
		return nil, &FailedError{[]string{fmt.Sprintf("the new process cannot start: %v", err)}}
	}
	a := &attempt{Plan: p, link: &link{conn: conn}, child: child}
	ctx, cancel := context.WithTimeoutCause(ctx, p.Timeout, errLate)
	defer cancel()
	stop := wait.Bound(ctx, conn)
	err = a.pass(ctx)
	stop()
	if err == nil { // also if it is late by now: the new process serves
		return &Successor{child.pid, a.version, a.link}, nil
	}
	err = a.reason(ctx, err)
	a.abandon()
	return nil, err
}

// pass goes through the steps of the hand-over.
func (a *attempt) pass(ctx context.Context) error {
	if err := a.link.send(kindHello, helloBody{protocol, len(a.Sockets), a.Timeout, a.Drain, a.IDsAbove}); err != nil {
		return err
	}
	for batch := range slices.Chunk(a.Sockets, maxBatch) {
		if err := a.sendSockets(batch); err != nil {
			return err
		}
	}
	for {
		m, err := a.link.receive()
		if err != nil {
			return err
		}
		if done, err := a.take(ctx, &m); done || err != nil {
			return err
		}
	}
}

// sendSockets sends a batch. The other process has its descriptors from then on.
func (a *attempt) sendSockets(batch []Socket) error {
	var body socketsBody
	var files []int
	defer func() { closeAll(files) }()
	for _, s := range batch {
		f, err := duplicate(s.Listener)
		if err != nil {
			return &FailedError{[]string{fmt.Sprintf("the socket %s cannot be passed: %v", s.Address, err)}}
		}
		files = append(files, f)
		body.Addresses = append(body.Addresses, s.Address)
	}
	return a.link.send(kindSockets, body, files...)
}

// take acts on a message of the new process. done says that this one serves.
func (a *attempt) take(ctx context.Context, m *message) (done bool, err error) {
	switch {
	case m.kind == kindStatus:
		var body textBody
		err = m.decode(&body)
		a.status = foreign.LineOf(body.Text, maxLine)
		return false, err
	case m.kind == kindFailed:
		var body failedBody
		if err := m.decode(&body); err != nil {
			return false, err
		}
		return false, failed(body.Reasons)
	case m.kind == kindBound && !a.released:
		a.released = true
		if err := a.Release(ctx); err != nil {
			return false, &FailedError{lines(err.Error())}
		}
		return false, a.link.send(kindReleased, nil)
	case m.kind == kindReady && a.released && !a.committed:
		var body readyBody
		if err := m.decode(&body); err != nil {
			return false, err
		}
		a.version = foreign.Line(body.Version)
		a.committed = true
		return false, a.link.send(kindCommit, nil)
	case m.kind == kindServing && a.committed:
		return true, nil
	default:
		return false, fmt.Errorf("a message %v, which is not its turn", m.kind)
	}
}

// failed cleans the reasons that a new process gives.
func failed(reasons []string) error {
	e := &FailedError{}
	for _, reason := range reasons[:min(len(reasons), maxLines)] {
		e.Reasons = append(e.Reasons, foreign.LineOf(reason, maxLine))
	}
	if len(e.Reasons) == 0 {
		e.Reasons = []string{"the new process gives no reason"}
	}
	return e
}

// reason says why the hand-over has failed. A process that ends gets a moment to do so.
func (a *attempt) reason(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause != nil && !errors.Is(cause, errLate) {
		return cause
	}
	isGone := isEnd(err)
	already, isFailed := errors.AsType[*FailedError](err)
	if cause == nil && (isGone || isFailed) {
		select {
		case <-a.child.ended:
		case <-time.After(lastLines):
		}
	}
	switch {
	case isFailed:
		return already
	case cause != nil && a.status != "":
		return &FailedError{[]string{fmt.Sprintf("the new process was not ready after %v: %s", a.Timeout, a.status)}}
	case cause != nil:
		return &FailedError{[]string{fmt.Sprintf("the new process was not ready after %v, and gave no reason; is it a kproxy that can take over?", a.Timeout)}}
	case isGone:
		return &FailedError{[]string{fmt.Sprintf("the new process ended before it was ready: %s; the log has its last lines", a.ending())}}
	default:
		return &FailedError{[]string{"the new process: " + foreign.LineOf(err.Error(), maxLine)}}
	}
}

// ending says how the new process has ended.
func (a *attempt) ending() string {
	select {
	case <-a.child.ended:
		if a.child.how == nil {
			return "exit status 0"
		}
		return a.child.how.Error()
	default:
		return "it closed its connection"
	}
}

// abandon ends the new process, and takes back the state files.
func (a *attempt) abandon() {
	a.child.kill()
	<-a.child.ended
	_ = a.link.conn.Close()
	if a.released {
		a.Retake()
	}
}

// Sessions tells the new process how many sessions this one still has. The first call also says that
// the supervisor knows the new process by now: see [Predecessor.AwaitNamed].
func (s *Successor) Sessions(n int) {
	_ = s.link.conn.SetWriteDeadline(time.Now().Add(tellTimeout))
	_ = s.link.send(kindSessions, sessionsBody{n}) // it is only information
}

// Close ends the connection. The new process takes it for the end of this one.
func (s *Successor) Close() { _ = s.link.conn.Close() }

// enoughFiles refuses a hand-over for which the limit of open files is too low. The new process
// holds each socket once, and a batch on the way. So does this one.
func (p *Plan) enoughFiles() error {
	limit, open, known := fileUse()
	if !known {
		return nil
	}
	return p.fits(limit, open)
}

// fits is enoughFiles for a limit, and a number of files that are open.
func (p *Plan) fits(limit, open int) error {
	const fix = "raise the limit (LimitNOFILE= of the unit, ulimit -n), and restart kproxy"
	if need := len(p.Sockets) + maxBatch + otherFiles; need > limit {
		return fmt.Errorf("the new process needs %d files for %d listening sockets, and may have %d open; %s", need, len(p.Sockets), limit, fix)
	}
	if need := open + min(len(p.Sockets), maxBatch) + startFiles; need > limit {
		return fmt.Errorf("the hand-over needs %d files, and %d of %d are open; close connections, or %s", need-open, open, limit, fix)
	}
	return nil
}

const (
	otherFiles = 64 // that the new process needs beside its sockets: see package admission
	startFiles = 8  // that the start of a process takes
)

// exec starts the program.
func (p *Plan) exec() (*net.UnixConn, *child, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = theirs.Close() }() // the child has its own
	c, err := startChild(p.Path, p.Args, append(slices.Clone(p.Env), fmt.Sprintf("%s=%d", Variable, childDescriptor)), theirs)
	if err != nil {
		_ = ours.Close()
		return nil, nil, err
	}
	return ours, c, nil
}

// childDescriptor is the first descriptor after stdin, stdout and stderr.
const childDescriptor = 3

// startChild starts a process with the standard files of this one and one more.
func startChild(path string, args, env []string, extra *os.File) (*child, error) {
	process, err := os.StartProcess(path, args, &os.ProcAttr{Env: env, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, extra}})
	if err != nil {
		return nil, err
	}
	c := &child{pid: process.Pid, kill: func() { _ = process.Kill() }, ended: make(chan struct{})} // one that has ended is as good
	go c.reap(process)
	return c, nil
}

// reap waits for the end of the process, or for that of this one.
func (c *child) reap(process *os.Process) {
	defer close(c.ended)
	state, err := process.Wait()
	switch {
	case err != nil:
		c.how = err
	case !state.Success():
		c.how = errors.New(state.String())
	}
}
